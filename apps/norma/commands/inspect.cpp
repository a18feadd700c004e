// norma inspect: what is in a checkpoint. Norms and ranges of every tensor; gamma, beta and running statistics of the norms.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "apps/norma/commands.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/report/norm_layers.h"
#include "apps/norma/system/choices.h"
#include "apps/norma/system/terminal.h"
#include "norma/checkpoint.h"
#include "norma/error.h"
#include "norma/tensor_summary.h"
#include "norma/text.h"
#include "norma/weights.h"

namespace norma::app {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t widest_name = 120;  // of the table: one longer moves its own line alone

struct InspectRequest {
  fs::path path;
  std::string layer;
  std::int64_t channels = 8;
  bool json = false;
};

// Statistics of the finite values.
struct Summary {
  std::size_t count = 0, not_finite = 0;
  double norm = 0, mean = 0, deviation = 0, low = 0, high = 0;
};

template <class T, class F>
void each(const StoredTensor& t, F f) {
  for (std::size_t at = 0; at + sizeof(T) <= t.bytes.size(); at += sizeof(T)) {
    T v;
    std::memcpy(&v, t.bytes.data() + at, sizeof v);
    f(static_cast<double>(v));
  }
}

// Every value where it lies: a tensor may be as large as memory allows.
template <class F>
void for_each_value(const StoredTensor& t, F f) {
  if (t.dtype == DType::f32) each<float>(t, f);
  else if (t.dtype == DType::u8) each<std::uint8_t>(t, f);
  else if (t.dtype == DType::i32) each<std::int32_t>(t, f);
  else each<std::int64_t>(t, f);
}

Summary summarize(const StoredTensor& t) {
  Summary s;
  s.low = INFINITY, s.high = -INFINITY;
  double sum = 0, squares = 0;
  for_each_value(t, [&](double v) {
    ++s.count;
    if (!std::isfinite(v)) {
      ++s.not_finite;
      return;
    }
    sum += v, squares += v * v;
    s.low = std::min(s.low, v), s.high = std::max(s.high, v);
  });
  const std::size_t n = s.count - s.not_finite;
  if (n == 0) return {.count = s.count, .not_finite = s.not_finite};
  s.norm = std::sqrt(squares);
  s.mean = sum / static_cast<double>(n);
  double apart = 0;
  for_each_value(t, [&](double v) {
    if (std::isfinite(v)) apart += (v - s.mean) * (v - s.mean);
  });
  s.deviation = std::sqrt(apart / static_cast<double>(n));
  return s;
}

// Standard output in blocks: what is printed of a file may be longer than the file.
class Output {
 public:
  Output& operator<<(std::string_view text) {
    text_ += text;
    if (text_.size() > (std::size_t{1} << 16)) flush();
    return *this;
  }
  void flush() {
    print_result(text_);
    text_.clear();
  }

