// norma bench: the flags of its subcommands.
#include "apps/norma/bench/bench.h"

#include <CLI/CLI.hpp>

#include "apps/norma/bench/bn.h"
#include "apps/norma/bench/ops.h"
#include "apps/norma/commands.h"
#include "apps/norma/recipe/flags.h"

namespace norma::app {

Command add_bench(CLI::App& norma) {
  auto request = std::make_shared<BenchRequest>();
  CLI::App& app =
      *norma.add_subcommand("bench", "Measure: a step, its kernel calls, epochs, inference, batch norm, single operations, launches");
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
    sub->add_flag("--quiet", request->quiet, "Show only warnings");
  };
  lists(&step), lists(&calls);
  const CLI::Range positive(1, 1'000'000);
  step.add_option("--steps", request->steps, "Steps of each variant in a round; default 50. On a GPU: steps in a burst; default 200")
      ->type_name("N")
      ->check(positive);
  step.add_option("--rounds", request->rounds, "Rounds over all variants; default 7")->type_name("N")->check(positive);
  calls.add_option("--steps", request->steps, "Timed steps; default 200")->type_name("N")->check(positive);
  calls.add_flag("--eval", request->eval, "Measure the evaluation's calls instead of the training step's");

  auto epoch = std::make_shared<EpochRequest>();
  CLI::App& epoch_app = *app.add_subcommand("epoch", "A recipe's whole epochs, with evaluation, and whole runs of norma train");
  epoch_app.add_option("recipe", epoch->recipe, "A recipe's name, or the path of a TOML file")->default_val("mnist-lenet-bn");
  epoch_app.add_option("--runs", epoch->runs, "Whole runs to time, each in a new process")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000));
  epoch_app.add_flag("--json", epoch->json, "One JSON object on stdout");
  epoch_app.add_flag("--quiet", epoch->quiet, "Show only warnings");
  add_recipe_flags(epoch_app, FlagScope::all, epoch->overrides);

  auto bn = std::make_shared<BnRequest>();
  CLI::App& bn_app = *app.add_subcommand("bn", "Batch norm by itself, compared with a copy; on a GPU also its statistics with CUB's");
  bn_app.add_option("filter", bn->filter, "Measure only shapes with this text in their name, such as lenet or resnet50/layer2");
  bn_app.add_option("--device", bn->device, "auto, cpu, cuda or cuda:N")->type_name("NAME")->capture_default_str();
  bn_app.add_option("--layout", bn->layouts, "Memory layouts: lanes, and on a GPU nchw, nhwc; default: all")
      ->type_name("LIST")
      ->delimiter(',');
  bn_app.add_option("--batch", bn->batch, "Batch size of ResNet-50's shapes")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(2, 4096));
  bn_app.add_option("--threads", bn->threads, "CPU threads; default: every core")->type_name("N")->check(CLI::Range(1, 4096));
  bn_app.add_option("--isa", bn->isa, "auto, or a level that norma doctor lists")->type_name("NAME");
  bn_app.add_option("--seconds", bn->seconds, "Time for each shape and layout; at least 5 rounds are timed")
      ->type_name("X")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 3600.0));

  auto latency = std::make_shared<LatencyRequest>();
  CLI::App& latency_app = *app.add_subcommand("latency", "Least cost of a launch and of a barrier on a GPU");
  latency_app.add_option("--device", latency->device, "cuda or cuda:N")->type_name("NAME")->capture_default_str();
  latency_app.add_option("--rounds", latency->rounds, "Number of measurements of each")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000));
  const auto output = [](CLI::App& sub, bool& json, bool& quiet) {
    sub.add_flag("--json", json, "One JSON object on stdout");
    sub.add_flag("--quiet", quiet, "Show only warnings");
  };
  output(bn_app, bn->json, bn->quiet), output(latency_app, latency->json, latency->quiet);

  auto ops = std::make_shared<OpsRequest>();
  CLI::App& ops_app = *app.add_subcommand("ops", "Single layers of LeNet, ResNet-18 and VGG-16, compared with oneDNN's");
  ops_app.add_option("filter", ops->filter, "Measure only layers with this text in their name, such as lenet or resnet18/layer2");
  ops_app.add_option("--batch", ops->batch, "Batch size. LeNet layers always use 256, memory-bound layers 64")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  ops_app.add_option("--threads", ops->threads, "CPU threads of both libraries; default: every core")
      ->type_name("N")
      ->check(CLI::Range(1, 4096));
  ops_app.add_option("--isa", ops->isa, "norma's level: auto, or one that norma doctor lists")->type_name("NAME");
  ops_app.add_option("--seconds", ops->seconds, "Time for each operation; at least 3 runs are timed")
      ->type_name("X")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 3600.0));
  ops_app.add_flag("--json", ops->json, "One JSON object on stdout");
  ops_app.add_flag("--quiet", ops->quiet, "Show only warnings");

  auto predict = std::make_shared<PredictBenchRequest>();
  CLI::App& predict_app = *app.add_subcommand("predict", "Inference of a recipe's net, for several numbers of samples at a time");
  predict_app.add_option("recipe", predict->recipe, "A recipe's name, or the path of a TOML file")->default_val("mnist-lenet-bn");
  predict_app.add_option("--samples", predict->samples, "Samples of a call, such as 1,16")
      ->type_name("LIST")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  predict_app.add_option("--isa", predict->isa, "auto, or a level that norma doctor lists")->type_name("NAME");
  predict_app.add_option("--rounds", predict->rounds, "Rounds over all numbers of samples")
      ->type_name("N")
      ->capture_default_str()
      ->check(positive);
  predict_app.add_option("--seconds", predict->seconds, "Time for each number of samples in a round; at least 5 calls are timed")
      ->type_name("X")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 3600.0));
  output(predict_app, predict->json, predict->quiet);
  add_recipe_flags(predict_app, FlagScope::bench, predict->overrides);

  auto exported = std::make_shared<ExportRequest>();
  CLI::App& export_app = *app.add_subcommand("export", "Write a recipe's initial weights and order of samples, for other programs");
  export_app.add_option("folder", exported->folder, "Folder for weights.safetensors and order.safetensors")->required();
  export_app.add_option("recipe", exported->recipe, "A recipe's name, or the path of a TOML file")->required();
  export_app.add_flag("--quiet", exported->quiet, "Show only warnings");
  add_recipe_flags(export_app, FlagScope::all, exported->overrides);

  return {&app, [=, &step, &calls, &epoch_app, &bn_app, &latency_app, &ops_app, &predict_app] {
            if (step.parsed()) return bench_step(*request);
            if (calls.parsed()) return bench_calls(*request);
            if (epoch_app.parsed()) return bench_epoch(*epoch);
            if (bn_app.parsed()) return bench_bn(*bn);
            if (latency_app.parsed()) return bench_latency(*latency);
            if (predict_app.parsed()) return bench_predict(*predict);
            return ops_app.parsed() ? bench_ops(*ops) : bench_export(*exported);
          }};
}

}  // namespace norma::app
