// The one kind of pattern: of names of parameters, each '*' for any text.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "norma/weights.h"

namespace norma {

// The text that each '*' met, or nothing where the pattern does not fit. Each takes as little as it can, the first before the next.
std::optional<std::vector<std::string_view>> match_pattern(std::string_view pattern, std::string_view name);

// Words of an error about a pattern that fits none of the names: the nearest, of names or of layers ("conv1.*").
std::string near_pattern(const std::string& pattern, std::span<const std::string> names);

// The names that rename_tensors() would give. Throws as rename().
std::vector<std::string> renamed(const Checkpoint& checkpoint, std::span<const Rename> renames);

}  // namespace norma
