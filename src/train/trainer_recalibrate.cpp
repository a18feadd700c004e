// Running statistics of the whole training set instead of an average over its last batches.
#include <algorithm>
#include <cmath>

#include "norma/error.h"
#include "norma/text.h"
#include "src/train/trainer_state.h"

namespace norma {
namespace {

// Mean and sum of squared distances from it, of one channel; merged as Chan, Golub and LeVeque (1979) do.
struct Moments {
  double n = 0, mean = 0, squares = 0;

  void add(const float* values, std::size_t count) {
    Moments m{.n = static_cast<double>(count)};
    for (std::size_t i = 0; i < count; ++i) m.mean += static_cast<double>(values[i]);
    m.mean /= m.n;
    for (std::size_t i = 0; i < count; ++i)
      m.squares += (static_cast<double>(values[i]) - m.mean) * (static_cast<double>(values[i]) - m.mean);
    const double off = m.mean - mean, all = n + m.n;
    mean += off * (m.n / all);
    squares += m.squares + off * off * (n * m.n / all);
    n = all;
  }
};

}  // namespace

std::vector<RecalibratedBatchNorm> Trainer::recalibrate(const DatasetView& data, std::int64_t samples) {
  const Use use(state_, "Trainer");
  State& s = *use;
  s.refuse_within_evaluation("recalibrate");
  s.check(data);
  if (samples < 0 || samples > data.size())
    throw Error(ErrorKind::usage,
                "data set " + printable(data.name) + " has " + std::to_string(data.size()) + " samples, not " + std::to_string(samples));
  const std::int64_t count = samples ? samples : data.size();
  const State::BoundData bound(data, s.promise());
  const Checkpoint before = model();
  std::vector<RecalibratedBatchNorm> done;
  try {
    for (const BatchNormSite& site : batch_norms(unfused_graph())) {
      const Node& norm = unfused_graph()[site.norm];
      if (!std::get<BatchNormNode>(norm.op).options.track_running_stats) continue;
      const std::string input = unfused_graph()[site.input].path;
      const std::vector<ObserveRequest> wanted{{.name = input}};
      // A sample at a time, in order: the same bits whatever the samples of a pass.
      std::vector<Moments> channels(static_cast<std::size_t>(norm.shape[1]));
      for (std::int64_t first = 0; first < count; first += evaluation_batch) {
        const Observation pass = s.look(Mode::eval, bound, wanted, {first, std::min(count, first + evaluation_batch)});
        const ObservedValue& x = pass.values.at(input);
        const std::size_t plane = x.values.size() / static_cast<std::size_t>(x.shape[0]) / channels.size();
        for (std::size_t row = 0; row * plane < x.values.size(); ++row) channels[row % channels.size()].add(&x.values[row * plane], plane);
      }
      if (channels[0].n < 2)
        throw Error(ErrorKind::usage, "[" + printable(norm.path) + "] one value per channel has no variance: more samples are needed");
      const std::string mean_name = parameter_name(norm.path, "running_mean"), var_name = parameter_name(norm.path, "running_var");
      const std::vector<float> old_mean = read(mean_name), old_var = read(var_name);
      RecalibratedBatchNorm r{.layer = norm.path};
      std::vector<float> mean, var;
      for (std::size_t c = 0; c < channels.size(); ++c) {
        const double variance = channels[c].squares / (channels[c].n - 1);
        if (!std::isfinite(channels[c].mean) || !std::isfinite(variance))
          throw Error(ErrorKind::diverged, "[" + printable(norm.path) + "] its input is not finite in channel " + std::to_string(c));
        if (!std::isfinite(static_cast<float>(channels[c].mean)) || !std::isfinite(static_cast<float>(variance)))
          throw Error(ErrorKind::diverged, "[" + printable(norm.path) + "] the variance of its input in channel " + std::to_string(c) +
                                               " is beyond float: its values are too large");
        mean.push_back(static_cast<float>(channels[c].mean));
        var.push_back(static_cast<float>(variance));
        const double eps = std::get<BatchNormNode>(norm.op).options.eps, was = static_cast<double>(old_var[c]) + eps;
        const double moved = std::abs(channels[c].mean - static_cast<double>(old_mean[c])),
                     change = moved == 0 ? 0 : moved / std::sqrt(was);
        if (change > r.mean_change || std::isnan(change)) r.mean_change = change;  // NaN: the statistics were not finite
        const double ratio = variance + eps == was ? 1 : (variance + eps) / was;
        if (std::isnan(ratio) || std::abs(std::log(ratio)) > std::abs(std::log(r.variance_ratio))) r.variance_ratio = ratio;
      }
      write_tensor(*s.executor, *s.base, s.id(mean_name), mean);
      write_tensor(*s.executor, *s.base, s.id(var_name), var);
      done.push_back(r);
    }
  } catch (const Error&) {
    s.put_back(before);
    throw;
  }
  return done;
}

}  // namespace norma
