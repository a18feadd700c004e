// A run's data and net as a scatter plot.
#include <algorithm>

#include "apps/norma/draw/scatter.h"

namespace norma::app {
namespace {

constexpr std::size_t most_scatter_points = 4000;
constexpr std::int64_t grid_side = 121;

// The net's second output less its first, for every sample.
std::vector<double> margins(Trainer& trainer, const Dataset& data) {
  const std::vector<float> y = trainer.predict(data);
  std::vector<double> out(y.size() / 2);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<double>(y[2 * i + 1]) - static_cast<double>(y[2 * i]);
  return out;
}

}  // namespace

std::optional<Scatter> scatter_of(const DatasetPair& data, Trainer& trainer) {
  const Dataset& train = data.train;
  if (!(train.sample == Shape{2}) || train.classes.size() != 2 || trainer.graph()[trainer.graph().outputs[0]].shape[1] != 2) return {};
  Scatter s;
  s.title = "Data and the net's boundary";
  for (std::size_t c = 0; c < 2; ++c) s.names[c] = train.classes[c];
  for (const Dataset* split : {&data.train, &data.test}) {
    Dataset shown = *split;  // the order of a set made by code is random: its beginning is a fair part
    shown.labels.resize(std::min(shown.labels.size(), most_scatter_points - s.points.size()));
    shown.floats.resize(2 * shown.labels.size());
    if (shown.labels.empty()) continue;
    const std::vector<double> margin = margins(trainer, shown);
    for (std::size_t i = 0; i < margin.size(); ++i)
      s.points.push_back({static_cast<double>(shown.floats[2 * i]), static_cast<double>(shown.floats[2 * i + 1]), shown.labels[i],
                          (margin[i] > 0) != (shown.labels[i] == 1)});
  }
  s.reach = reach_of(s.points);
  Dataset grid = train;
  grid.floats.clear();
  for (std::int64_t row = 0; row < grid_side; ++row)
    for (std::int64_t column = 0; column < grid_side; ++column)
      for (const std::int64_t i : {column, row})
        grid.floats.push_back(static_cast<float>((2 * static_cast<double>(i) / (grid_side - 1) - 1) * s.reach));
  grid.labels.assign(static_cast<std::size_t>(grid_side * grid_side), 0);
  s.side = grid_side;
  s.margin = margins(trainer, grid);
  return s;
}

}  // namespace norma::app
