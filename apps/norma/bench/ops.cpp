// Measuring one operation: norma's passes by Executor::run_timed, oneDNN's by its module, in turn.
#include "apps/norma/bench/ops.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>

#include "norma/error.h"
#include "norma/instruments.h"
#include "norma/module_runner.h"

namespace norma::app {
namespace {

using Clock = std::chrono::steady_clock;

// Uniform in -1 .. 1, the same on every run.
std::vector<float> noise(std::int64_t n, std::uint32_t seed) {
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& v : values) {
    seed = seed * 1664525u + 1013904223u;
    v = static_cast<float>(static_cast<std::int32_t>(seed)) * 0x1p-31f;
  }
  return values;
}

// The pass that a Call works for. A Call that is not a backward one belongs to the forward pass.
std::string pass_of(const std::string& call, const BenchShape& s) {
  if (call.find("backward") == std::string::npos) return "forward";
  if (limited_by_memory(s)) return "backward";
  return call.find("weight") != std::string::npos ? "backward_weight" : "backward_input";
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, magnitude = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(static_cast<double>(a[i]) - b[i]);
    if (!std::isfinite(d)) return INFINITY;
    difference = std::max(difference, d);
    magnitude = std::max(magnitude, std::abs(static_cast<double>(b[i])));
  }
  return difference == 0 ? 0 : difference / magnitude;
}

struct Comparison {
  OpPass* pass;
  std::optional<OpPass::Theirs> OpPass::*result;
  Yardstick::Pass theirs;
  std::string value;  // of the runner, to compare with
  std::vector<double> seconds{};
};

NormaOnednnPass onednn_pass(const std::string& pass) {
  if (pass == "forward") return norma_onednn_forward;
  return pass == "backward_input" ? norma_onednn_backward_input : norma_onednn_backward_weight;
}

}  // namespace

bool limited_by_memory(const BenchShape& s) { return s.kind == BenchShape::Kind::max_pool; }

std::vector<OpPass> measure(const BenchShape& s, const OpsRequest& request, const Yardstick& yardstick) {
  const Shape input = input_of(s, request.batch);
  ModuleRunner runner(module_of(s), input, {.executor = {.threads = request.threads, .isa = request.isa}, .input_gradients = !s.first});
  std::vector<OpPass> passes;
  std::vector<std::size_t> pass_of_call;
  for (const PlanLine& line : describe(runner.plan())) {
    const std::string name = pass_of(line.call, s);
    std::size_t i = 0;
    while (i < passes.size() && passes[i].pass != name) ++i;
    if (i == passes.size()) passes.emplace_back().shape = &s, passes.back().pass = name;
    passes[i].flops += line.flops, passes[i].bytes += line.bytes;
    pass_of_call.push_back(i);
  }

  std::vector<Comparison> comparisons;
  {
    const std::vector<float> x = noise(input.elements(), 1), dy = noise(runner.shape("y").elements(), 2);
    runner.write("x", x);
    runner.write("dy", dy);
    if (yardstick.present() && !limited_by_memory(s)) {
      const bool convolution = s.kind == BenchShape::Kind::convolution;
      const std::string weight = convolution ? "conv.weight" : "fc.weight";
      const std::vector<float> w = runner.read(weight),
                               b = s.bias ? runner.read(convolution ? "conv.bias" : "fc.bias") : std::vector<float>{};
      NormaOnednnShape shape{.kind = convolution ? norma_onednn_convolution : norma_onednn_inner_product,
                             .n = input[0],
                             .c = s.c,
                             .h = s.h,
                             .w = s.w,
                             .filters = s.out,
                             .kernel = s.kernel,
                             .stride = s.stride,
                             .padding = s.padding,
                             .bias = s.bias,
                             .winograd = 0};
      const NormaOnednnData data{x.data(), w.data(), b.data(), dy.data()};
      for (OpPass& p : passes) {
        const std::string value = p.pass == "forward" ? "y" : p.pass == "backward_input" ? "dx" : weight + ".grad";
        shape.winograd = 0;
        comparisons.push_back({&p, &OpPass::direct, yardstick.pass(shape, onednn_pass(p.pass), request.threads, data), value});
        shape.winograd = 1;
        if (!convolution) continue;
        Yardstick::Pass preferred = yardstick.pass(shape, onednn_pass(p.pass), request.threads, data);
        if (preferred.implementation().find("wino") != std::string::npos)
          comparisons.push_back({&p, &OpPass::winograd, std::move(preferred), value});
      }
    }
  }

  std::function<double()> copy;
  std::vector<double> copies;
  if (limited_by_memory(s))
    copy = copy_probe(Device::cpu(), {.threads = request.threads, .isa = request.isa}, static_cast<std::size_t>(input.elements()) * 4);
  std::vector<std::vector<double>> ours(passes.size());
  const Clock::time_point begin = Clock::now();
  constexpr int least_rounds = 4, most_rounds = 400;  // the first of them does not count
  for (int round = 0; round < most_rounds; ++round) {
    if (round >= least_rounds && std::chrono::duration<double>(Clock::now() - begin).count() > request.seconds) break;
    std::vector<double> seconds(passes.size());
    const std::vector<double> calls = runner.step_timed();
    for (std::size_t c = 0; c < calls.size(); ++c) seconds[pass_of_call[c]] += calls[c];
    for (std::size_t i = 0; i < passes.size() && round > 0; ++i) ours[i].push_back(seconds[i]);
    if (copy)
      if (const double bandwidth = copy(); round > 0) copies.push_back(bandwidth);
    for (Comparison& c : comparisons) {
      const double theirs = c.theirs.run();
      if (round > 0) c.seconds.push_back(theirs);
    }
  }
  for (std::size_t i = 0; i < passes.size(); ++i) {
    OpPass& p = passes[i];
    std::vector<double> shares;
    for (std::size_t k = 0; k < copies.size(); ++k) shares.push_back(p.bytes / ours[i][k] / copies[k]);
    p.ours = summarise(std::move(ours[i])), p.copy = summarise(copies), p.share_of_copy = summarise(std::move(shares));
  }
  for (Comparison& c : comparisons) {
    const std::vector<float> mine = runner.read(c.value);
    c.pass->*c.result =
        OpPass::Theirs{summarise(std::move(c.seconds)), largest_difference(mine, c.theirs.read(mine.size())), c.theirs.implementation()};
  }
  return passes;
}

}  // namespace norma::app
