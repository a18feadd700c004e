#include "apps/norma/run/layer_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

namespace norma::app {

std::string layer_table(const Graph& graph) {
  const std::vector<ParameterInfo> parameters = graph.parameters();
  std::vector<std::array<std::string, 3>> rows{{"layer", "output", "parameters"}};
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    std::int64_t count = 0;
    for (const ParameterInfo& p : parameters)
      if (p.node == static_cast<std::int32_t>(i) && !p.buffer) count += p.shape.elements();
    rows.push_back({graph.nodes[i].path, to_string(graph.nodes[i].shape), count ? fmt::format("{}", count) : ""});
  }
  std::size_t name_width = 0, shape_width = 0;
  for (const auto& [name, shape, count] : rows) {
    name_width = std::max(name_width, name.size());
    shape_width = std::max(shape_width, shape.size());
  }
  std::string text;
  for (const auto& [name, shape, count] : rows)
    text += fmt::format("  {:<{}}  {:<{}}{}\n", name, name_width, shape, count.empty() ? 0 : shape_width,
                        count.empty() ? "" : fmt::format("  {:>10}", count));
  return text;
}

}  // namespace norma::app
