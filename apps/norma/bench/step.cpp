// norma bench step: a recipe's training step, evaluation and start-up, for every batch size and thread count.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "apps/norma/bench/bench.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/system/log.h"
#include "apps/norma/system/terminal.h"
#include "norma/error.h"
#include "norma/instruments.h"

namespace norma::app {
namespace {

using nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct Variant {
  std::int64_t batch = 0, threads = 1;  // threads 0: a GPU
  Recipe recipe;
  std::unique_ptr<Trainer> trainer;
  double start_up = 0, first_step = 0, second_step = 0, first_burst = 0;  // seconds
  double flops = 0, bytes = 0;                                            // flops: of the convolutions and linear layers
  std::vector<double> steps, evaluations;                                 // seconds
};

// Steps one by one on the CPU, on a GPU `steps` at a time, with nobody waiting in between, three times; then an evaluation. Each begins
// with one that does not count: it brings the variant's data back to where they are near, and wakes its threads.
void run_round(Variant& v, const DatasetPair& data, std::int64_t steps) {
  const bool one_by_one = v.threads > 0;
  const std::vector<double> seconds = one_by_one ? v.trainer->time_steps(data.train, 1, steps + 1)
                                                 : v.trainer->time_steps(data.train, std::min(steps, data.train.size() / v.batch), 4);
  if (v.steps.empty()) v.first_burst = seconds[0] * static_cast<double>(one_by_one ? 1 : std::min(steps, data.train.size() / v.batch));
  v.steps.insert(v.steps.end(), seconds.begin() + 1, seconds.end());
  v.evaluations.push_back(v.trainer->time_evaluations(data.test, 2).back());
}

const Roofline& roofline_of(const Variant& v, const std::vector<Roofline>& rooflines) {
  return *std::find_if(rooflines.begin(), rooflines.end(), [&](const Roofline& r) { return r.threads == v.threads; });
}

ordered_json to_json(const Variant& v, const Roofline& r) {
  const Summary step = summarise(v.steps), evaluation = summarise(v.evaluations);
  return {{"batch", v.batch},
          {"threads", v.threads},
          {"device", v.trainer->device_description()},
          {"step_seconds", to_json(step)},
          {"samples_per_second", static_cast<double>(v.batch) / step.median},
          {"flops", v.flops},
          {"bytes", v.bytes},
          {"flops_per_second", v.flops / step.median},
          {"share_of_peak", v.flops / step.median / r.flops_of(v.recipe.train.precision)},
          {"evaluation_seconds", to_json(evaluation)},
          {"start_up_seconds", v.start_up},
          {"first_step_seconds", v.first_step},
          {"second_step_seconds", v.second_step},
          {"first_burst_seconds", v.first_burst}};
}

constexpr const char* step_notes =
    "us/step: median over the steps of all rounds; a round takes every variant once.\n"
    "On a GPU: over bursts of steps, with one wait at the end of each burst.\n"
    "min: the shortest. +-: distance of the quartiles. %peak: operations of the\n"
    "convolutions and linear layers over the time of the whole step, as a share of\n"
    "the measured peak of as many threads. start: tracing, compiling, memory.\n";

}  // namespace

int bench_step(const BenchRequest& request) {
  set_up_log(detect_terminal(fileno(stderr)), request.quiet);
  Clock::time_point start = Clock::now();
  const Device device = bench_device(request.device, !request.threads.empty(), request.isa);
  const double device_seconds = since(start);
  const bool on_gpu = device.kind == Device::Kind::cuda;
  const std::int64_t steps = request.steps ? request.steps : on_gpu ? 200 : 50, rounds = request.rounds ? request.rounds : 7;
  const std::vector<std::int64_t> threads = thread_counts(request, device);
  const std::vector<std::int64_t> batches = request.batches.empty() ? std::vector<std::int64_t>{0} : request.batches;
  const Recipe first = variant(request, batches[0], threads[0]);
  start = Clock::now();
  const DatasetPair data = load_data(first.data);
  const double load_seconds = since(start);
  std::vector<Variant> variants;
  for (const std::int64_t b : batches)
    for (const std::int64_t t : threads) {
      Variant v;
      v.recipe = variant(request, b, t);
      v.batch = v.recipe.train.batch_size, v.threads = t;
      if (data.train.size() < v.batch)
        throw Error(ErrorKind::usage, fmt::format("--batch {}: {} has only {} samples", v.batch, data.train.name, data.train.size()));
      start = Clock::now();
      v.trainer = std::make_unique<Trainer>(build_model(v.recipe.model), trainer_options(v.recipe, data.train.sample, device));
      v.start_up = since(start);
      for (const PlanLine& line : describe(v.trainer->plan(Mode::train))) {
        if (line.call.starts_with("conv2d") || line.call.starts_with("linear")) v.flops += line.flops;
        v.bytes += line.bytes;
      }
      const std::vector<double> first_steps = v.trainer->time_steps(data.train, 1, 2);
      v.first_step = first_steps[0], v.second_step = first_steps[1];
      variants.push_back(std::move(v));
    }
  std::vector<Roofline> rooflines;
  for (const std::int64_t t : threads) rooflines.push_back(measure_roofline(device, {.threads = static_cast<int>(t), .isa = request.isa}));
  for (std::int64_t r = 0; r < rounds; ++r) {
    log_info(fmt::format("round {} of {}", r + 1, rounds));
    for (Variant& v : variants) run_round(v, data, steps);
  }

  if (request.json) {
    ordered_json all = ordered_json::array(), roofs = ordered_json::array();
    for (const Variant& v : variants) all.push_back(to_json(v, roofline_of(v, rooflines)));
    for (const Roofline& r : rooflines) roofs.push_back(app::to_json(r));
    print_result(json_document({{"recipe", first.name},
                                {"device_seconds", device_seconds},
                                {"data_seconds", load_seconds},
                                {"rooflines", roofs},
                                {"variants", all}}));
    return 0;
  }
  std::string out = fmt::format("{}: {}, {} training samples, {} test samples\n", first.name, variants[0].trainer->device_description(),
                                data.train.size(), data.test.size());
  for (const Roofline& r : rooflines) out += "  " + describe(r) + "\n";
  out += step_notes;
  out += fmt::format("{:>6}{:>4}{:>10}{:>9}{:>6}{:>11}{:>9}{:>7}{:>9}{:>9}\n", "batch", "thr", "us/step", "min", "+-", "samples/s",
                     "GFLOP/s", "%peak", "eval ms", "start ms");
  for (const Variant& v : variants) {
    const Summary step = summarise(v.steps), evaluation = summarise(v.evaluations);
    out +=
        fmt::format("{:>6}{:>4}{:>10.1f}{:>9.1f}{:>5.0f}%{:>11.0f}{:>9.1f}{:>7.1f}{:>9.1f}{:>9.1f}\n", v.batch, v.threads,
                    step.median * 1e6, step.least * 1e6, 100 * step.spread(), static_cast<double>(v.batch) / step.median,
                    v.flops / step.median / 1e9, 100 * v.flops / step.median / roofline_of(v, rooflines).flops_of(v.recipe.train.precision),
                    evaluation.median * 1e3, v.start_up * 1e3);
  }
  out += fmt::format("reading the data {:.0f} ms; {} rounds of {} steps\n", load_seconds * 1e3, rounds, steps);
  if (on_gpu) {
    out += fmt::format("waking the GPU {:.0f} ms\n", device_seconds * 1e3);
    for (const Variant& v : variants)
      out += fmt::format(
          "batch {}: first step, which loads the kernels, {:.1f} ms; second, which captures,\n  {:.1f} ms; first burst, which captures "
          "many steps, {:.1f} ms\n",
          v.batch, v.first_step * 1e3, v.second_step * 1e3, v.first_burst * 1e3);
  }
  print_result(out);
  return 0;
}

}  // namespace norma::app
