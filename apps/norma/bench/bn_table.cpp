// norma bench bn: the table of all shapes and layouts, and what a net's add up to.
#include <fmt/format.h>

#include <algorithm>

#include "apps/norma/bench/bn.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/system/choices.h"
#include "apps/norma/system/log.h"
#include "apps/norma/system/terminal.h"
#include "norma/error.h"
#include "norma/instruments.h"

namespace norma::app {
namespace {

using nlohmann::ordered_json;

std::string dimensions(const Shape& s) {
  std::string text;
  for (const std::int64_t d : s) text += fmt::format("{}{}", text.empty() ? "" : "x", d);
  return text;
}

// One pass of all of a net's layers in one layout.
struct NetPass {
  std::string net, pass;
  BnLayout layout;
  double seconds = 0;  // as often as each is in the net
  double geometric_mean = 0, worst = 0;
  std::string worst_name;
};

std::vector<NetPass> by_net(const std::vector<BnPass>& all) {
  std::vector<NetPass> nets;
  std::vector<std::vector<double>> shares;
  for (const BnPass& p : all) {
    std::size_t i = 0;
    while (i < nets.size() && !(nets[i].net == p.shape->net && nets[i].pass == p.pass && nets[i].layout == p.layout)) ++i;
    if (i == nets.size()) nets.push_back({p.shape->net, p.pass, p.layout, 0, 0, 0, ""}), shares.emplace_back();
    NetPass& n = nets[i];
    n.seconds += p.seconds.median * static_cast<double>(p.shape->count);
    shares[i].push_back(p.share_of_copy.median);
    if (n.worst_name.empty() || p.share_of_copy.median < n.worst) n.worst = p.share_of_copy.median, n.worst_name = p.shape->name;
  }
  for (std::size_t i = 0; i < nets.size(); ++i) nets[i].geometric_mean = geometric_mean(shares[i]);
  return nets;
}

ordered_json to_json(const BnPass& p) {
  ordered_json shape = ordered_json::array();
  for (const std::int64_t d : p.tensor) shape.push_back(d);
  return {{"net", p.shape->net},
          {"name", p.shape->name},
          {"shape", shape},
          {"layout", name_of(p.layout)},
          {"pass", p.pass},
          {"count", p.shape->count},
          {"copies", p.copies},
          {"tensors", p.tensors},
          {"bytes", p.bytes()},
          {"seconds", app::to_json(p.seconds)},
          {"bytes_per_second", p.bytes() / p.seconds.median},
          {"copy_bytes_per_second", app::to_json(p.copy)},
          {"share_of_copy", app::to_json(p.share_of_copy)}};
}

ordered_json to_json(const NetPass& n) {
  return {{"net", n.net},
          {"layout", name_of(n.layout)},
          {"pass", n.pass},
          {"seconds_in_sum", n.seconds},
          {"share_of_copy", {{"geometric_mean", n.geometric_mean}, {"worst", n.worst}, {"worst_name", n.worst_name}}}};
}

constexpr const char* bn_notes =
    "us: median of rounds, alternating with a copy of the same tensors. +-: distance\n"
    "of the quartiles. Sets of tensors rotate, together twice the cache: a set has\n"
    "left the cache when its turn comes. %copy: GB/s as a share of the copy's. GB/s\n"
    "counts x, y forward and x, dy, dx backward (tensors 2, 3). If the cache cannot\n"
    "hold the input of the sums over the batch, it is read twice (3, 5).\n";

std::string text(const std::vector<BnPass>& passes) {
  std::string out, net;
  for (const BnPass& p : passes) {
    if (net != p.shape->net)
      out += fmt::format("\n{:<26}{:<7}{:<4}{:>2}{:>11}{:>6}{:>9}{:>8}{:>7}\n", net = p.shape->net, "layout", "", "", "us", "+-", "GB/s",
                         "copy", "%copy");
    out += fmt::format("{:<26}{:<7}{:<4}{:>2}{:>11.2f}{:>5.0f}%{:>9.1f}{:>8.1f}{:>7.1f}\n",
                       fit(fmt::format("{} {}", p.shape->name, dimensions(p.tensor)), 25), name_of(p.layout),
                       p.pass == "forward" ? "fwd" : "bwd", p.tensors, p.seconds.median * 1e6, 100 * p.seconds.spread(),
                       p.bytes() / p.seconds.median / 1e9, p.copy.median / 1e9, 100 * p.share_of_copy.median);
  }
  out += fmt::format("\n{:<16}{:<7}{:<9}{:>14}{:>10}{:>8}\n", "all of a net", "layout", "", "us in sum", "%copy", "worst");
  for (const NetPass& n : by_net(passes))
    out += fmt::format("{:<16}{:<7}{:<9}{:>14.1f}{:>10.1f}{:>8.1f} {}\n", n.net, name_of(n.layout), n.pass, n.seconds * 1e6,
                       100 * n.geometric_mean, 100 * n.worst, n.worst_name);
  return out;
}

}  // namespace

int bench_bn(const BnRequest& request) {
  set_up_log(detect_terminal(fileno(stderr)), request.quiet);
  const std::string known[] = {"lanes", "nchw", "nhwc"};
  for (const std::string& l : request.layouts) choose("--layout", l, known);
  const Device device = bench_device(request.device, request.threads != 0, request.isa);
  const std::string description = make_executor(device, {.threads = request.threads, .isa = request.isa})->description();
  const std::size_t cache = cache_bytes(device);
  std::vector<BnPass> passes;
  for (const BnShape& s : bn_shapes()) {
    const std::string name = std::string(s.net) + "/" + s.name;
    if (name.find(request.filter) == std::string::npos) continue;
    for (const BnLayout layout : layouts_of(device, shape_of(s, request.batch, cache))) {
      if (!request.layouts.empty() && std::find(request.layouts.begin(), request.layouts.end(), name_of(layout)) == request.layouts.end())
        continue;
      log_info(fmt::format("{} {}", name, name_of(layout)));
      for (BnPass& p : measure(s, layout, device, request)) passes.push_back(std::move(p));
    }
  }
  if (passes.empty()) {
    std::string names;
    for (const BnShape& s : bn_shapes()) names += fmt::format("{}{}/{}", names.empty() ? "" : ", ", s.net, s.name);
    throw Error(ErrorKind::usage, fmt::format("no batch norm has \"{}\" in its name and {} of {}; there are {}", request.filter,
                                              request.layouts.empty() ? "a layout" : "one of these layouts", to_string(device), names));
  }
  if (request.json) {
    ordered_json rows = ordered_json::array(), nets = ordered_json::array();
    for (const BnPass& p : passes) rows.push_back(to_json(p));
    for (const NetPass& n : by_net(passes)) nets.push_back(to_json(n));
    print_result(json_text({{"device", description}, {"cache_bytes", cache}, {"batch", request.batch}, {"passes", rows}, {"nets", nets}}) +
                 "\n");
    return 0;
  }
  print_result(fmt::format("batch norm: {}, cache {:.0f} MB\n{}{}", description, static_cast<double>(cache) / 1e6, bn_notes, text(passes)));
  return 0;
}

}  // namespace norma::app