 private:
  std::string text_;
};

// A tensor's name in the table. Any file may be inspected, so names can hold any bytes.
std::string text(const StoredTensor& t) { return printable(t.name); }
std::string text(const std::vector<std::int64_t>& shape) { return fmt::format("({})", fmt::join(shape, ", ")); }

void print_tensors(const Checkpoint& model, Output& out) {
  std::size_t name_width = 6, shape_width = 5;
  for (const StoredTensor& t : model.tensors) {
    name_width = std::max(name_width, std::min(text(t).size(), widest_name));
    shape_width = std::max(shape_width, text(t.shape).size());
  }
  out << fmt::format("{:<{}}  {:<{}}  {:>9}  {:>9}  {:>9}  {:>9}  {:>9}\n", "tensor", name_width, "shape", shape_width, "norm", "mean",
                     "std", "min", "max");
  for (const StoredTensor& t : model.tensors) {
    const Summary s = summarize(t);
    const std::string head = fmt::format("{:<{}}  {:<{}}", text(t), name_width, text(t.shape), shape_width);
    if (s.count == 1 && t.dtype != DType::f32) {
      out << fmt::format("{}  {} {}\n", head, s.mean, name_of(t.dtype));
      continue;
    }
    out << fmt::format("{}  {:>9.4g}  {:>9.3g}  {:>9.3g}  {:>9.3g}  {:>9.3g}{}\n", head, s.norm, s.mean, s.deviation, s.low, s.high,
                       s.not_finite ? fmt::format("  {} not finite", s.not_finite) : "");
  }
}

std::size_t channels_of(const StoredTensor* t) { return t ? t->bytes.size() / sizeof(float) : 0; }

std::size_t channels_of(const NormTensors& l) {
  return std::max({channels_of(l.gamma), channels_of(l.beta), channels_of(l.running_mean), channels_of(l.running_var)});
}

std::string cell(const StoredTensor* t, std::size_t channel) {
  if (channel >= channels_of(t)) return fmt::format("{:>12}", "-");
  float v = 0;
  std::memcpy(&v, t->bytes.data() + channel * sizeof v, sizeof v);
  return fmt::format("{:>12.5g}", v);
}

void print_norm(const NormTensors& l, std::int64_t most, Output& out) {
  const std::size_t channels = channels_of(l);
  const std::size_t shown = most > 0 ? std::min(channels, static_cast<std::size_t>(most)) : channels;
  out << fmt::format("\n{}: norm of {} channels{}\n{:>7}  {:>12}  {:>12}  {:>12}  {:>12}\n", printable(l.path), channels,
                     l.batches ? fmt::format(", {} batches seen", *l.batches) : "", "channel", "gamma", "beta", "running_mean",
                     "running_var");
  for (std::size_t c = 0; c < shown; ++c)
    out << fmt::format("{:>7}  {}  {}  {}  {}\n", c, cell(l.gamma, c), cell(l.beta, c), cell(l.running_mean, c), cell(l.running_var, c));
  if (shown < channels) out << fmt::format("{:>7}  {} more: --channels 0 shows all\n", "...", channels - shown);
}

std::string json_number(double v) { return nlohmann::json(v).dump(); }  // null where it is not finite

void print_numbers(const StoredTensor* t, Output& out) {
  out << "[";
  bool first = true;
  if (t)
    each<float>(*t, [&](double v) {
      if (!std::exchange(first, false)) out << ",";
      out << json_number(v);
    });
  out << "]";
}

void print_json(const Checkpoint& model, const std::function<bool(const std::string&)>& wanted, const fs::path& file, Output& out) {
  // Piece by piece, since a model may be large; json_document would need all at once.
  out << fmt::format(R"({{"schema":{},"file":{},"tensors":[)", json_schema, json_text(file.string()));
  const char* between = "";
  for (const StoredTensor& t : model.tensors) {
    const Summary s = summarize(t);
    out << std::exchange(between, ",")
        << fmt::format(R"({{"name":{},"shape":[{}],"dtype":"{}","norm":{},"mean":{},"std":{},"min":{},"max":{},"not_finite":{}}})",
                       json_text(t.name), fmt::join(t.shape, ","), name_of(t.dtype), json_number(s.norm), json_number(s.mean),
                       json_number(s.deviation), json_number(s.low), json_number(s.high), s.not_finite);
  }
  out << "],\"norms\":[";
  between = "";
  for_each_norm(model, [&](const NormTensors& l) {
    if (!wanted(l.path)) return;
    out << std::exchange(between, ",") << "{\"layer\":" << json_text(l.path);
    for (const auto& [name, tensor] : {std::pair("gamma", l.gamma), std::pair("beta", l.beta), std::pair("running_mean", l.running_mean),
                                       std::pair("running_var", l.running_var)}) {
      out << ",\"" << name << "\":";
      print_numbers(tensor, out);
    }
    out << ",\"num_batches_tracked\":" << (l.batches ? std::to_string(*l.batches) : "null") << "}";
  });
  out << "],\"notes\":" << json_text(model.notes) << "}\n";
}

template <class Tensor>
[[noreturn]] void no_such_layer(const std::vector<Tensor>& tensors, const std::string& layer, const fs::path& file) {
  constexpr std::size_t most = 1000, shown = 30;
  std::vector<std::string> known;
  for (const Tensor& t : tensors)
    if (const std::string of = t.name.substr(0, t.name.rfind('.')); known.size() < most && (known.empty() || known.back() != of))
      known.push_back(printable(of));
  const std::string near = did_you_mean(layer, known);
  const bool more = known.size() > shown;
  if (more) known.resize(shown);
  throw Error(ErrorKind::usage, fmt::format("{} has no layer \"{}\"{}; it has {}{}", file.string(), layer, near, join(known),
                                            more ? " and more: norma inspect without --layer shows all" : ""));
}

// Keeps a layer's tensors alone. Throws Error(usage) where there are none.
template <class Tensor>
void keep_layer(std::vector<Tensor>& tensors, const std::string& layer, const fs::path& file) {
  if (layer.empty()) return;
  const auto outside = [&](const Tensor& t) { return !t.name.starts_with(layer + "."); };
  if (std::ranges::all_of(tensors, outside)) no_such_layer(tensors, layer, file);
  std::erase_if(tensors, outside);
}

// A file of other programs, with types that norma does not load: its tensors alone.
void print_foreign(const fs::path& file, const std::set<std::string>& types, const InspectRequest& request, Output& out) {
  std::vector<TensorSummary> tensors = summarize_safetensors(file);
  keep_layer(tensors, request.layer, file);
  const std::string note = fmt::format("norma does not load tensors of {}, so norms are not shown", fmt::join(types, ", "));
  if (request.json) {
    nlohmann::ordered_json all = nlohmann::ordered_json::array();
    for (const TensorSummary& t : tensors) {
      const auto figure = [&](double v) { return t.numbers ? nlohmann::ordered_json(v) : nlohmann::ordered_json(nullptr); };
      all.push_back({{"name", t.name},
                     {"shape", t.shape},
                     {"dtype", t.dtype},
                     {"norm", figure(t.norm)},
                     {"mean", figure(t.mean)},
                     {"std", figure(t.deviation)},
                     {"min", figure(t.low)},
                     {"max", figure(t.high)},
                     {"not_finite", t.not_finite}});
    }
    print_bytes(json_document({{"file", file.string()}, {"tensors", all}, {"norms", nlohmann::ordered_json::array()}, {"notes", {note}}}));
    return;
  }
  out << printable(note) << "\n";
  std::size_t name_width = 6, shape_width = 5;
  for (const TensorSummary& t : tensors) {
    name_width = std::max(name_width, std::min(printable(t.name).size(), widest_name));
    shape_width = std::max(shape_width, text(t.shape).size());
  }
  out << fmt::format("{:<{}}  {:<{}}  {:<8}  {:>9}  {:>9}  {:>9}  {:>9}  {:>9}\n", "tensor", name_width, "shape", shape_width, "dtype",
                     "norm", "mean", "std", "min", "max");
  for (const TensorSummary& t : tensors) {
    out << fmt::format("{:<{}}  {:<{}}  {:<8}", printable(t.name), name_width, text(t.shape), shape_width, printable(t.dtype));
    for (const auto& [value, digits] :
         {std::pair(t.norm, 4), std::pair(t.mean, 3), std::pair(t.deviation, 3), std::pair(t.low, 3), std::pair(t.high, 3)})
      out << (t.numbers ? fmt::format("  {:>9.{}g}", value, digits) : fmt::format("  {:>9}", "-"));
    out << (t.not_finite ? fmt::format("  {} not finite\n", t.not_finite) : "\n");
  }
}

int run(const InspectRequest& request) {
  std::error_code ec;
  const fs::path file = fs::is_directory(request.path, ec) ? request.path / "model.safetensors" : request.path;
  if (!fs::exists(file, ec)) throw Error(ErrorKind::data, file.string() + ": no such file");
  Output out;
  if (const std::set<std::string> types = is_pt(file) ? std::set<std::string>{} : foreign_types(file); !types.empty()) {
    print_foreign(file, types, request, out);
    out.flush();
    return 0;
  }
  Checkpoint model = load_weights(file);
  const std::string inside = request.layer + ".";
  const auto wanted = [&](const std::string& path) { return request.layer.empty() || path == request.layer || path.starts_with(inside); };
  keep_layer(model.tensors, request.layer, file);
  if (request.json) {
    print_json(model, wanted, file, out);
  } else {
    for (const std::string& note : model.notes) out << printable(note) << "\n";
    print_tensors(model, out);
    for_each_norm(model, [&](const NormTensors& l) {
      if (wanted(l.path)) print_norm(l, request.channels, out);
    });
  }
  out.flush();
  return 0;
}

}  // namespace

Command add_inspect(CLI::App& norma) {
  auto request = std::make_shared<InspectRequest>();
  CLI::App& app = *norma.add_subcommand("inspect", "Tensors of any safetensors file; gamma, beta and running statistics of norms");
  app.add_option("checkpoint", request->path, "A run directory, or a .safetensors or .pt file")->required();
  app.add_option("--layer", request->layer, "Show only this layer")->type_name("NAME");
  app.add_option("--channels", request->channels, "Channels to show of each norm; 0: all")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()));
  app.add_flag("--json", request->json, "One JSON object on stdout, with every channel");
  return {&app, [request] { return run(*request); }};
}

}  // namespace norma::app
