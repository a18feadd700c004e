// norma inspect: what is in a checkpoint. Norms and ranges of every tensor; gamma, beta and running statistics of the norms.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>

#include "apps/norma/commands.h"
#include "apps/norma/json_lines.h"
#include "apps/norma/report.h"
#include "apps/norma/terminal.h"
#include "apps/norma/words.h"
#include "norma/checkpoint.h"
#include "norma/error.h"
#include "norma/text.h"

namespace norma::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

struct InspectRequest {
  fs::path path;
  std::string layer;
  std::int64_t channels = 8;
  bool json = false;
};

// Of the finite values.
struct Summary {
  std::size_t count = 0, not_finite = 0;
  double norm = 0, mean = 0, deviation = 0, low = 0, high = 0;
};

std::vector<double> values_of(const StoredTensor& t) {
  std::vector<double> values;
  if (t.dtype == DType::f32)
    for (float v : t.floats()) values.push_back(v);
  else if (t.dtype == DType::u8)
    for (std::byte b : t.bytes) values.push_back(std::to_integer<int>(b));
  else
    for (std::int64_t v : t.integers()) values.push_back(static_cast<double>(v));
  return values;
}

Summary summarize(const std::vector<double>& values) {
  Summary s;
  s.count = values.size();
  s.low = INFINITY, s.high = -INFINITY;
  double sum = 0, squares = 0;
  for (double v : values) {
    if (!std::isfinite(v)) {
      ++s.not_finite;
      continue;
    }
    sum += v, squares += v * v;
    s.low = std::min(s.low, v), s.high = std::max(s.high, v);
  }
  const std::size_t n = s.count - s.not_finite;
  if (n == 0) return {.count = s.count, .not_finite = s.not_finite};
  s.norm = std::sqrt(squares);
  s.mean = sum / static_cast<double>(n);
  double apart = 0;
  for (double v : values)
    if (std::isfinite(v)) apart += (v - s.mean) * (v - s.mean);
  s.deviation = std::sqrt(apart / static_cast<double>(n));
  return s;
}

// What the table calls a tensor: any file may be looked at, so its names are of anybody's making.
std::string text(const StoredTensor& t) { return printable(t.name); }
std::string text(const std::vector<std::int64_t>& shape) { return fmt::format("({})", fmt::join(shape, ", ")); }

std::string tensor_table(const Checkpoint& model) {
  std::size_t name_width = 6, shape_width = 5;
  for (const StoredTensor& t : model.tensors) {
    name_width = std::max(name_width, text(t).size());
    shape_width = std::max(shape_width, text(t.shape).size());
  }
  std::string out = fmt::format("{:<{}}  {:<{}}  {:>9}  {:>9}  {:>9}  {:>9}  {:>9}\n", "tensor", name_width, "shape", shape_width, "norm",
                                "mean", "std", "min", "max");
  for (const StoredTensor& t : model.tensors) {
    const std::vector<double> values = values_of(t);
    const std::string head = fmt::format("{:<{}}  {:<{}}", text(t), name_width, text(t.shape), shape_width);
    if (values.size() == 1 && t.dtype != DType::f32) {
      out += fmt::format("{}  {} {}\n", head, values[0], name_of(t.dtype));
      continue;
    }
    const Summary s = summarize(values);
    out += fmt::format("{}  {:>9.4g}  {:>9.3g}  {:>9.3g}  {:>9.3g}  {:>9.3g}{}\n", head, s.norm, s.mean, s.deviation, s.low, s.high,
                       s.not_finite ? fmt::format("  {} not finite", s.not_finite) : "");
  }
  return out;
}

std::string cell(const std::vector<float>& values, std::size_t channel) {
  return channel < values.size() ? fmt::format("{:>12.5g}", values[channel]) : fmt::format("{:>12}", "-");
}

std::size_t channels_of(const BatchNormLayer& l) {
  return std::max({l.gamma.size(), l.beta.size(), l.running_mean.size(), l.running_var.size()});
}

