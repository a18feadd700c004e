// A curve of plain characters, for a terminal.
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace norma::app {

enum class CurveUnit { share, number };

// Title, 8 rows with the largest and the least value beside them, and the epochs below, from 1 on: * a value, . between two. More values
// than columns: a column is the mean of its own. Lines are shorter than `columns`, and 70 at most; nothing where that leaves no room, or
// where fewer than two values are finite.
std::string text_curve(std::string_view title, std::span<const double> values, CurveUnit unit, int columns);

}  // namespace norma::app
