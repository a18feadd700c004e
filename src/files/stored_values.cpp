#include "src/files/stored_values.h"

#include <array>
#include <cmath>
#include <cstring>

namespace norma {

float of_f64(double v, const std::string& file, const StoredTensor& tensor) {
  const auto rounded = static_cast<float>(v);
  if (std::isfinite(v) && !std::isfinite(rounded))
    corrupt(file + ": tensor " + in_quotes(tensor.name), "is F64 and holds " + std::to_string(v) + ", which is no f32");
  return rounded;
}

std::int64_t count_of(const std::byte* element, StoredAs type, const std::string& file, const StoredTensor& tensor) {
  const auto refuse = [&](const std::string& value) {
    corrupt(file + ": tensor " + in_quotes(tensor.name),
            std::string("is ") + name_of(type) + " and holds " + value + ", expected a whole number from 0 to 2^63 - 1");
  };
  std::array<std::byte, 8> bytes{};
  std::memcpy(bytes.data(), element, size_of(type));
  const auto as = [&]<class T>(T v) { return std::memcpy(&v, bytes.data(), sizeof v), v; };
  const auto whole = [&](double v) {
    if (!(v >= 0 && v < 0x1p63) || v != std::floor(v)) refuse(std::to_string(v));
    return static_cast<std::int64_t>(v);
  };
  const auto from_0 = [&](std::int64_t v) {
    if (v < 0) refuse(type == StoredAs::u64 ? std::to_string(static_cast<std::uint64_t>(v)) : std::to_string(v));
    return v;
  };
  switch (type) {
    case StoredAs::f32: return whole(static_cast<double>(as(float{})));
    case StoredAs::f16: return whole(static_cast<double>(of_f16(as(std::uint16_t{}))));
    case StoredAs::bf16: return whole(static_cast<double>(of_bf16(as(std::uint16_t{}))));
    case StoredAs::f64: return whole(as(double{}));
    case StoredAs::i8: return from_0(as(std::int8_t{}));
    case StoredAs::i16: return from_0(as(std::int16_t{}));
    case StoredAs::i32: return from_0(as(std::int32_t{}));
    case StoredAs::i64:
    case StoredAs::u8:
    case StoredAs::u16:
    case StoredAs::u32:
    case StoredAs::u64: break;
    case StoredAs::boolean:
    case StoredAs::f8_e4m3:
    case StoredAs::f8_e5m2:
    case StoredAs::f8_e8m0:
    case StoredAs::f6_e2m3:
    case StoredAs::f6_e3m2:
    case StoredAs::f4:
    case StoredAs::c64:
    case StoredAs::unknown: corrupt(file + ": tensor " + in_quotes(tensor.name), "is of a type that no count has");
  }
  return from_0(as(std::int64_t{}));  // the bytes behind a shorter one are 0
}

const char* cast_name(StoredAs type, DType kept) { return type <= StoredAs::i64 && read_as(type) == kept ? nullptr : name_of(type); }

std::vector<std::string> notes_of(std::span<const StoredTensor> tensors, std::span<const StoredAs> types) {
  std::vector<std::string> notes;
  const auto note = [&](StoredAs type, bool counts, const char* becomes) {
    std::size_t first = 0, count = 0;
    for (std::size_t i = 0; i < tensors.size(); ++i)
      if (types[i] == type && is_cast_count(tensors[i], type) == counts && count++ == 0) first = i;
    if (count == 0) return;
    std::string text = in_quotes(tensors[first].name);
    if (count > 1) text += " and " + std::to_string(count - 1) + " more tensors";
    notes.push_back(text + " of " + name_of(type) + (count > 1 ? " are" : " is") + " read as " + becomes);
  };
  for (const StoredAs type : {StoredAs::f16, StoredAs::bf16, StoredAs::f64}) note(type, false, "F32");
  for (const StoredAs type : {StoredAs::f32, StoredAs::f16, StoredAs::bf16, StoredAs::f64, StoredAs::u8, StoredAs::i8, StoredAs::i16,
                              StoredAs::u16, StoredAs::u32, StoredAs::u64})
    note(type, true, "I64");
  return notes;
}

}  // namespace norma