std::string batch_norm_table(const BatchNormLayer& l, std::int64_t most) {
  const std::size_t channels = channels_of(l);
  const std::size_t shown = most > 0 ? std::min(channels, static_cast<std::size_t>(most)) : channels;
  std::string out =
      fmt::format("\n{}: norm of {} channels{}\n{:>7}  {:>12}  {:>12}  {:>12}  {:>12}\n", printable(l.path), channels,
                  l.batches ? fmt::format(", {} batches seen", *l.batches) : "", "channel", "gamma", "beta", "running_mean", "running_var");
  for (std::size_t c = 0; c < shown; ++c)
    out += fmt::format("{:>7}  {}  {}  {}  {}\n", c, cell(l.gamma, c), cell(l.beta, c), cell(l.running_mean, c), cell(l.running_var, c));
  if (shown < channels) out += fmt::format("{:>7}  {} more: --channels 0 shows all\n", "...", channels - shown);
  return out;
}

ordered_json to_json(const Checkpoint& model, const std::vector<BatchNormLayer>& norms, const fs::path& file) {
  ordered_json tensors = ordered_json::array(), layers = ordered_json::array();
  for (const StoredTensor& t : model.tensors) {
    const Summary s = summarize(values_of(t));
    tensors.push_back({{"name", t.name},
                       {"shape", t.shape},
                       {"dtype", name_of(t.dtype)},
                       {"norm", s.norm},
                       {"mean", s.mean},
                       {"std", s.deviation},
                       {"min", s.low},
                       {"max", s.high},
                       {"not_finite", s.not_finite}});
  }
  for (const BatchNormLayer& l : norms)
    layers.push_back({{"layer", l.path},
                      {"gamma", l.gamma},
                      {"beta", l.beta},
                      {"running_mean", l.running_mean},
                      {"running_var", l.running_var},
                      {"num_batches_tracked", l.batches ? ordered_json(*l.batches) : ordered_json(nullptr)}});
  return {{"file", file.string()}, {"tensors", tensors}, {"norms", layers}};
}

int run(const InspectRequest& request) {
  std::error_code ec;
  const fs::path file = fs::is_directory(request.path, ec) ? request.path / "model.safetensors" : request.path;
  if (!fs::exists(file, ec)) throw Error(ErrorKind::data, file.string() + ": no such file");
  Checkpoint model = load_safetensors(file);
  std::vector<BatchNormLayer> norms = batch_norm_layers(model);
  if (!request.layer.empty()) {
    std::vector<std::string> known;
    for (const StoredTensor& t : model.tensors)
      if (const std::string layer = t.name.substr(0, t.name.rfind('.')); known.empty() || known.back() != layer) known.push_back(layer);
    std::erase_if(model.tensors, [&](const StoredTensor& t) { return !t.name.starts_with(request.layer + "."); });
    std::erase_if(norms, [&](const BatchNormLayer& l) { return l.path != request.layer && !l.path.starts_with(request.layer + "."); });
    if (model.tensors.empty())
      throw Error(ErrorKind::usage, fmt::format("{} has no layer \"{}\"{}; it has {}", file.string(), request.layer,
                                                did_you_mean(request.layer, known), join(known)));
  }
  if (request.json) {
    print_result(json_text(to_json(model, norms, file)) + "\n");
    return 0;
  }
  std::string out = tensor_table(model);
  for (const BatchNormLayer& l : norms) out += batch_norm_table(l, request.channels);
  print_result(out);
  return 0;
}

}  // namespace

Command add_inspect(CLI::App& norma) {
  auto request = std::make_shared<InspectRequest>();
  CLI::App& app = *norma.add_subcommand("inspect", "Gamma, beta, running statistics and weight norms of a checkpoint");
  app.add_option("checkpoint", request->path, "A run directory, or a .safetensors file")->required();
  app.add_option("--layer", request->layer, "This layer alone")->type_name("NAME");
  app.add_option("--channels", request->channels, "Channels shown of each norm; 0: all")->type_name("N")->check(CLI::NonNegativeNumber);
  app.add_flag("--json", request->json, "One JSON object on stdout, with every channel");
  return {&app, [request] { return run(*request); }};
}

}  // namespace norma::app
