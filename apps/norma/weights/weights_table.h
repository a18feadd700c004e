// Tables of tensors: how those of a file became those of a net. Their lines have at most 80 columns.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "norma/weights.h"

namespace norma::app {

// A line a tensor: its name in the file and in the net, its shape, what happened. A long table ends with the number of lines left out. The
// last line counts what happened. Each line begins with a line feed and two blanks, as lines of the log do.
std::string loading_table(std::span<const LoadedTensor> tensors);

// "(6, 1, 5, 5)"
std::string shape_text(std::span<const std::int64_t> shape);
// A cell of `width` columns; of a longer name its end: "...0.weight".
std::string name_cell(std::string_view name, std::size_t width);

inline constexpr std::size_t most_lines = 60;  // of a table

}  // namespace norma::app
