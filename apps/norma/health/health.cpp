// The figures that the probe gives.
#include "apps/norma/health/health.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace norma::app {
namespace {

ChannelSpread spread(const std::vector<float>& values) {
  ChannelSpread s{values[0], 0, values[0]};
  for (const float v : values) {
    s.least = std::min(s.least, static_cast<double>(v)), s.largest = std::max(s.largest, static_cast<double>(v));
    s.mean += static_cast<double>(v) / static_cast<double>(values.size());
  }
  return s;
}

std::size_t plane(const Shape& s) { return s.rank() == 4 ? static_cast<std::size_t>(s[2] * s[3]) : 1; }

// Channels that are 0 everywhere.
std::vector<std::int64_t> dead_channels(const ObservedValue& y) {
  const std::size_t channels = static_cast<std::size_t>(y.shape[1]), area = plane(y.shape);
  std::vector<bool> alive(channels, false);
  for (std::size_t row = 0; row * area < y.values.size(); ++row) {
    const float* begin = &y.values[row * area];
    if (!alive[row % channels]) alive[row % channels] = std::any_of(begin, begin + area, [](float v) { return v != 0; });
  }
  std::vector<std::int64_t> dead;
  for (std::size_t c = 0; c < channels; ++c)
    if (!alive[c]) dead.push_back(static_cast<std::int64_t>(c));
  return dead;
}

struct Moments {
  std::vector<double> mean, variance;
};

// Mean and unbiased variance of each channel, in two passes in double.
Moments moments(const ObservedValue& x) {
  const std::size_t channels = static_cast<std::size_t>(x.shape[1]), area = plane(x.shape), rows = x.values.size() / area;
  const double n = static_cast<double>(x.values.size() / channels);
  Moments m{std::vector<double>(channels, 0), std::vector<double>(channels, 0)};
  const auto for_each_row = [&](auto f) {
    for (std::size_t r = 0; r < rows; ++r) f(r % channels, std::span(x.values).subspan(r * area, area));
  };
  for_each_row([&](std::size_t c, std::span<const float> row) {
    for (const float v : row) m.mean[c] += static_cast<double>(v);
  });
  for (double& v : m.mean) v /= n;
  for_each_row([&](std::size_t c, std::span<const float> row) {
    for (const float v : row) m.variance[c] += (static_cast<double>(v) - m.mean[c]) * (static_cast<double>(v) - m.mean[c]);
  });
  for (double& v : m.variance) v /= std::max(1.0, n - 1);
  return m;
}

double saturated_share(Activation kind, const std::vector<float>& y) {
  const ActivationTraits& t = traits(kind);
  const auto n = std::count_if(y.begin(), y.end(), [&](float v) { return v <= t.saturated_low || v >= t.saturated_high; });
  return t.saturates() ? static_cast<double>(n) / static_cast<double>(y.size()) : 0;
}

// Finite values on the grid.
Histogram on_grid(const std::vector<float>& values) {
  constexpr std::int64_t most_bins = 40;
  Histogram h;
  if (values.empty()) return h;
  float low = values[0], high = values[0];
  for (const float v : values) low = std::min(low, v), high = std::max(high, v);
  // Equal values: one bin, fine for their size.
  const double range = high > low ? (static_cast<double>(high) - static_cast<double>(low)) / most_bins
                                  : std::max(std::abs(static_cast<double>(low)), 1e-30) / 16;
  int exponent = static_cast<int>(std::ceil(std::log2(range)));
  const auto bin = [](float v, double per_width) {  // floor; the product is exact
    const double at = static_cast<double>(v) * per_width;
    const auto whole = static_cast<std::int64_t>(at);
    return whole - (at < static_cast<double>(whole) ? 1 : 0);
  };
  while (bin(high, std::ldexp(1.0, -exponent)) - bin(low, std::ldexp(1.0, -exponent)) >= most_bins) ++exponent;
  const double per_width = std::ldexp(1.0, -exponent);
  h.width = std::ldexp(1.0, exponent);
  h.first = bin(low, per_width);
  h.counts.assign(static_cast<std::size_t>(bin(high, per_width) - h.first + 1), 0);
  for (const float v : values) ++h.counts[static_cast<std::size_t>(bin(v, per_width) - h.first)];
  return h;
}

bool norm_before(const Graph& graph, const Node& activation) {
  return std::holds_alternative<BatchNormNode>(graph[activation.inputs[0]].op);
}

// Samples whose values a histogram counts, of values so shaped.
std::int64_t histogram_samples(const Shape& s) { return std::max<std::int64_t>(16, histogram_values / (s.elements() / s[0])); }

std::span<const float> first_samples(const ObservedValue& v) {
  const std::int64_t samples = std::min(v.shape[0], histogram_samples(v.shape));
  return std::span(v.values).first(static_cast<std::size_t>(v.shape.elements() / v.shape[0] * samples));
}

// Nodes whose gradient a training pass makes: those that depend on a parameter.
std::vector<bool> with_gradient(const Graph& graph) {
  std::vector<bool> has(graph.nodes.size(), false);
  for (const ParameterInfo& p : graph.parameters())
    if (!p.buffer) has[static_cast<std::size_t>(p.node)] = true;
  for (std::size_t i = 0; i < has.size(); ++i)
    for (const Value v : graph.nodes[i].inputs) has[i] = has[i] || has[static_cast<std::size_t>(v.id)];
  return has;
}

// True where a norm's training pass takes the batch's statistics, though it keeps running ones.
bool moves_statistics(const Graph& graph, Value norm, std::span<const ParameterGroup> groups) {
  if (!std::get<BatchNormNode>(graph[norm].op).options.track_running_stats) return false;
  for (const ParameterInfo& p : graph.parameters())
    if (p.node == norm.id && rule_of(groups, p.name).frozen_statistics) return false;
  return true;
}

}  // namespace

