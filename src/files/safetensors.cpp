// safetensors: u64 header length, JSON header padded with spaces to a multiple of 8, then the tensors' bytes without gaps.
// The header lists tensors in the order given. Their bytes lie widest dtype first, so that every tensor is aligned to its element,
// as the reference implementation does; any order is read.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <utility>

#include "norma/checkpoint.h"
#include "norma/error.h"
#include "norma/text.h"
#include "src/files/safetensors_header.h"
#include "src/files/small_floats.h"
#include "src/files/stored_values.h"
#include "src/files/write_parts.h"

namespace norma {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian and written as they lie in memory");

constexpr std::size_t block_bytes = std::size_t{1} << 16;

const char* stored_name(DType t) {
  for (const StoredAs type : {StoredAs::f32, StoredAs::u8, StoredAs::i32, StoredAs::i64})
    if (read_as(type) == t) return name_of(type);
  return nullptr;
}

template <class T>
StoredTensor make(std::string name, DType dtype, std::vector<std::int64_t> shape, std::span<const T> values) {
  const std::span<const std::byte> bytes = std::as_bytes(values);
  if (byte_count(shape, size_of(dtype)) != bytes.size())
    throw Error(ErrorKind::usage,
                "tensor " + in_quotes(name) + ": " + std::to_string(values.size()) + " values do not fill shape " + to_text(shape));
  return {std::move(name), dtype, std::move(shape), {bytes.begin(), bytes.end()}};
}

template <class T>
std::vector<T> values_of(const StoredTensor& t) {
  if (byte_count(t.shape, size_of(t.dtype)) != t.bytes.size())
    corrupt("tensor " + in_quotes(t.name), std::to_string(t.bytes.size()) + " bytes do not fill shape " + to_text(t.shape));
  std::vector<T> v(t.bytes.size() / sizeof(T));
  if (!v.empty()) std::memcpy(v.data(), t.bytes.data(), t.bytes.size());
  return v;
}

// The file before its tensors' bytes, and the order of those.
struct Layout {
  std::string head;
  std::vector<std::size_t> order;
  std::uint64_t data_bytes = 0;
};

Layout lay_out(const fs::path& file, const Checkpoint& checkpoint) {
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorKind::usage, "cannot write " + printable(file.string()) + ": " + what);
  };
  const std::vector<StoredTensor>& tensors = checkpoint.tensors;
  std::set<std::string_view> names;
  std::size_t dimensions = 0;
  for (const StoredTensor& t : tensors) {
    const auto refuse_tensor = [&](const std::string& what) { refuse("tensor " + in_quotes(t.name) + " " + what); };
    if (t.name == metadata_key) refuse_tensor("has the name the format keeps for metadata");
    if (!names.insert(t.name).second) refuse_tensor("appears twice");
    if (!stored_name(t.dtype)) refuse_tensor(std::string("is ") + name_of(t.dtype) + ", which the format does not have");
    if (t.shape.size() > max_rank) refuse_tensor("has more than " + std::to_string(max_rank) + " dimensions");
    dimensions += t.shape.size();
    if (byte_count(t.shape, size_of(t.dtype)) != t.bytes.size())
      refuse_tensor("has " + std::to_string(t.bytes.size()) + " bytes, which do not fill shape " + to_text(t.shape) + " of " +
                    stored_name(t.dtype));
  }
  if (dimensions > max_dimensions) refuse("its shapes hold more than " + std::to_string(max_dimensions) + " numbers");
  if (checkpoint.metadata.size() > max_metadata) refuse("more than " + std::to_string(max_metadata) + " keys of metadata");

  Layout layout;
  std::vector<std::size_t>& order = layout.order;
  order.resize(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return size_of(tensors[a].dtype) > size_of(tensors[b].dtype); });
  std::vector<std::uint64_t> begin(tensors.size());
  for (const std::size_t i : order) {
    begin[i] = layout.data_bytes;
    layout.data_bytes += tensors[i].bytes.size();
  }

  std::uint64_t length = 0;
  std::string& head = layout.head;
  head.assign(sizeof length, '\0');
  const auto text = [&](std::string_view t) {
    std::string quoted = json(t).dump();
    if (quoted.size() - 2 > max_text_bytes) refuse("a name or metadata of more than " + std::to_string(max_text_bytes) + " bytes");
    return quoted;
  };
  try {
    const char* between = "{";
    if (!checkpoint.metadata.empty()) {
      head += std::exchange(between, ",") + text(metadata_key) + ":";
      const char* between_keys = "{";
      for (const auto& [key, value] : checkpoint.metadata) {
        head += std::exchange(between_keys, ",") + text(key) + ":";
        head += text(value);
      }
      head += "}";
    }
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const StoredTensor& t = tensors[i];
      head += std::exchange(between, ",") + text(t.name) + ":{\"dtype\":\"" + stored_name(t.dtype) + "\",\"shape\":" + to_text(t.shape) +
              ",\"data_offsets\":[" + std::to_string(begin[i]) + "," + std::to_string(begin[i] + t.bytes.size()) + "]}";
    }
    if (*between == '{') head += "{";
  } catch (const json::type_error&) {
    refuse("a tensor's name or the metadata is not UTF-8");
  }
  head += '}';
  head.resize((head.size() + 7) / 8 * 8, ' ');
  length = head.size() - sizeof length;
  if (length > max_header_bytes)
    refuse("a header of " + std::to_string(length) + " bytes; the format allows " + std::to_string(max_header_bytes));
  std::memcpy(head.data(), &length, sizeof length);
  return layout;
}

