// The header of a safetensors file, in memory that its length bounds.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "norma/checkpoint.h"
#include "norma/error.h"
#include "src/files/input_file.h"

namespace norma {

constexpr std::uint64_t max_header_bytes = 100'000'000;  // the reference implementation's limit
constexpr std::string_view metadata_key = "__metadata__";
// 100 MB have room for millions of tensors, dimensions or pieces of metadata. Each dimension and piece of metadata takes memory, and a text
// several times its size while it is read. Counts beyond any model's are neither read nor written.
constexpr std::size_t max_rank = 64, max_dimensions = 2'000'000, max_metadata = 65'536, max_text_bytes = 4'000'000;

// Element types in a file. f16, bf16 and f64 become f32. Those from i8 to u64 are read of counts alone, the rest not at all.
enum class StoredAs : std::uint8_t {
  f32,
  u8,
  i32,
  i64,
  f16,
  bf16,
  f64,
  i8,
  i16,
  u16,
  u32,
  u64,
  boolean,
  f8_e4m3,
  f8_e5m2,
  f8_e8m0,
  f6_e2m3,
  f6_e3m2,
  f4,
  c64,
  unknown
};

const char* name_of(StoredAs type);  // F32
std::size_t size_of(StoredAs type);  // of an element in bytes; of those up to u64
DType read_as(StoredAs type);
StoredAs stored_type(std::string_view name);  // unknown where the format has none of that name

// to_load: those that load_safetensors reads. all: whatever the file says, for looking at it.
enum class AcceptTypes : std::uint8_t { to_load, all };

[[noreturn]] inline void corrupt(const std::string& where, const std::string& what) { throw Error(ErrorKind::data, where + ": " + what); }

// Returns true for the number of batches that a BatchNorm counted, in any type. state_dicts that were cast as a whole hold it so, and a
// whole number is the same in each type. It becomes i64.
inline constexpr std::string_view count_name = "num_batches_tracked";
bool is_cast_count(const StoredTensor& tensor, StoredAs type);

// shape * size of one element, or nothing if that passes 2^63.
std::optional<std::uint64_t> byte_count(std::span<const std::int64_t> shape, std::size_t element);
// Bytes of a tensor in a file, or nothing if they pass 2^63 or are no whole number.
std::optional<std::uint64_t> stored_bytes(std::span<const std::int64_t> shape, StoredAs type);

// A name of a file as messages show it: printable, cut where it is long.
std::string shown_name(std::string_view name);
std::string in_quotes(std::string_view name);
std::string to_text(std::span<const std::int64_t> shape);

class SafetensorsFile {
 public:
  // Throws Error(data) where it is missing, a folder, no regular file or cannot be opened.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::string& name() const { return name_; }
  const std::filesystem::path& path() const { return file_.path(); }
  std::uint64_t size() const { return file_.size(); }
  // The next `count` bytes, all of them; what: their name for the message.
  void read(void* to, std::size_t count, const std::string& what);

 private:
  std::string name_;
  InputFile file_;
};

struct SafetensorsHeader {
  Checkpoint checkpoint;                               // its tensors have no bytes yet
  std::vector<StoredAs> types;                         // of each tensor
  std::vector<std::uint64_t> begins, ends;             // of each, where its bytes lie among those behind the header
  std::vector<std::uint32_t> order;                    // the tensors as their bytes lie
  std::map<std::size_t, std::string> unknown_types{};  // by tensor: what the file calls a type that the format does not have

  std::string type_name(std::size_t tensor) const;
};

// From the file's beginning to the end of the header. The tensors cover what follows it exactly once. Throws Error(data).
SafetensorsHeader read_safetensors_header(SafetensorsFile& file, AcceptTypes accept = AcceptTypes::to_load);

}  // namespace norma