Histogram histogram(std::span<const float> values) {
  std::vector<float> finite;
  finite.reserve(values.size());
  std::copy_if(values.begin(), values.end(), std::back_inserter(finite), [](float v) { return std::isfinite(v); });
  Histogram h = on_grid(finite);
  h.not_finite = static_cast<std::int64_t>(values.size() - finite.size());
  return h;
}

Histogram magnitudes(std::span<const float> values) {
  std::vector<float> logarithms;
  logarithms.reserve(values.size());
  std::int64_t zeros = 0, not_finite = 0;
  for (const float v : values) {
    if (!std::isfinite(v)) ++not_finite;
    else if (v == 0) ++zeros;
    else logarithms.push_back(std::log10(std::abs(v)));
  }
  Histogram h = on_grid(logarithms);
  h.zeros = zeros, h.not_finite = not_finite;
  return h;
}

Histogram coarsen(const Histogram& h, double width) {
  if (h.counts.empty()) return h;
  const auto ratio = static_cast<std::int64_t>(width / h.width);
  const auto coarse = [&](std::int64_t bin) { return (bin >= 0 ? bin : bin - ratio + 1) / ratio; };
  Histogram c{.width = width, .first = coarse(h.first), .counts = {}, .zeros = h.zeros, .not_finite = h.not_finite};
  c.counts.assign(static_cast<std::size_t>(coarse(h.first + static_cast<std::int64_t>(h.counts.size()) - 1) - c.first + 1), 0);
  for (std::size_t i = 0; i < h.counts.size(); ++i)
    c.counts[static_cast<std::size_t>(coarse(h.first + static_cast<std::int64_t>(i)) - c.first)] += h.counts[i];
  return c;
}

HealthProbe::HealthProbe(Trainer& trainer, const Dataset& train, std::int64_t batch, std::span<const ParameterGroup> groups)
    : trainer_(trainer), train_(train), samples_(std::min({batch, largest_probe, train.size()})) {
  const Graph& graph = trainer.unfused_graph();
  context_.batch = std::min(batch, train.size());
  const std::vector<bool> has_gradient = with_gradient(graph);
  std::vector<bool> dropped(graph.nodes.size(), false);  // a dropout comes before
  std::map<std::string, std::int64_t> wanted;            // a value to samples, 0: all
  const auto want_some = [&](const std::string& name, const Shape& s) { wanted.emplace(name, histogram_samples(s)); };
  const auto want_all = [&](const std::string& name) { wanted[name] = 0; };
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    for (const Value v : node.inputs) dropped[i] = dropped[i] || dropped[static_cast<std::size_t>(v.id)];
    if (const auto* d = std::get_if<nn::Dropout>(&node.op); d && d->p > 0) {
      context_.dropouts.push_back({node.path, d->p});
      dropped[i] = true;
    }
    if (!std::holds_alternative<ActivationNode>(node.op)) continue;
    activations_.push_back(static_cast<std::int32_t>(i));
    want_all(node.path);
    if (!norm_before(graph, node)) want_some(graph[node.inputs[0]].path, node.shape);
  }
  for (const BatchNormSite& site : batch_norms(graph)) {
    const std::string &input = graph[site.input].path, &norm = graph[site.norm].path;
    for (const std::string& name : {input, norm, norm + ".grad"}) want_some(name, graph[site.norm].shape);
    if (has_gradient[static_cast<std::size_t>(site.input.id)]) want_some(input + ".grad", graph[site.norm].shape);
    sites_.push_back({site, moves_statistics(graph, site.norm, groups), dropped[static_cast<std::size_t>(site.input.id)]});
    if (sites_.back().running)
      for (const char* statistic : {".mean", ".var"}) want_all(norm + statistic);
    if (sites_.back().after_dropout) in_evaluation_.push_back({input});
  }
  for (const auto& [name, samples] : wanted) in_training_.push_back({name, samples});
}

