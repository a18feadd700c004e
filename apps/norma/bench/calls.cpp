// norma bench calls: where a step's time goes, Call by Call, against what the machine does at best.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "apps/norma/bench/bench.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/system/log.h"
#include "apps/norma/system/terminal.h"
#include "norma/error.h"
#include "norma/instruments.h"

namespace norma::app {
namespace {

using nlohmann::ordered_json;

struct CallRow {
  std::string path, call, detail;
  double bytes = 0, flops = 0, seconds = 0;
  std::int64_t count = 1;
  Precision precision = Precision::fp32;
};

struct Table {
  std::int64_t batch = 0;
  Roofline roofline;
  std::vector<CallRow> calls, groups;  // in the Plan's order; by Call, longest first
  Summary step;                        // of the whole step, with what measures the Calls
  Summary replayed;                    // on a GPU: of a step as it runs, without
  double sum = 0;                      // of the Calls
};

std::vector<CallRow> by_call(const std::vector<CallRow>& calls) {
  std::map<std::string, CallRow> groups;
  for (const CallRow& r : calls) {
    CallRow& g = groups.try_emplace(r.call, CallRow{"", r.call, "", 0, 0, 0, 0, r.precision}).first->second;
    g.bytes += r.bytes, g.flops += r.flops, g.seconds += r.seconds, g.count += r.count;
  }
  std::vector<CallRow> sorted;
  for (auto& [name, g] : groups) sorted.push_back(std::move(g));
  std::stable_sort(sorted.begin(), sorted.end(), [](const CallRow& a, const CallRow& b) { return a.seconds > b.seconds; });
  return sorted;
}

Table measure(const Recipe& recipe, const BenchRequest& request, const Device& device, const Dataset& data) {
  const Mode mode = request.eval ? Mode::eval : Mode::train;
  Trainer trainer(build_model(recipe.model), trainer_options(recipe, data.sample, device));
  Table t;
  t.batch = recipe.train.batch_size;
  t.roofline = measure_roofline(device, executor_options(recipe.device));
  constexpr std::int64_t warm_up = 5;
  const std::vector<TimedStep> steps = trainer.time_calls(mode, data, warm_up + (request.steps ? request.steps : 200));
  const std::vector<PlanLine> lines = describe(trainer.plan(mode));
  std::vector<double> whole;
  for (std::size_t s = warm_up; s < steps.size(); ++s) whole.push_back(steps[s].seconds);
  t.step = summarise(whole);
  if (device.kind == Device::Kind::cuda && mode == Mode::train) {
    const std::int64_t at_a_time = std::min<std::int64_t>(data.size() / t.batch, 200);
    (void)trainer.time_steps(data, 1, 2);
    t.replayed = summarise(trainer.time_steps(data, at_a_time, 11));
  }
  for (std::size_t c = 0; c < lines.size(); ++c) {
    std::vector<double> seconds;
    for (std::size_t s = warm_up; s < steps.size(); ++s) seconds.push_back(steps[s].calls.at(c));
    const PlanLine& l = lines[c];
    t.calls.push_back({l.path, l.call, l.detail, l.bytes, l.flops, summarise(seconds).median, 1, l.precision});
    t.sum += t.calls.back().seconds;
  }
  t.groups = by_call(t.calls);
  return t;
}

double roof_share(const CallRow& r, const Roofline& roof) {
  return r.seconds > 0 ? roof.least_seconds(r.bytes, r.flops, r.precision) / r.seconds : 0;
}

ordered_json to_json(const CallRow& r, const Roofline& roof) {
  ordered_json j;
  if (!r.path.empty()) j["path"] = r.path;
  j["call"] = r.call;
  if (!r.detail.empty()) j["detail"] = r.detail;
  j["count"] = r.count, j["seconds"] = r.seconds, j["bytes"] = r.bytes, j["flops"] = r.flops;
  j["share_of_roofline"] = roof_share(r, roof);
  return j;
}

ordered_json to_json(const Table& t) {
  ordered_json calls = ordered_json::array(), groups = ordered_json::array();
  for (const CallRow& r : t.calls) calls.push_back(to_json(r, t.roofline));
  for (const CallRow& r : t.groups) groups.push_back(to_json(r, t.roofline));
  ordered_json j{{"batch", t.batch}, {"threads", t.roofline.threads}, {"roofline", app::to_json(t.roofline)}, {"calls", calls},
                 {"groups", groups}, {"calls_seconds", t.sum},        {"step_seconds", app::to_json(t.step)}};
  if (t.replayed.count > 0) j["replayed_step_seconds"] = app::to_json(t.replayed);
  return j;
}

std::string row(const std::string& path, const std::string& call, const CallRow& r, const Table& t) {
  const double s = std::max(r.seconds, 1e-12);
  return fmt::format("{:<16}{:<28}{:>9.1f}{:>6.1f}{:>7.1f}{:>8.1f}{:>6.0f}\n", fit(path, 15), fit(call, 27), r.seconds * 1e6,
                     100 * r.seconds / t.sum, r.bytes / s / 1e9, r.flops / s / 1e9, 100 * roof_share(r, t.roofline));
}

std::string header(const char* a, const char* b) {
  return fmt::format("{:<16}{:<28}{:>9}{:>6}{:>7}{:>8}{:>6}\n", a, b, "us", "%", "GB/s", "GFLOP/s", "%roof");
}

constexpr const char* calls_notes =
    "us: median over the steps. %: share of the sum of all calls. %roof: the least\n"
    "time to move a call's bytes (at the faster copy) or to do its operations, as a\n"
    "share of the time taken. Data that stays in cache can exceed 100 %.\n";

std::string text(const Table& t) {
  std::string out = fmt::format("batch {}\n  {}\n", t.batch, describe(t.roofline));
  out += header("module", "call");
  CallRow sum{"", "", "", 0, 0, t.sum, 1};
  for (const CallRow& r : t.calls) {
    out += row(r.path, r.call, r, t);
    sum.bytes += r.bytes, sum.flops += r.flops;
  }
  out += row("sum", fmt::format("{} calls", t.calls.size()), sum, t);
  out += fmt::format("step: median {:.1f} us, least {:.1f}, quartiles {:.0f} % apart; outside calls {:.1f}\n", t.step.median * 1e6,
                     t.step.least * 1e6, 100 * t.step.spread(), (t.step.median - t.sum) * 1e6);
  if (t.replayed.count > 0)
    out += fmt::format("step as it runs, replayed without events between the calls: {:.1f} us\n", t.replayed.median * 1e6);
  out += "\n";
  out += header("calls", "kind");
  for (const CallRow& g : t.groups) out += row(std::to_string(g.count), g.call, g, t);
  return out;
}

}  // namespace

int bench_calls(const BenchRequest& request) {
  set_up_log(detect_terminal(fileno(stderr)), request.quiet);
  const std::vector<std::int64_t> batches = request.batches.empty() ? std::vector<std::int64_t>{0} : request.batches;
  const Device device = bench_device(request.device, !request.threads.empty(), request.isa);
  const std::vector<std::int64_t> threads = thread_counts(request, device);
  const Recipe first = variant(request, batches[0], threads[0]);
  const DatasetPair data = load_data(first.data);
  const Dataset& split = request.eval ? data.test : data.train;
  std::vector<Table> tables;
  for (const std::int64_t b : batches)
    for (const std::int64_t t : threads) {
      log_info(fmt::format("batch {}{}", b ? b : first.train.batch_size, t ? fmt::format(", threads {}", t) : ""));
      tables.push_back(measure(variant(request, b, t), request, device, split));
    }
  if (request.json) {
    ordered_json all = ordered_json::array();
    for (const Table& t : tables) all.push_back(to_json(t));
    print_result(json_document({{"recipe", first.name}, {"mode", request.eval ? "eval" : "train"}, {"tables", all}}));
    return 0;
  }
  std::string out =
      fmt::format("{}, {}, {}\n{}", first.name, request.eval ? "evaluation" : "training", tables[0].roofline.device, calls_notes);
  for (const Table& t : tables) out += "\n" + text(t);
  print_result(out);
  return 0;
}

}  // namespace norma::app
