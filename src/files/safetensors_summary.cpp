// norma/tensor_summary.h: tensors of every type of the format, a block at a time.
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "norma/tensor_summary.h"
#include "src/files/safetensors_header.h"
#include "src/files/small_floats.h"

namespace norma {
namespace {

// Mean and squares are updated value by value (Welford 1962).
class Figures {
 public:
  explicit Figures(TensorSummary& s) : s_(s) {}

  void add(double v) {
    ++s_.count;
    if (!std::isfinite(v)) {
      ++s_.not_finite;
      return;
    }
    const auto n = static_cast<double>(s_.count - s_.not_finite);
    if (n == 1) s_.low = s_.high = v;
    s_.low = std::min(s_.low, v), s_.high = std::max(s_.high, v);
    squares_ += v * v;
    const double before = v - s_.mean;
    s_.mean += before / n;
    apart_ += before * (v - s_.mean);
  }
  void finish() {
    const auto n = static_cast<double>(s_.count - s_.not_finite);
    s_.norm = std::sqrt(squares_);
    if (n > 0) s_.deviation = std::sqrt(apart_ / n);
  }

 private:
  TensorSummary& s_;
  double squares_ = 0, apart_ = 0;
};

template <class T>
void add_all(std::span<const std::byte> bytes, Figures& figures) {
  for (std::size_t at = 0; at + sizeof(T) <= bytes.size(); at += sizeof(T)) {
    T v;
    std::memcpy(&v, bytes.data() + at, sizeof v);
    figures.add(static_cast<double>(v));
  }
}

template <class T, class F>
void add_all(std::span<const std::byte> bytes, Figures& figures, F to_float) {
  for (std::size_t at = 0; at + sizeof(T) <= bytes.size(); at += sizeof(T)) {
    T v;
    std::memcpy(&v, bytes.data() + at, sizeof v);
    figures.add(static_cast<double>(to_float(v)));
  }
}

// False for a type of which norma knows no numbers.
bool add_block(StoredAs type, std::span<const std::byte> bytes, Figures& f) {
  switch (type) {
    case StoredAs::f32: return add_all<float>(bytes, f), true;
    case StoredAs::f64: return add_all<double>(bytes, f), true;
    case StoredAs::f16: return add_all<std::uint16_t>(bytes, f, of_f16), true;
    case StoredAs::bf16: return add_all<std::uint16_t>(bytes, f, of_bf16), true;
    case StoredAs::f8_e4m3: return add_all<std::uint8_t>(bytes, f, of_f8_e4m3), true;
    case StoredAs::f8_e5m2: return add_all<std::uint8_t>(bytes, f, of_f8_e5m2), true;
    case StoredAs::f8_e8m0: return add_all<std::uint8_t>(bytes, f, of_f8_e8m0), true;
    case StoredAs::f4:
      for (const std::byte b : bytes) f.add(of_f4(std::to_integer<int>(b))), f.add(of_f4(std::to_integer<int>(b) >> 4));
      return true;
    case StoredAs::boolean:
    case StoredAs::u8: return add_all<std::uint8_t>(bytes, f), true;
    case StoredAs::i8: return add_all<std::int8_t>(bytes, f), true;
    case StoredAs::i16: return add_all<std::int16_t>(bytes, f), true;
    case StoredAs::u16: return add_all<std::uint16_t>(bytes, f), true;
    case StoredAs::i32: return add_all<std::int32_t>(bytes, f), true;
    case StoredAs::u32: return add_all<std::uint32_t>(bytes, f), true;
    case StoredAs::i64: return add_all<std::int64_t>(bytes, f), true;
    case StoredAs::u64: return add_all<std::uint64_t>(bytes, f), true;
    case StoredAs::f6_e2m3:
    case StoredAs::f6_e3m2:
    case StoredAs::c64:
    case StoredAs::unknown: break;
  }
  return false;
}

}  // namespace

std::set<std::string> foreign_types(const std::filesystem::path& path) {
  SafetensorsFile file(path);
  const SafetensorsHeader header = read_safetensors_header(file, AcceptTypes::all);
  std::set<std::string> found;
  for (std::size_t i = 0; i < header.types.size(); ++i)
    if (header.types[i] > StoredAs::f64 && !is_cast_count(header.checkpoint.tensors[i], header.types[i])) found.insert(header.type_name(i));
  return found;
}

std::vector<TensorSummary> summarize_safetensors(const std::filesystem::path& path) {
  SafetensorsFile file(path);
  const SafetensorsHeader header = read_safetensors_header(file, AcceptTypes::all);
  std::vector<TensorSummary> all(header.types.size());
  std::array<std::byte, std::size_t{1} << 16> block;
  for (const std::uint32_t i : header.order) {
    const StoredTensor& t = header.checkpoint.tensors[i];
    TensorSummary& s = all[i];
    s.name = t.name, s.shape = t.shape, s.dtype = header.type_name(i), s.bytes = header.ends[i] - header.begins[i];
    Figures figures(s);
    s.numbers = add_block(header.types[i], {}, figures);
    for (std::uint64_t left = s.bytes; left > 0;) {
      const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(left, block.size()));
      file.read(block.data(), n, "tensor " + in_quotes(t.name));
      add_block(header.types[i], std::span(block).first(n), figures);
      left -= n;
    }
    figures.finish();
  }
  return all;
}

}  // namespace norma
