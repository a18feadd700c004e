// norma bench bn: the table of all shapes and layouts, and what a net's add up to.
#include <fmt/format.h>

#include <algorithm>

#include "apps/norma/bench/bn.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/system/choices.h"
#include "apps/norma/system/log.h"
#include "apps/norma/system/plugin.h"
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

ordered_json shape_json(const Shape& s) {
  ordered_json shape = ordered_json::array();
  for (const std::int64_t d : s) shape.push_back(d);
  return shape;
}

ordered_json to_json(const BnPass& p) {
  return {{"net", p.shape->net},
          {"name", p.shape->name},
          {"shape", shape_json(p.tensor)},
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

// One ratio to CUB over all of a net's layers in one layout.
struct CubRatio {
  double geometric_mean = 0, worst = 0;
  std::string worst_name;
};
struct NetStatistics {
  std::string net;
  BnLayout layout;
  CubRatio ratio, share_of_read, copy_ratio;
};

// Only of layers that CUB has figures of.
std::vector<NetStatistics> by_net(const std::vector<BnStatistics>& all) {
  std::vector<NetStatistics> nets;
  for (const BnStatistics& s : all) {
    if (!s.cub || std::ranges::any_of(nets, [&](const NetStatistics& n) { return n.net == s.shape->net && n.layout == s.layout; }))
      continue;
    const auto ratio_of = [&](Summary BnStatistics::Theirs::*member) {
      CubRatio r;
      std::vector<double> ratios;
      for (const BnStatistics& other : all) {
        if (!other.cub || other.layout != s.layout || std::string(other.shape->net) != s.shape->net) continue;
        ratios.push_back(((*other.cub).*member).median);
        if (ratios.size() == 1 || ratios.back() < r.worst) r.worst = ratios.back(), r.worst_name = other.shape->name;
      }
      r.geometric_mean = geometric_mean(ratios);
      return r;
    };
    using Theirs = BnStatistics::Theirs;
    nets.push_back({s.shape->net, s.layout, ratio_of(&Theirs::ratio), ratio_of(&Theirs::share_of_read), ratio_of(&Theirs::copy_ratio)});
  }
  return nets;
}

ordered_json to_json(const BnStatistics& s) {
  ordered_json j{{"net", s.shape->net},         {"name", s.shape->name}, {"shape", shape_json(s.tensor)},
                 {"layout", name_of(s.layout)}, {"bytes", s.bytes()},    {"seconds", app::to_json(s.seconds)}};
  if (!s.cub) return j;
  j["cub_seconds"] = app::to_json(s.cub->seconds);
  j["ratio"] = app::to_json(s.cub->ratio);
  j["cub_read_bytes_per_second"] = app::to_json(s.cub->read);
  j["share_of_read"] = app::to_json(s.cub->share_of_read);
  j["cub_copy_bytes_per_second"] = app::to_json(s.cub->copy);
  j["copy_ratio"] = app::to_json(s.cub->copy_ratio);
  return j;
}

ordered_json to_json(const CubRatio& r) { return {{"geometric_mean", r.geometric_mean}, {"worst", r.worst}, {"worst_name", r.worst_name}}; }

constexpr const char* statistics_notes =
    "us: norma's batch statistics alone. CUB us: by DeviceSegmentedReduce. ratio: the\n"
    "second over the first; above 1 norma is the faster. read, copy: GB/s of CUB's\n"
    "DeviceReduce, and of DeviceTransform, read and written. %read: GB/s of norma's\n"
    "statistics as a share of read. copies: norma's copy over DeviceTransform's.\n";

}  // namespace

std::string text(const std::vector<BnStatistics>& all, const std::string& library) {
  std::string out = fmt::format("\nbatch statistics alone; {}\n{}", library.empty() ? "CUB: not installed" : library, statistics_notes),
              net;
  for (const BnStatistics& s : all) {
    if (net != s.shape->net)
      out += fmt::format("\n{:<26}{:<7}{:>9}{:>9}{:>7}{:>8}{:>7}{:>7}\n", net = s.shape->net, "layout", "us", "CUB us", "ratio", "read",
                         "%read", "copy");
    out += fmt::format("{:<26}{:<7}{:>9.2f}", fit(fmt::format("{} {}", s.shape->name, dimensions(s.tensor)), 25), name_of(s.layout),
                       s.seconds.median * 1e6);
    if (!s.cub) out += "   not installed\n";
    else
      out += fmt::format("{:>9.2f}{:>7.2f}{:>8.1f}{:>7.1f}{:>7.0f}\n", s.cub->seconds.median * 1e6, s.cub->ratio.median,
                         s.cub->read.median / 1e9, 100 * s.cub->share_of_read.median, s.cub->copy.median / 1e9);
  }
  const std::vector<NetStatistics> nets = by_net(all);
  if (nets.empty()) return out;
  out += fmt::format("\n{:<16}{:<7}{:>8}{:>8} {:<16}{:>8}{:>8}{:>8}\n", "all of a net", "layout", "ratio", "worst", "", "%read", "worst",
                     "copies");
  for (const NetStatistics& n : nets)
    out += fmt::format("{:<16}{:<7}{:>8.2f}{:>8.2f} {:<16}{:>8.1f}{:>8.1f}{:>8.2f}\n", n.net, name_of(n.layout), n.ratio.geometric_mean,
                       n.ratio.worst, n.ratio.worst_name, 100 * n.share_of_read.geometric_mean, 100 * n.share_of_read.worst,
                       n.copy_ratio.geometric_mean);
  return out;
}

void add_json(ordered_json& json, const std::vector<BnStatistics>& all, const std::string& library) {
  json["cub"] = library.empty() ? ordered_json(nullptr) : ordered_json(library);
  json["statistics"] = json["statistics_nets"] = ordered_json::array();
  for (const BnStatistics& s : all) json["statistics"].push_back(to_json(s));
  for (const NetStatistics& n : by_net(all))
    json["statistics_nets"].push_back({{"net", n.net},
                                       {"layout", name_of(n.layout)},
                                       {"ratio", to_json(n.ratio)},
                                       {"share_of_read", to_json(n.share_of_read)},
                                       {"copy_ratio", to_json(n.copy_ratio)}});
}

int bench_bn(const BnRequest& request) {
  set_up_log(detect_terminal(fileno(stderr)), request.quiet);
  const std::string known[] = {"lanes", "nchw", "nhwc"};
  for (const std::string& l : request.layouts) choose("--layout", l, known);
  const Device device = bench_device(request.device, request.threads != 0, request.isa);
  const std::string description = make_executor(device, {.threads = request.threads, .isa = request.isa})->description();
  const std::size_t cache = cache_bytes(device);
  std::optional<Cub> cub;
  if (device.kind == Device::Kind::cuda) cub.emplace(program_folder());
  if (cub && !cub->present()) log_warning(cub->missing());
  std::vector<BnPass> passes;
  std::vector<BnStatistics> statistics;
  for (const BnShape& s : bn_shapes()) {
    const std::string name = std::string(s.net) + "/" + s.name;
    if (name.find(request.filter) == std::string::npos) continue;
    for (const BnLayout layout : layouts_of(device, shape_of(s, request.batch, cache))) {
      if (!request.layouts.empty() && std::find(request.layouts.begin(), request.layouts.end(), name_of(layout)) == request.layouts.end())
        continue;
      log_info(fmt::format("{} {}", name, name_of(layout)));
      BnFigures figures = measure(s, layout, device, request, cub ? &*cub : nullptr);
      for (BnPass& p : figures.passes) passes.push_back(std::move(p));
      if (figures.statistics) statistics.push_back(std::move(*figures.statistics));
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
    ordered_json all{{"device", description}, {"cache_bytes", cache}, {"batch", request.batch}, {"passes", rows}, {"nets", nets}};
    if (cub) add_json(all, statistics, cub->library());
    print_result(json_document(all));
    return 0;
  }
  print_result(fmt::format("batch norm: {}, cache {:.0f} MB\n{}{}{}", description, static_cast<double>(cache) / 1e6, bn_notes, text(passes),
                           cub ? text(statistics, cub->library()) : ""));
  return 0;
}

}  // namespace norma::app
