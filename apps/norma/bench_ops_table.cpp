// norma bench ops: the table of all operations, their sums for each net, and the check that both libraries computed the same.
#include <fmt/format.h>

#include <algorithm>

#include "apps/norma/bench_ops.h"
#include "apps/norma/environment.h"
#include "apps/norma/log.h"
#include "apps/norma/terminal.h"
#include "norma/error.h"

namespace norma::app {
namespace {

using nlohmann::ordered_json;

struct Net {
  std::string name;
  std::vector<OpPass> passes;
};

// Of the passes that were compared.
struct NetSummary {
  double geometric_mean = 0, worst = 0, ours = 0, theirs = 0;  // seconds of the net's operations, as often as they are in it
  std::string worst_pass;
};

NetSummary summarise(const Net& net) {
  NetSummary s;
  std::vector<double> ratios;
  for (const OpPass& p : net.passes) {
    if (!p.theirs) continue;
    ratios.push_back(p.ratio());
    s.ours += p.ours.median * static_cast<double>(p.shape->count);
    s.theirs += p.theirs->median * static_cast<double>(p.shape->count);
    if (ratios.size() == 1 || p.ratio() < s.worst) s.worst = p.ratio(), s.worst_pass = std::string(p.shape->name) + " " + p.pass;
  }
  s.geometric_mean = geometric_mean(ratios);
  return s;
}

bool limited_by_memory(const Net& net) {
  return net.passes[0].shape->kind == BenchShape::Kind::batch_norm || net.passes[0].shape->kind == BenchShape::Kind::max_pool;
}

const char* short_pass(const std::string& pass) {
  return pass == "forward" ? "fwd" : pass == "backward_input" ? "dgrad" : pass == "backward_weight" ? "wgrad" : "bwd";
}

std::string text(const Net& net, std::int64_t batch, const Roofline& roof) {
  const BenchShape& first = *net.passes[0].shape;
  if (limited_by_memory(net)) {
    std::string out = fmt::format("\n{:<28}{:<6}{:>10}{:>8}{:>8}\n", net.name, "pass", "ms", "GB/s", "%copy");
    for (const OpPass& p : net.passes)
      out += fmt::format("{:<28}{:<6}{:>10.3f}{:>8.1f}{:>8.1f}\n",
                         fmt::format("{}x{}", p.shape->batch ? p.shape->batch : batch, describe(*p.shape)), short_pass(p.pass),
                         p.ours.median * 1e3, p.bytes / p.ours.median / 1e9, 100 * p.bytes / p.ours.median / roof.bandwidth());
    return out;
  }
  std::string out = fmt::format("\n{:<24}{:<6}{:>9}{:>9}{:>7}{:>10}{:>9}{:>7}\n",
                                fmt::format("{}, batch {}", net.name, first.batch ? first.batch : batch), "pass", "ms", "GFLOP/s", "%peak",
                                "oneDNN ms", "GFLOP/s", "ratio");
  for (const OpPass& p : net.passes) {
    const double rate = p.flops / p.ours.median;
    out += fmt::format("{:<24}{:<6}{:>9.3f}{:>9.1f}{:>7.1f}", describe(*p.shape), short_pass(p.pass), p.ours.median * 1e3, rate / 1e9,
                       100 * rate / roof.flops);
    out += p.theirs ? fmt::format("{:>10.3f}{:>9.1f}{:>7.2f}\n", p.theirs->median * 1e3, p.flops / p.theirs->median / 1e9, p.ratio())
                    : std::string("   not installed\n");
  }
  if (net.passes[0].theirs) {
    const NetSummary s = summarise(net);
    out += fmt::format("ratio: geometric mean {:.2f}, in sum {:.2f}, worst {:.2f} ({})\n", s.geometric_mean, s.theirs / s.ours, s.worst,
                       s.worst_pass);
  }
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
                 {"share_of_peak", p.flops / p.ours.median / roof.flops},
                 {"share_of_copy", p.bytes / p.ours.median / roof.bandwidth()}};
  if (p.theirs) {
    j["onednn_seconds"] = app::to_json(*p.theirs);
    j["onednn_implementation"] = p.implementation;
    j["ratio"] = p.ratio();
    j["difference"] = *p.difference;
  }
  return j;
}

ordered_json to_json(const Net& net) {
  ordered_json j{{"net", net.name}};
  if (!net.passes[0].theirs) return j;
  const NetSummary s = summarise(net);
  j["geometric_mean"] = s.geometric_mean, j["ratio_in_sum"] = s.theirs / s.ours;
  j["worst"] = s.worst, j["worst_pass"] = s.worst_pass;
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

constexpr const char* notes =
    "ms: medians of runs in turn. ratio: oneDNN's time over norma's, above 1 norma is\n"
    "the faster. oneDNN has its own choice of layouts and algorithm, tensors reordered\n"
    "outside the time; norma its layout, the same. dgrad: gradient of the input, which\n"
    "the first layer of a net has not; wgrad: of the weights and bias. %copy: bytes of\n"
    "the least number of passes over memory a second, of the better measured copy.\n";

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
      if (p.difference && *p.difference >= difference)
        difference = *p.difference, differing = fmt::format("{}/{} {}", p.shape->net, p.shape->name, p.pass);
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
    print_result(j.dump() + "\n");
  } else {
    std::string out = fmt::format("{}; {}\n  {}\n{}", roof.device, yardstick.present() ? yardstick.library() : "oneDNN: not installed",
                                  describe(roof), notes);
    for (const Net& net : nets) out += text(net, request.batch, roof);
    if (!differing.empty())
      out += fmt::format("\nlargest difference of the two results: {:.1e} of the largest value ({})\n", difference, differing);
    print_result(out);
  }
  if (!(difference <= allowed_difference))
    throw Error(ErrorKind::verification, fmt::format("norma and {} differ by {:.1e} of the largest value in {}, more than {:.0e}",
                                                     yardstick.library(), difference, differing, allowed_difference));
  return 0;
}

}  // namespace norma::app