NormHealth HealthProbe::norm(const Site& of, const Observation& train, const Observation& evaluation) const {
  const Graph& graph = trainer_.unfused_graph();
  const BatchNormSite& site = of.at;
  const Node& node = graph[site.norm];
  const nn::BatchNorm& options = std::get<BatchNormNode>(node.op).options;
  NormHealth h{.layer = node.path, .input = graph[site.input].path, .channels = node.shape[1]};
  if (site.activation) h.activation = graph[*site.activation].path;
  const ObservedValue& y = train.values.at(h.layer);
  if (of.running) {
    h.updates = std::llround(trainer_.read(parameter_name(h.layer, "num_batches_tracked")).at(0));
    h.momentum = options.momentum;
    const std::vector<float> mean = trainer_.read(parameter_name(h.layer, "running_mean")),
                             var = trainer_.read(parameter_name(h.layer, "running_var"));
    const std::vector<float>&batch_mean = train.values.at(h.layer + ".mean").values, &batch_var = train.values.at(h.layer + ".var").values;
    const double n = static_cast<double>(samples_) * static_cast<double>(plane(y.shape)), unbias = n > 1 ? n / (n - 1) : 1;
    const std::vector<double> in_evaluation = of.after_dropout ? moments(evaluation.values.at(h.input)).variance : std::vector<double>{};
    double off = 0, ratio = 0, ratio_in_evaluation = 0;
    for (std::size_t c = 0; c < mean.size(); ++c) {
      const double running = static_cast<double>(var[c]) + options.eps;
      off += std::abs(static_cast<double>(batch_mean[c]) - static_cast<double>(mean[c])) / std::sqrt(running);
      ratio += std::log((static_cast<double>(batch_var[c]) * unbias + options.eps) / running);
      if (of.after_dropout) ratio_in_evaluation += std::log((in_evaluation[c] + options.eps) / running);
    }
    const auto channels = static_cast<double>(mean.size());
    h.mean_drift = off / channels;
    h.variance_ratio = std::exp(ratio / channels);
    if (of.after_dropout) h.evaluation_variance_ratio = std::exp(ratio_in_evaluation / channels);
  }
  if (options.affine) {
    const std::vector<float> gamma = trainer_.read(parameter_name(h.layer, "weight"));
    h.gamma = spread(gamma), h.beta = spread(trainer_.read(parameter_name(h.layer, "bias")));
    for (std::size_t c = 0; c < gamma.size(); ++c)
      if (std::abs(static_cast<double>(gamma[c])) < small_gamma) h.switched_off.push_back(static_cast<std::int64_t>(c));
  }
  if (site.activation && traits(std::get<ActivationNode>(graph[*site.activation].op).act).can_die())
    h.dead = dead_channels(train.values.at(h.activation));
  h.before = histogram(first_samples(train.values.at(h.input)));
  h.after = histogram(first_samples(y));
  h.gradient_after = magnitudes(first_samples(train.values.at(h.layer + ".grad")));
  if (const auto found = train.values.find(h.input + ".grad"); found != train.values.end())
    h.gradient_before = magnitudes(first_samples(found->second));
  return h;
}

ActivationHealth HealthProbe::activation(const Node& node, const Observation& train) const {
  const Graph& graph = trainer_.unfused_graph();
  const ObservedValue& y = train.values.at(node.path);
  ActivationHealth h{.layer = node.path, .kind = std::get<ActivationNode>(node.op).act};
  h.saturated = saturated_share(h.kind, y.values);
  if (traits(h.kind).can_die()) h.dead = dead_channels(y);
  Moments m = moments(y);
  h.mean = std::move(m.mean);
  for (const double v : m.variance) h.deviation.push_back(std::sqrt(v));
  if (!norm_before(graph, node)) h.input = histogram(first_samples(train.values.at(graph[node.inputs[0]].path)));
  return h;
}

EpochHealth HealthProbe::look(std::int64_t epoch) const {
  const Observation train = trainer_.observe(Mode::train, train_, in_training_, 0, samples_);
  const Observation evaluation = trainer_.observe(Mode::eval, train_, in_evaluation_, 0, samples_);
  EpochHealth h{.epoch = epoch,
                .samples = samples_,
                .train_loss = train.loss,
                .train_accuracy = train.accuracy,
                .evaluation_loss = evaluation.loss,
                .evaluation_accuracy = evaluation.accuracy};
  for (const Site& site : sites_) h.norms.push_back(norm(site, train, evaluation));
  for (const std::int32_t i : activations_)
    h.activations.push_back(activation(trainer_.unfused_graph().nodes[static_cast<std::size_t>(i)], train));
  h.findings = findings(h, context_);
  return h;
}

std::optional<double> input_shift(const EpochHealth& before, const EpochHealth& after) {
  double sum = 0;
  int channels = 0;
  for (std::size_t a = 0; a < std::min(before.activations.size(), after.activations.size()); ++a) {
    const ActivationHealth &then = before.activations[a], &now = after.activations[a];
    for (std::size_t c = 0; c < std::min(then.mean.size(), now.mean.size()); ++c)
      if (then.deviation[c] > 0) sum += std::abs(now.mean[c] - then.mean[c]) / then.deviation[c], ++channels;
  }
  return channels ? std::optional(sum / channels) : std::nullopt;
}

}  // namespace norma::app