// A tensor's elements, a block at a time, as floats.
template <class T, class F>
void read_floats(SafetensorsFile& file, StoredTensor& t, F to_float) {
  std::array<T, block_bytes / sizeof(T)> block;
  t.bytes.resize(*byte_count(t.shape, sizeof(float)));
  std::byte* to = t.bytes.data();
  for (std::size_t left = t.bytes.size() / sizeof(float); left > 0;) {
    const std::size_t n = std::min(left, block.size());
    file.read(block.data(), n * sizeof(T), "tensor " + in_quotes(t.name));
    for (std::size_t i = 0; i < n; ++i, to += sizeof(float)) {
      const float v = to_float(block[i]);
      std::memcpy(to, &v, sizeof v);
    }
    left -= n;
  }
}

void read_count(SafetensorsFile& file, StoredTensor& t, StoredAs type) {
  std::array<std::byte, 8> bytes{};
  file.read(bytes.data(), size_of(type), "tensor " + in_quotes(t.name));
  const std::int64_t count = count_of(bytes.data(), type, file.name(), t);
  t.bytes.resize(sizeof count);
  std::memcpy(t.bytes.data(), &count, sizeof count);
}

void read_tensor(SafetensorsFile& file, StoredTensor& t, StoredAs type) {
  t.cast_from = cast_name(type, t.dtype);
  if (is_cast_count(t, type)) return read_count(file, t, type);
  if (type == StoredAs::f16) return read_floats<std::uint16_t>(file, t, of_f16);
  if (type == StoredAs::bf16) return read_floats<std::uint16_t>(file, t, of_bf16);
  if (type == StoredAs::f64) return read_floats<double>(file, t, [&](double v) { return of_f64(v, file.name(), t); });
  t.bytes.resize(*byte_count(t.shape, size_of(type)));
  if (!t.bytes.empty()) file.read(t.bytes.data(), t.bytes.size(), "tensor " + in_quotes(t.name));
}

}  // namespace

bool is_cast_count(const StoredTensor& tensor, StoredAs type) {
  return type != StoredAs::i64 && type != StoredAs::i32 && type <= StoredAs::u64 && tensor.name.ends_with(count_name) &&
         byte_count(tensor.shape, 1) == 1;
}

StoredTensor StoredTensor::from(std::string name, std::vector<std::int64_t> shape, std::span<const float> values) {
  return make(std::move(name), DType::f32, std::move(shape), values);
}

StoredTensor StoredTensor::from(std::string name, std::vector<std::int64_t> shape, std::span<const std::int64_t> values) {
  return make(std::move(name), DType::i64, std::move(shape), values);
}

std::vector<float> StoredTensor::floats() const {
  if (dtype != DType::f32) corrupt("tensor " + in_quotes(name), std::string("is ") + name_of(dtype) + ", expected f32");
  return values_of<float>(*this);
}

std::vector<std::int64_t> StoredTensor::integers() const {
  if (dtype == DType::i64) return values_of<std::int64_t>(*this);
  if (dtype != DType::i32) corrupt("tensor " + in_quotes(name), std::string("is ") + name_of(dtype) + ", expected i32 or i64");
  const std::vector<std::int32_t> narrow = values_of<std::int32_t>(*this);
  return {narrow.begin(), narrow.end()};
}

const StoredTensor* Checkpoint::find(std::string_view name) const {
  const auto it = std::find_if(tensors.begin(), tensors.end(), [&](const StoredTensor& t) { return t.name == name; });
  return it == tensors.end() ? nullptr : &*it;
}

void save_safetensors(const fs::path& file, const Checkpoint& checkpoint) {
  const Layout layout = lay_out(file, checkpoint);
  std::vector<std::span<const std::byte>> parts{std::as_bytes(std::span(layout.head))};
  for (const std::size_t i : layout.order) parts.emplace_back(checkpoint.tensors[i].bytes);
  write_parts(file, parts);
}

std::vector<std::byte> encode_safetensors(const Checkpoint& checkpoint, const fs::path& file) {
  const Layout layout = lay_out(file, checkpoint);
  std::vector<std::byte> bytes;
  bytes.reserve(layout.head.size() + layout.data_bytes);
  const auto append = [&](std::span<const std::byte> part) { bytes.insert(bytes.end(), part.begin(), part.end()); };
  append(std::as_bytes(std::span(layout.head)));
  for (const std::size_t i : layout.order) append(checkpoint.tensors[i].bytes);
  return bytes;
}

bool holds_safetensors(const fs::path& path, const Checkpoint& checkpoint) {
  const Layout layout = lay_out(path, checkpoint);
  try {
    SafetensorsFile file(path);
    if (file.size() != layout.head.size() + layout.data_bytes) return false;
    std::vector<std::byte> block(block_bytes);
    const auto next_is = [&](std::span<const std::byte> bytes) {
      while (!bytes.empty()) {
        const std::size_t n = std::min(bytes.size(), block.size());
        file.read(block.data(), n, "it");
        if (std::memcmp(block.data(), bytes.data(), n) != 0) return false;
        bytes = bytes.subspan(n);
      }
      return true;
    };
    return next_is(std::as_bytes(std::span(layout.head))) &&
           std::ranges::all_of(layout.order, [&](std::size_t i) { return next_is(checkpoint.tensors[i].bytes); });
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::data) throw;
    return false;
  }
}

Checkpoint load_safetensors(const fs::path& path) {
  SafetensorsFile file(path);
  SafetensorsHeader header = read_safetensors_header(file);
  for (const std::uint32_t i : header.order) read_tensor(file, header.checkpoint.tensors[i], header.types[i]);
  header.checkpoint.notes = notes_of(header.checkpoint.tensors, header.types);
  return std::move(header.checkpoint);
}

}  // namespace norma
