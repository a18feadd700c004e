// norma bench predict: inference of a recipe's net by a Predictor, for several numbers of samples at a time.
#include <fmt/format.h>

#include <chrono>

#include "apps/norma/bench/bench.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/system/log.h"
#include "apps/norma/system/terminal.h"
#include "norma/predictor.h"

namespace norma::app {
namespace {

using nlohmann::ordered_json;

constexpr const char* predict_notes =
    "One thread, initial weights, batch norms folded. us/call: median over all calls\n"
    "of all rounds; a round takes every number of samples once. min: the shortest.\n"
    "+-: distance of the quartiles.\n";

struct Calls {
  std::int64_t samples = 0;
  std::vector<double> seconds;
};

// Calls for `seconds`, five at least, after one that does not count.
template <class T>
void time_calls(const Predictor& predictor, const std::vector<T>& samples, Calls& calls, double seconds) {
  using Ticks = std::chrono::steady_clock;
  const std::span<const T> some = std::span(samples).first(static_cast<std::size_t>(calls.samples * predictor.input().elements()));
  std::vector<float> outputs(static_cast<std::size_t>(calls.samples * predictor.output().elements()));
  predictor.predict(some, outputs);
  const Ticks::time_point begin = Ticks::now();
  Ticks::time_point last = begin;
  for (int i = 0; i < 5 || std::chrono::duration<double>(last - begin).count() < seconds; ++i) {
    predictor.predict(some, outputs);
    const Ticks::time_point now = Ticks::now();
    calls.seconds.push_back(std::chrono::duration<double>(now - last).count());
    last = now;
  }
}

}  // namespace

int bench_predict(const PredictBenchRequest& request) {
  set_up_log(detect_terminal(fileno(stderr)), request.quiet);
  const Recipe recipe = parse_recipe(find_recipe(request.recipe), request.overrides);
  const Shape sample = sample_shape(recipe.data);
  const Module net = build_model(recipe.model);
  const TrainerOptions options = trainer_options(recipe, sample, Device::cpu());
  const Predictor predictor{net,
                            Trainer{net, options}.model(),
                            {.input = sample, .sample_type = options.sample_type, .transform = options.transform, .isa = request.isa}};
  std::vector<Calls> all;
  for (const std::int64_t n : request.samples) all.push_back({n, {}});
  std::int64_t most = 0;
  for (const Calls& c : all) most = std::max(most, c.samples);
  std::vector<std::uint8_t> bytes;
  for (std::int64_t i = 0; i < most * sample.elements(); ++i) bytes.push_back(static_cast<std::uint8_t>(i * 7919 % 251));
  std::vector<float> floats;
  for (const std::uint8_t b : bytes) floats.push_back(static_cast<float>(b) / 255);
  const bool of_bytes = options.sample_type.value_or(sample.rank() == 3 ? DType::u8 : DType::f32) == DType::u8;
  for (std::int64_t r = 0; r < request.rounds; ++r)
    for (Calls& c : all) {
      if (of_bytes) time_calls(predictor, bytes, c, request.seconds);
      else time_calls(predictor, floats, c, request.seconds);
    }

  const std::string isa = request.isa == "auto" ? cpu_isa_levels().at(0) : request.isa;
  if (request.json) {
    ordered_json rows = ordered_json::array();
    for (const Calls& c : all) {
      const Summary s = summarise(c.seconds);
      rows.push_back({{"samples", c.samples}, {"seconds", to_json(s)}, {"samples_per_second", static_cast<double>(c.samples) / s.median}});
    }
    print_result(json_document({{"recipe", recipe.name}, {"isa", isa}, {"calls", rows}}));
    return 0;
  }
  std::string out = fmt::format("{}: cpu ({})\n{}{:>8}{:>11}{:>11}{:>6}{:>12}{:>12}\n", recipe.name, isa, predict_notes, "samples",
                                "us/call", "min", "+-", "us/sample", "samples/s");
  for (const Calls& c : all) {
    const Summary s = summarise(c.seconds);
    const auto n = static_cast<double>(c.samples);
    out += fmt::format("{:>8}{:>11.1f}{:>11.1f}{:>5.0f}%{:>12.1f}{:>12.0f}\n", c.samples, s.median * 1e6, s.least * 1e6, 100 * s.spread(),
                       s.median * 1e6 / n, n / s.median);
  }
  print_result(out);
  return 0;
}

}  // namespace norma::app
