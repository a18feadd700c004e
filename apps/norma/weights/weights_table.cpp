#include "apps/norma/weights/weights_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "norma/text.h"

namespace norma::app {
namespace {

constexpr std::size_t file_width = 22, net_width = 23, shape_width = 16;

// Columns of printable text: a character each.
std::size_t columns(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & '\xc0') != '\x80'; }));
}

}  // namespace

std::string shape_text(std::span<const std::int64_t> shape) { return fmt::format("({})", fmt::join(shape, ", ")); }

std::string name_cell(std::string_view name, std::size_t width) {
  constexpr std::string_view dots = "...";
  std::string text = printable(name);
  if (columns(text) > width) {
    std::size_t from = 0;
    for (std::size_t left = columns(text); left > width - dots.size(); --left)
      from += std::max<std::size_t>(1, utf8_length(text.substr(from, 4)));
    text = std::string(dots) + text.substr(from);
  }
  return text + std::string(width - columns(text), ' ');
}

std::string loading_table(std::span<const LoadedTensor> tensors) {
  const auto line = [](std::string_view file, std::string_view net, const std::string& shape, const std::string& what) {
    return fmt::format("\n  {} {} {} {}", name_cell(file, file_width), name_cell(net, net_width), name_cell(shape, shape_width), what);
  };
  std::string table = line("in the file", "in the net", "shape", "read");
  std::map<LoadedTensor::How, std::size_t> counts;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const LoadedTensor& t = tensors[i];
    ++counts[t.how];
    if (i < most_lines)
      table += line(t.file.empty() ? "-" : t.file, t.net.empty() ? "-" : t.net, shape_text(t.shape),
                    t.cast.empty() ? name_of(t.how) : fmt::format("{}, {}", name_of(t.how), t.cast));
  }
  if (tensors.size() > most_lines) table += fmt::format("\n  ... and {} more", tensors.size() - most_lines);
  std::string all;
  for (const auto& [how, count] : counts) all += fmt::format("{}{} {}", all.empty() ? "" : ", ", count, name_of(how));
  return table + fmt::format("\n  {} tensors: {}", tensors.size(), all);
}

}  // namespace norma::app
