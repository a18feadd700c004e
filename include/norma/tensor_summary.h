// Tensors of any safetensors file, also of types that norma does not train with: for looking, not for loading.
// Its types are plain values: one thread at a time may change one, any number may read it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "norma/export.h"

namespace norma {

struct NORMA_API TensorSummary {
  std::string name, dtype;          // dtype as the file says it: "F8_E4M3"
  std::vector<std::int64_t> shape;  // any rank; {} is a scalar
  std::uint64_t bytes = 0;
  // False of types whose numbers norma does not know: F6_E2M3, F6_E3M2, C64 and those of later formats. The figures are then 0.
  bool numbers = true;
  // Values, those that are not finite, and figures of the others. 0 where there are none.
  std::int64_t count = 0, not_finite = 0;
  double norm = 0, mean = 0, deviation = 0, low = 0, high = 0;
};

// The types in the file that load_safetensors refuses, such as "F8_E4M3". Reads the header alone. Throws Error(data) as load_safetensors,
// but for those types.
NORMA_API std::set<std::string> foreign_types(const std::filesystem::path& file);

// Every tensor in the order of the header. The file is read once, and a tensor is never in memory as a whole. Throws as foreign_types.
NORMA_API std::vector<TensorSummary> summarize_safetensors(const std::filesystem::path& file);

}  // namespace norma
