// norma bench ops: the table of all operations, their sums for each net, and the check that both libraries computed the same.
#include <fmt/format.h>

#include <algorithm>

#include "apps/norma/bench/ops.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/system/log.h"
#include "apps/norma/system/machine.h"
#include "apps/norma/system/plugin.h"
#include "apps/norma/system/terminal.h"
#include "norma/error.h"
#include "norma/instruments.h"

namespace norma::app {
namespace {

using nlohmann::ordered_json;

struct Net {
  std::string name;
  std::vector<OpPass> passes;
};

// Sums over the passes that were compared: with the direct algorithm alone, or with the faster of the two.
struct NetSummary {
  double geometric_mean = 0, worst = 0, in_sum = 0;  // in_sum: of the operations as often as they are in the net
  std::string worst_pass;
};

NetSummary summary_of(const Net& net, double (OpPass::*ratio)() const) {
  NetSummary s;
  std::vector<double> ratios;
  double ours = 0, theirs = 0;
  for (const OpPass& p : net.passes) {
    if (!p.direct) continue;
    const double r = (p.*ratio)(), seconds = p.ours.median * static_cast<double>(p.shape->count);
    ratios.push_back(r);
    ours += seconds, theirs += r * seconds;
    if (ratios.size() == 1 || r < s.worst) s.worst = r, s.worst_pass = std::string(p.shape->name) + " " + p.pass;
  }
  s.geometric_mean = geometric_mean(ratios);
  s.in_sum = theirs / ours;
  return s;
}

bool has_winograd(const Net& net) {
  return std::any_of(net.passes.begin(), net.passes.end(), [](const OpPass& p) { return p.winograd.has_value(); });
}

const char* short_pass(const std::string& pass) {
  return pass == "forward" ? "fwd" : pass == "backward_input" ? "dgrad" : pass == "backward_weight" ? "wgrad" : "bwd";
}

std::string text(const Net& net, std::int64_t batch, const Roofline& roof) {
  const BenchShape& first = *net.passes[0].shape;
  if (limited_by_memory(first)) {
    std::string out = fmt::format("\n{:<28}{:<6}{:>10}{:>8}{:>8}{:>8}\n", net.name, "pass", "ms", "GB/s", "copy", "%copy");
    for (const OpPass& p : net.passes)
      out += fmt::format("{:<28}{:<6}{:>10.3f}{:>8.1f}{:>8.1f}{:>8.1f}\n",
                         fmt::format("{}x{}", p.shape->batch ? p.shape->batch : batch, describe(*p.shape)), short_pass(p.pass),
                         p.ours.median * 1e3, p.bytes / p.ours.median / 1e9, p.copy.median / 1e9, 100 * p.share_of_copy.median);
    return out;
  }
  std::string out = fmt::format("\n{:<24}{:<6}{:>9}{:>9}{:>7}{:>10}{:>7}{:>8}\n",
                                fmt::format("{}, batch {}", net.name, first.batch ? first.batch : batch), "pass", "ms", "GFLOP/s", "%peak",
                                "oneDNN ms", "ratio", "(wino)");
  for (const OpPass& p : net.passes) {
    const double rate = p.flops / p.ours.median;
    out += fmt::format("{:<24}{:<6}{:>9.3f}{:>9.1f}{:>7.1f}", describe(*p.shape), short_pass(p.pass), p.ours.median * 1e3, rate / 1e9,
                       100 * rate / roof.flops);
    if (!p.direct) out += "   not installed";
    else out += fmt::format("{:>10.3f}{:>7.2f}", p.direct->seconds.median * 1e3, p.ratio());
    if (p.winograd) out += fmt::format("{:>8.2f}", p.winograd->seconds.median / p.ours.median);
    out += '\n';
  }
  const auto line = [&](const char* what, double (OpPass::*ratio)() const) {
    const NetSummary s = summary_of(net, ratio);
    out += fmt::format("{}: geometric mean {:.2f}, in sum {:.2f},\n  worst {:.2f} ({})\n", what, s.geometric_mean, s.in_sum, s.worst,
                       s.worst_pass);
  };
  if (net.passes[0].direct) line("ratio", &OpPass::ratio);
  if (has_winograd(net)) line("to the faster of direct and Winograd", &OpPass::best_ratio);
  return out;
}

ordered_json to_json(const OpPass& p, std::int64_t batch, const Roofline& roof) {
  const BenchShape& s = *p.shape;
  ordered_json j{{"net", s.net},
                 {"name", s.name},
                 {"pass", p.pass},
                 {"shape",
                  {{"n", s.batch ? s.batch : batch},
                   {"c", s.c},
                   {"h", s.h},
                   {"w", s.w},
                   {"out", s.out},
                   {"kernel", s.kernel},
                   {"stride", s.stride},
                   {"padding", s.padding},
                   {"bias", s.bias}}},
                 {"count", s.count},
                 {"flops", p.flops},
                 {"bytes", p.bytes},
                 {"seconds", app::to_json(p.ours)},
                 {"share_of_peak", p.flops / p.ours.median / roof.flops}};
  if (limited_by_memory(s)) j["copy_bytes_per_second"] = app::to_json(p.copy), j["share_of_copy"] = app::to_json(p.share_of_copy);
  const auto theirs = [&](const char* key, const std::optional<OpPass::Theirs>& t) {
    if (t)
      j[key] = {{"seconds", app::to_json(t->seconds)},
                {"implementation", t->implementation},
                {"ratio", t->seconds.median / p.ours.median},
                {"difference", t->difference}};
  };
  theirs("onednn_direct", p.direct);
  theirs("onednn_winograd", p.winograd);
  return j;
}

ordered_json to_json(const NetSummary& s) {
  return {{"geometric_mean", s.geometric_mean}, {"in_sum", s.in_sum}, {"worst", s.worst}, {"worst_pass", s.worst_pass}};
}

ordered_json to_json(const Net& net) {
  ordered_json j{{"net", net.name}};
  if (net.passes[0].direct) j["ratio"] = to_json(summary_of(net, &OpPass::ratio));
  if (has_winograd(net)) j["ratio_to_faster_algorithm"] = to_json(summary_of(net, &OpPass::best_ratio));
  return j;
}

std::vector<Net> measure_all(const OpsRequest& request, const Yardstick& yardstick) {
  std::vector<Net> nets;
  for (const BenchShape& s : bench_shapes()) {
    const std::string name = std::string(s.net) + "/" + s.name;
    if (name.find(request.filter) == std::string::npos) continue;
    log_info(fmt::format("{} {}", name, describe(s)));
    if (nets.empty() || nets.back().name != s.net) nets.push_back({s.net, {}});
    for (OpPass& p : measure(s, request, yardstick)) nets.back().passes.push_back(std::move(p));
  }
  if (!nets.empty()) return nets;
  std::string known;
  for (const BenchShape& s : bench_shapes()) known += fmt::format("{}{}/{}", known.empty() ? "" : ", ", s.net, s.name);
  throw Error(ErrorKind::usage, fmt::format("no operation has \"{}\" in its name; there are {}", request.filter, known));
}

constexpr const char* ops_notes =
    "ms: medians of alternating runs. ratio: oneDNN's time over norma's; above 1\n"
    "norma is the faster. oneDNN runs in the layouts it prefers, reordered outside\n"
    "the time, with the direct algorithm; in (): with Winograd's where it prefers\n"
    "that. dgrad: gradient of the input, which a net's first layer lacks. wgrad: of\n"
    "weights and bias. %copy: the least memory traffic, as a share of a copy's.\n";

}  // namespace

int bench_ops(const OpsRequest& asked) {
  set_up_log(detect_terminal(fileno(stderr)), asked.quiet);
  OpsRequest request = asked;
  if (request.threads == 0) request.threads = this_environment().cores;
  const Yardstick yardstick(program_folder());
  if (!yardstick.present()) log_warning(yardstick.missing());
  const Roofline roof = measure_roofline(Device::cpu(), {.threads = request.threads, .isa = request.isa});
  const std::vector<Net> nets = measure_all(request, yardstick);

  double difference = 0;
  std::string differing;
  for (const Net& net : nets)
    for (const OpPass& p : net.passes)
      for (const auto& t : {p.direct, p.winograd})
        if (t && t->difference >= difference)
          difference = t->difference, differing = fmt::format("{}/{} {} ({})", p.shape->net, p.shape->name, p.pass, t->implementation);
  if (request.json) {
    ordered_json rows = ordered_json::array(), summaries = ordered_json::array();
    for (const Net& net : nets) {
      for (const OpPass& p : net.passes) rows.push_back(to_json(p, request.batch, roof));
      summaries.push_back(to_json(net));
    }
    ordered_json j{{"batch", request.batch}, {"roofline", app::to_json(roof)}};
    j["onednn"] = yardstick.present() ? ordered_json(yardstick.library()) : ordered_json(nullptr);
    j["operations"] = rows, j["nets"] = summaries;
    if (!differing.empty()) j["largest_difference"] = difference;
    print_result(json_document(j));
  } else {
    std::string out = fmt::format("{}; {}\n  {}\n{}", roof.device, yardstick.present() ? yardstick.library() : "oneDNN: not installed",
                                  describe(roof), ops_notes);
    for (const Net& net : nets) out += text(net, request.batch, roof);
    if (!differing.empty())
      out += fmt::format("\nlargest difference of results: {:.1e} of the largest value\n  ({})\n", difference, differing);
    print_result(out);
  }
  if (!(difference <= allowed_difference))
    throw Error(ErrorKind::verification, fmt::format("norma and {} differ by {:.1e} of the largest value in {}, more than {:.0e}",
                                                     yardstick.library(), difference, differing, allowed_difference));
  return 0;
}

}  // namespace norma::app
