// Weights from elsewhere: PyTorch's files, names that differ, tensors that are missing or too many.
// Its types are plain values: one thread at a time may change one, any number may read it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "norma/checkpoint.h"
#include "norma/export.h"

namespace norma {

// ---- files

// A state_dict that torch.save wrote (PyTorch 1.6 or later). Nothing in the file is executed: of Python's objects the reader knows
// dictionaries, lists, numbers, texts and tensors. Strides, offsets and shared storages are honoured. Values that are no tensors are passed
// over, and the notes name them. Types become those of load_safetensors, with its notes.
// key: the dictionary to read, where the file holds several: "model", "checkpoint.model", or "." for the outermost. Empty: the only one.
// Memory stays below 2.5 times the file plus 16 MB. Throws Error(data) naming the file and what is wrong: any other Python object, by its
// name; a type such as bool; an older format; a TorchScript archive; compressed, damaged or overlapping parts; a choice of dictionaries.
NORMA_API Checkpoint load_pt(const std::filesystem::path& file, std::string_view key = {});

// True of a file that begins as those of torch.save do; false of no regular file. Throws Error(data) where it cannot be read.
NORMA_API bool is_pt(const std::filesystem::path& file);

// A safetensors file or one of torch.save, told apart by their first bytes; of a folder its model.safetensors. Throws as load_safetensors
// and load_pt; Error(usage) for a key of a safetensors file, which has none.
NORMA_API Checkpoint load_weights(const std::filesystem::path& path, std::string_view key = {});

// ---- names

struct NORMA_API Rename {
  std::string pattern;  // of names in the file, as of ParameterGroup: each '*' stands for any text, as short as may be
  std::string name;     // what the name becomes; its first '*' stands for what the pattern's first met, and so on

  // "OLD=NEW". Throws Error(usage) for a text that is not of this form.
  static Rename parse(std::string_view text);
};

// Renames the checkpoint's tensors. The last pattern that fits a name counts. Throws Error(usage) for a pattern that fits no name, naming
// the nearest; for a new name that is empty or has more '*' than its pattern; and where two tensors would have one name.
NORMA_API void rename_tensors(Checkpoint& checkpoint, std::span<const Rename> renames);

// ---- reading into a net

struct NORMA_API LoadOptions {
  enum class Missing : std::uint8_t { refuse, keep };  // keep: a tensor that the file lacks stays as the net has it
  enum class Extra : std::uint8_t { refuse, ignore };

  std::vector<Rename> rename{};
  Missing missing = Missing::refuse;
  Extra extra = Extra::refuse;
  std::string rename_word = "rename";  // what errors put before an OLD=NEW that they propose: a program's flag
};

// How a tensor of the net came to its values, or one of the file was left.
struct NORMA_API LoadedTensor {
  enum class How : std::uint8_t {
    as_is,
    renamed,   // by LoadOptions::rename, or without a prefix or PyTorch's wrappers
    by_order,  // a layer with a number for a name (nn.Sequential), by the order and the shapes of all such layers
    kept,      // the net's own: the file has none
    zero,      // a count of batches that the file has not
    ignored,   // of the file: the net has none
  };
  std::string file;  // its name in the file; empty: none
  std::string net;   // its name in the net; empty: none
  std::vector<std::int64_t> shape{};
  std::string cast{};  // its type in the file, where norma keeps another: "F16"
  How how = How::as_is;
};
NORMA_API const char* name_of(LoadedTensor::How how);  // "as is", "by order"

struct NORMA_API LoadReport {
  std::vector<LoadedTensor> tensors;  // the net's in its order, then those that were ignored
  std::vector<std::string> notes;     // changes in reading, a sentence each
};

}  // namespace norma
