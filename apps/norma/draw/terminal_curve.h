// A curve of plain characters, for a terminal.
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace norma::app {

enum class CurveUnit { share, number };

// Title, 8 rows with the largest and the least value at their left, and the epochs below, from 1 on. * marks a value, . the line between
// two. With more values than columns, each column shows the mean of its own. Lines are shorter than `columns`, and at most 70. Returns
// nothing if that leaves no room, or if fewer than two values are finite.
std::string text_curve(std::string_view title, std::span<const double> values, CurveUnit unit, int columns);

}  // namespace norma::app
