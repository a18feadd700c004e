// safetensors files (https://huggingface.co/docs/safetensors: u64 header length, JSON header, tensors).
// Its types are plain values: one thread at a time may change one, any number may read it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "norma/error.h"
#include "norma/export.h"
#include "norma/types.h"

namespace norma {

struct NORMA_API StoredTensor {
  std::string name;
  DType dtype = DType::f32;         // f32, u8, i32 or i64
  std::vector<std::int64_t> shape;  // any rank; {} is a scalar
  std::vector<std::byte> bytes;     // little-endian, row-major
  const char* cast_from = nullptr;  // its type in the file it was read from, where that is another: "F16"; not saved

  static StoredTensor from(std::string name, std::vector<std::int64_t> shape, std::span<const float> values);
  static StoredTensor from(std::string name, std::vector<std::int64_t> shape, std::span<const std::int64_t> values);
  std::vector<float> floats() const;           // throws Error(data) if dtype is not f32
  std::vector<std::int64_t> integers() const;  // i32 or i64
};

struct NORMA_API Checkpoint {
  std::vector<StoredTensor> tensors;
  std::map<std::string, std::string> metadata;
  std::vector<std::string> notes{};  // load_safetensors' changes in reading the file, a sentence each; not saved

  const StoredTensor* find(std::string_view name) const;  // null if absent; good until `tensors` changes
};

// Names the first value that no trained net holds: "conv1.weight is nan at element 3". That is a float that is not finite or a running
// variance below 0. Returns an empty string if there are no such values.
NORMA_API std::string first_fault(const Checkpoint& checkpoint);

NORMA_API void save_safetensors(const std::filesystem::path& file, const Checkpoint& checkpoint);
// Returns the bytes that save_safetensors writes. Errors name the file for which they are meant.
NORMA_API std::vector<std::byte> encode_safetensors(const Checkpoint& checkpoint, const std::filesystem::path& file);
// Returns true if the file is what save_safetensors would write; false also if it is missing or damaged.
NORMA_API bool holds_safetensors(const std::filesystem::path& file, const Checkpoint& checkpoint);

// F16, BF16 and F64 become f32. F64 is rounded to nearest; the checkpoint's notes say so. Memory stays below 2.5 times the file plus 16 MB.
// Throws Error(data) naming the file and what is wrong: header length, JSON, dtype, duplicate names, a size that is not shape * dtype.
// Offsets must not overlap, leave a gap or pass the end. An F64 beyond f32 is refused. The limits are 64 dimensions a tensor, 2,000,000 in
// all, 65,536 keys of metadata and 4 MB a text.
NORMA_API Checkpoint load_safetensors(const std::filesystem::path& file);

}  // namespace norma
