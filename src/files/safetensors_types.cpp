// The types of safetensors files, and sizes and names as messages show them.
#include <algorithm>
#include <iterator>
#include <limits>

#include "norma/text.h"
#include "src/files/safetensors_header.h"

namespace norma {
namespace {

struct TypeInfo {
  StoredAs type;
  const char* name;
  std::size_t bits;
  DType read_as;
};
constexpr TypeInfo type_table[] = {
    {StoredAs::f32, "F32", 32, DType::f32},          {StoredAs::u8, "U8", 8, DType::u8},
    {StoredAs::i32, "I32", 32, DType::i32},          {StoredAs::i64, "I64", 64, DType::i64},
    {StoredAs::f16, "F16", 16, DType::f32},          {StoredAs::bf16, "BF16", 16, DType::f32},
    {StoredAs::f64, "F64", 64, DType::f32},          {StoredAs::i8, "I8", 8, DType::i64},
    {StoredAs::i16, "I16", 16, DType::i64},          {StoredAs::u16, "U16", 16, DType::i64},
    {StoredAs::u32, "U32", 32, DType::i64},          {StoredAs::u64, "U64", 64, DType::i64},
    {StoredAs::boolean, "BOOL", 8, DType::bytes},    {StoredAs::f8_e4m3, "F8_E4M3", 8, DType::bytes},
    {StoredAs::f8_e5m2, "F8_E5M2", 8, DType::bytes}, {StoredAs::f8_e8m0, "F8_E8M0", 8, DType::bytes},
    {StoredAs::f6_e2m3, "F6_E2M3", 6, DType::bytes}, {StoredAs::f6_e3m2, "F6_E3M2", 6, DType::bytes},
    {StoredAs::f4, "F4", 4, DType::bytes},           {StoredAs::c64, "C64", 64, DType::bytes},
    {StoredAs::unknown, "?", 0, DType::bytes},
};

const TypeInfo& info(StoredAs type) { return type_table[static_cast<std::size_t>(type)]; }

}  // namespace

const char* name_of(StoredAs type) { return info(type).name; }
std::size_t size_of(StoredAs type) { return info(type).bits / 8; }
DType read_as(StoredAs type) { return info(type).read_as; }

StoredAs stored_type(std::string_view name) {
  const auto* const found = std::ranges::find_if(type_table, [&](const TypeInfo& t) { return name == t.name; });
  return found == std::end(type_table) ? StoredAs::unknown : found->type;
}

std::optional<std::uint64_t> byte_count(std::span<const std::int64_t> shape, std::size_t element) {
  std::uint64_t n = element;
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  for (const std::int64_t d : shape) {
    if (d < 0) return {};
    if (d != 0 && n > most / static_cast<std::uint64_t>(d)) return {};
    n *= static_cast<std::uint64_t>(d);
  }
  return n;
}

std::optional<std::uint64_t> stored_bytes(std::span<const std::int64_t> shape, StoredAs type) {
  const std::size_t bits = info(type).bits;
  if (bits % 8 == 0) return byte_count(shape, bits / 8);
  const std::optional<std::uint64_t> all = byte_count(shape, bits);
  return all && *all % 8 == 0 ? std::optional(*all / 8) : std::nullopt;
}

std::string shown_name(std::string_view name) {
  constexpr std::size_t longest = 200;
  return printable(name.substr(0, longest)) + (name.size() > longest ? "..." : "");
}

std::string in_quotes(std::string_view name) { return "'" + shown_name(name) + "'"; }

std::string to_text(std::span<const std::int64_t> shape) {
  std::string s = "[";
  for (const std::int64_t d : shape) s += (s.size() > 1 ? "," : "") + std::to_string(d);
  return s + "]";
}

}  // namespace norma
