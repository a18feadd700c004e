// The report's tables as plain data, and a table as HTML.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "apps/norma/report/run_page.h"

namespace norma::app {

inline constexpr const char* dash = "\xe2\x80\x93";  // stands for a missing value

struct Column {
  std::string name;
  bool number = false;  // aligned to the right
  bool bar = false;     // percentages, drawn as bars behind the text
};

// Cells are text, escaped when written. The first cell of a row names the row.
struct Table {
  std::string caption;
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> total;  // last row; may be empty
};

// The table as HTML, in a box of its own that scrolls sideways.
std::string to_html(const Table& table);

Table epochs_table(std::span<const EpochMetrics> epochs);
Table batch_norm_table(std::span<const BatchNormLayer> layers);
Table channel_table(const BatchNormLayer& layer);
// seconds: of each call, or none.
Table plan_table(std::span<const PlanLine> plan, std::span<const double> seconds = {});
// Time by kind of call, the longest first.
Table call_kinds_table(std::span<const PlanLine> plan, std::span<const double> seconds);
// Points of each class, and where the net puts them.
Table scatter_table(const Scatter& s);
Table memory_table(const MemoryReport& memory);

}  // namespace norma::app
