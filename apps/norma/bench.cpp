// norma bench: the flags of its subcommands, and what they share.
#include "apps/norma/bench.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>

#include "apps/norma/bench_bn.h"
#include "apps/norma/bench_export.h"
#include "apps/norma/bench_ops.h"
#include "apps/norma/commands.h"
#include "apps/norma/environment.h"
#include "apps/norma/log.h"
#include "apps/norma/recipe_flags.h"
#include "norma/error.h"

namespace norma::app {

namespace {

// Of sorted values, between neighbours in proportion.
double quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

Summary summarise(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  return {quantile(values, 0.5), values.front(), quantile(values, 0.25), quantile(values, 0.75), static_cast<std::int64_t>(values.size())};
}

double geometric_mean(std::span<const double> values) {
  double sum = 0;
  for (const double v : values) sum += std::log(v);
  return values.empty() ? 0 : std::exp(sum / static_cast<double>(values.size()));
}

Device bench_device(const std::string& device, bool has_threads, const std::string& isa) {
  const bool automatic = device == "auto", of_cpu = has_threads || isa != "auto";
  const char* const flag = has_threads ? "--threads" : "--isa";
  const Device chosen = automatic && of_cpu ? Device::cpu() : Device::parse(device);
  if (chosen.kind == Device::Kind::cuda && of_cpu)
    throw Error(ErrorKind::usage, fmt::format("{} is for the CPU, and --device {} is a GPU", flag, device));
  (void)make_executor(chosen, {.isa = isa});
  const std::string why = of_cpu ? std::string(flag) + " is for the CPU" : best_device_reason();
  log_info(fmt::format("device: {}{}", to_string(chosen), automatic ? " (auto: " + why + ")" : ""));
  return chosen;
}

Recipe variant(const BenchRequest& request, std::int64_t batch, std::int64_t threads) {
  std::vector<Override> overrides = request.overrides;
  for (const Override& o : overrides)
    for (const auto& [key, flag] :
         {std::pair{"train.batch_size", "--batch"}, {"device.threads", "--threads"}, {"device.isa", "--isa"}, {"device.kind", "--device"}})
      if (o.key == key) throw Error(ErrorKind::usage, fmt::format("{}: norma bench takes it from {}", o.flag, flag));
  if (batch > 0) overrides.push_back({"train.batch_size", std::to_string(batch), "--batch"});
  overrides.push_back({"device.threads", std::to_string(threads), "--threads"});
  overrides.push_back({"device.isa", '"' + request.isa + '"', "--isa"});
  overrides.push_back({"device.kind", '"' + request.device + '"', "--device"});  // checked by bench_device
  return parse_recipe(find_recipe(request.recipe), overrides);
}

std::vector<std::int64_t> thread_counts(const BenchRequest& request, const Device& device) {
  if (device.kind == Device::Kind::cuda) return {0};
  if (!request.threads.empty()) return request.threads;
  const std::int64_t cores = this_environment().cores;
  return cores > 1 ? std::vector<std::int64_t>{1, cores} : std::vector<std::int64_t>{1};
}

nlohmann::ordered_json to_json(const Summary& s) {
  return {{"median", s.median}, {"least", s.least}, {"lower_quartile", s.lower}, {"upper_quartile", s.upper}, {"count", s.count}};
}

nlohmann::ordered_json to_json(const Roofline& r) {
  return {{"device", r.device},
          {"threads", r.threads},
          {"flops_per_second", r.flops},
          {"tf32_flops_per_second", r.tf32_flops},
          {"bf16_flops_per_second", r.bf16_flops},
          {"copy_bytes_per_second", r.copy},
          {"streaming_copy_bytes_per_second", r.copy_streaming},
          {"read_bytes_per_second", r.read},
          {"array_bytes", r.array_bytes}};
}

std::string describe(const Roofline& r) {
  if (r.threads == 0)
    return fmt::format("GPU: {:.1f} TFLOP/s{}; GB/s: copy {:.0f}, streaming {:.0f}, read {:.0f}", r.flops / 1e12,
                       r.tf32_flops > 0 ? fmt::format(" (tf32 {:.0f}, bf16 {:.0f})", r.tf32_flops / 1e12, r.bf16_flops / 1e12) : "",
                       r.copy / 1e9, r.copy_streaming / 1e9, r.read / 1e9);
  return fmt::format("{} thread{}: {:.1f} GFLOP/s; memory GB/s: copy {:.1f}, streaming {:.1f}, read {:.1f}", r.threads,
                     r.threads == 1 ? "" : "s", r.flops / 1e9, r.copy / 1e9, r.copy_streaming / 1e9, r.read / 1e9);
}

std::string fit(const std::string& text, std::size_t width) {
  return text.size() <= width ? text : "~" + text.substr(text.size() - width + 1);
}

Command add_bench(CLI::App& norma) {
  auto request = std::make_shared<BenchRequest>();
  CLI::App& app = *norma.add_subcommand("bench", "Measure: a step, its kernel calls, epochs, batch norm, single operations, launches");
  app.require_subcommand(1);
  CLI::App& step = *app.add_subcommand("step", "A recipe's training step and evaluation, for several threads and batch sizes");
  CLI::App& calls = *app.add_subcommand("calls", "Each kernel call of a step: time, GB/s, GFLOP/s, share of the roofline");
  for (CLI::App* sub : {&step, &calls}) {
    sub->add_option("recipe", request->recipe, "A recipe's name, or the path of a TOML file")->default_val("mnist-lenet-bn");
    add_recipe_flags(*sub, FlagScope::bench, request->overrides);
  }
  const auto lists = [&](CLI::App* sub) {
    sub->add_option("--threads", request->threads, "Thread counts of the CPU, such as 1,2; default: 1 and every core")
        ->type_name("LIST")
        ->delimiter(',')
        ->check(CLI::Range(1, 4096));
    sub->add_option("--batch", request->batches, "Batch sizes, such as 64,256,1024; default: the recipe's")
        ->type_name("LIST")
        ->delimiter(',')
        ->check(CLI::Range(1, 1 << 24));
    sub->add_option("--isa", request->isa, "auto, or a level that norma doctor lists")->type_name("NAME");
    sub->add_option("--device", request->device, "auto, cpu, cuda or cuda:N")->type_name("NAME")->capture_default_str();
    sub->add_flag("--json", request->json, "One JSON object on stdout");
    sub->add_flag("--quiet", request->quiet, "No log on stderr; warnings stay");
  };
  lists(&step), lists(&calls);
  const CLI::Range positive(1, 1'000'000);
  step.add_option("--steps", request->steps, "Steps of each variant in a round; default 50. On a GPU: at a time; default 200")
      ->type_name("N")
      ->check(positive);
  step.add_option("--rounds", request->rounds, "Rounds over all variants; default 7")->type_name("N")->check(positive);
  calls.add_option("--steps", request->steps, "Timed steps; default 200")->type_name("N")->check(positive);
  calls.add_flag("--eval", request->eval, "The evaluation's calls instead of the training step's");

  auto epoch = std::make_shared<EpochRequest>();
  CLI::App& epoch_app = *app.add_subcommand("epoch", "A recipe's whole epochs, with evaluation, and whole runs of norma train");
  epoch_app.add_option("recipe", epoch->recipe, "A recipe's name, or the path of a TOML file")->default_val("mnist-lenet-bn");
  epoch_app.add_option("--runs", epoch->runs, "Runs in processes of their own, which save as any run does")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000));
  epoch_app.add_flag("--json", epoch->json, "One JSON object on stdout");
  epoch_app.add_flag("--quiet", epoch->quiet, "No log on stderr; warnings stay");
  add_recipe_flags(epoch_app, FlagScope::all, epoch->overrides);

