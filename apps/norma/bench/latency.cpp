// norma bench latency: what a launch and a barrier cost at least on this GPU.
#include <fmt/format.h>

#include "apps/norma/bench/bench.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/system/log.h"
#include "apps/norma/system/terminal.h"
#include "norma/instruments.h"

namespace norma::app {
namespace {

using nlohmann::ordered_json;

constexpr const char* latency_notes =
    "us each, medians of rounds: the time of 220 less that of 20, divided by 200.\n"
    "Kernels of 128 threads a block that do nothing, one after the other: nodes of a\n"
    "graph, or launched to a stream. Barriers: threads that wait within a kernel.\n";

}  // namespace

int bench_latency(const LatencyRequest& request) {
  set_up_log(detect_terminal(fileno(stderr)), request.quiet);
  const Device device = bench_device(request.device, false, "auto");
  const std::vector<Latency> figures = measure_latencies(device, request.rounds);
  const std::string description = make_executor(device)->description();
  if (request.json) {
    ordered_json rows = ordered_json::array();
    for (const Latency& f : figures) {
      ordered_json row{{"what", f.what}, {"blocks", f.blocks}};
      if (f.missing.empty()) row["seconds"] = to_json(summarise(f.seconds));
      else row["seconds"] = nullptr, row["missing"] = f.missing;
      rows.push_back(row);
    }
    print_result(json_document({{"device", description}, {"latencies", rows}}));
    return 0;
  }
  std::string out = fmt::format("{}\n{}{:<34}{:>7}{:>9}{:>9}{:>7}\n", description, latency_notes, "", "blocks", "us", "least", "+-");
  for (const Latency& f : figures) {
    const Summary s = summarise(f.seconds);
    out += f.missing.empty()
               ? fmt::format("{:<34}{:>7}{:>9.3f}{:>9.3f}{:>6.0f}%\n", f.what, f.blocks, s.median * 1e6, s.least * 1e6, 100 * s.spread())
               : fmt::format("{:<34}{:>7}  {}\n", f.what, f.blocks, f.missing);
  }
  print_result(out);
  return 0;
}

}  // namespace norma::app