  auto bn = std::make_shared<BnRequest>();
  CLI::App& bn_app = *app.add_subcommand("bn", "Batch norm by itself, forward and backward, in turn with a copy");
  bn_app.add_option("filter", bn->filter, "Only those with this in their name, such as lenet or resnet50/layer2");
  bn_app.add_option("--device", bn->device, "auto, cpu, cuda or cuda:N")->type_name("NAME")->capture_default_str();
  bn_app.add_option("--layout", bn->layouts, "lanes, and on a GPU nchw, nhwc; default: all")->type_name("LIST")->delimiter(',');
  bn_app.add_option("--batch", bn->batch, "Samples, of ResNet-50's")->type_name("N")->capture_default_str()->check(CLI::Range(2, 4096));
  bn_app.add_option("--threads", bn->threads, "Of the CPU; default: every core")->type_name("N")->check(CLI::Range(1, 4096));
  bn_app.add_option("--isa", bn->isa, "auto, or a level that norma doctor lists")->type_name("NAME");
  bn_app.add_option("--seconds", bn->seconds, "For each shape and layout; at least 5 rounds are timed")
      ->type_name("X")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 3600.0));

  auto latency = std::make_shared<LatencyRequest>();
  CLI::App& latency_app = *app.add_subcommand("latency", "What a launch and a barrier cost at least on a GPU");
  latency_app.add_option("--device", latency->device, "cuda or cuda:N")->type_name("NAME")->capture_default_str();
  latency_app.add_option("--rounds", latency->rounds, "Times each is measured")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000));
  const auto output = [](CLI::App& sub, bool& json, bool& quiet) {
    sub.add_flag("--json", json, "One JSON object on stdout");
    sub.add_flag("--quiet", quiet, "No log on stderr; warnings stay");
  };
  output(bn_app, bn->json, bn->quiet), output(latency_app, latency->json, latency->quiet);

  auto ops = std::make_shared<OpsRequest>();
  CLI::App& ops_app = *app.add_subcommand("ops", "Layers of LeNet, ResNet-18 and VGG-16 one by one, in turn with oneDNN's");
  ops_app.add_option("filter", ops->filter, "Only those with this in their name, such as lenet or resnet18/layer2");
  ops_app.add_option("--batch", ops->batch, "Samples, but of LeNet's layers (256) and of those that memory limits (64)")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  ops_app.add_option("--threads", ops->threads, "For both libraries; default: every core")->type_name("N")->check(CLI::Range(1, 4096));
  ops_app.add_option("--isa", ops->isa, "auto, or a level that norma doctor lists; of norma alone")->type_name("NAME");
  ops_app.add_option("--seconds", ops->seconds, "For each operation; at least 3 runs are timed")
      ->type_name("X")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 3600.0));
  ops_app.add_flag("--json", ops->json, "One JSON object on stdout");
  ops_app.add_flag("--quiet", ops->quiet, "No log on stderr; warnings stay");

  auto exported = std::make_shared<ExportRequest>();
  CLI::App& export_app = *app.add_subcommand("export", "A recipe's initial weights and order of samples, for other programs to start from");
  export_app.add_option("folder", exported->folder, "Gets weights.safetensors and order.safetensors")->required();
  export_app.add_option("recipe", exported->recipe, "A recipe's name, or the path of a TOML file")->required();
  export_app.add_flag("--quiet", exported->quiet, "No log on stderr; warnings stay");
  add_recipe_flags(export_app, FlagScope::all, exported->overrides);

  return {&app, [=, &step, &calls, &epoch_app, &bn_app, &latency_app, &ops_app] {
            if (step.parsed()) return bench_step(*request);
            if (calls.parsed()) return bench_calls(*request);
            if (epoch_app.parsed()) return bench_epoch(*epoch);
            if (bn_app.parsed()) return bench_bn(*bn);
            if (latency_app.parsed()) return bench_latency(*latency);
            return ops_app.parsed() ? bench_ops(*ops) : bench_export(*exported);
          }};
}

}  // namespace norma::app
