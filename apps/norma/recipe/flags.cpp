#include "apps/norma/recipe/flags.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "apps/norma/system/log.h"
#include "norma/device.h"
#include "norma/error.h"

namespace norma::app {
namespace {

enum class Bench : std::uint8_t { shared, own };  // own: norma bench has its own flag for it, or no use

struct ValueFlag {
  const char *flag, *key, *type, *help;
  bool word;  // a string, whatever it looks like
  FlagScope scope;
  Bench bench = Bench::shared;
};

constexpr ValueFlag value_flags[] = {
    {"--epochs", "train.epochs", "N", "Epochs in total", false, FlagScope::all, Bench::own},
    {"--batch-size", "train.batch_size", "N", "Samples per step", false, FlagScope::all, Bench::own},
    {"--lr", "optimizer.lr", "X", "Learning rate", false, FlagScope::all},
    {"--seed", "train.seed", "N", "Seed of initial weights, order of samples and dropout", false, FlagScope::all},
    {"--optimizer", "optimizer.kind", "NAME", "sgd, adam or adamw, with its own defaults", true, FlagScope::all},
    {"--momentum", "optimizer.momentum", "X", "Momentum of sgd", false, FlagScope::all},
    {"--weight-decay", "optimizer.weight_decay", "X", "L2 penalty; decoupled for adamw", false, FlagScope::all},
    {"--schedule", "schedule.kind", "NAME", "constant, step, cosine or one_cycle", true, FlagScope::all},
    {"--warmup-epochs", "schedule.warmup_epochs", "X", "Linear warm-up of the learning rate", false, FlagScope::all},
    {"--loss", "loss.kind", "NAME", "cross_entropy or mse", true, FlagScope::all},
    {"--label-smoothing", "loss.label_smoothing", "X", "Label smoothing of cross_entropy", false, FlagScope::all},
    {"--activation", "model.activation", "NAME", "relu, sigmoid, tanh or none", true, FlagScope::all},
    {"--norm", "model.norm", "NAME", "batch, layer, instance, group or none", true, FlagScope::all},
    {"--norm-position", "model.norm_position", "NAME", "Norm before or after the activation", true, FlagScope::all},
    {"--precision", "train.precision", "NAME", "fp32, tf32 or bf16: precision of the factors in convolutions and linear layers", true,
     FlagScope::evaluation},
    {"--data", "data.name", "NAME", "mnist, fashion-mnist, digits, circles or idx", true, FlagScope::evaluation},
    {"--data-dir", "data.dir", "DIR", "Folder that is searched first for data sets", true, FlagScope::evaluation},
    {"--save-every", "train.save_every", "N", "Epochs between checkpoints", false, FlagScope::all, Bench::own},
    {"--log-every", "train.log_every", "N", "Epochs between two progress lines", false, FlagScope::all, Bench::own},
    {"--device", "device.kind", "NAME", "auto, cpu, cuda or cuda:N", true, FlagScope::evaluation, Bench::own},
    {"--threads", "device.threads", "N", "CPU threads; 0: every core. The result is the same for any number", false, FlagScope::evaluation,
     Bench::own},
    {"--isa", "device.isa", "NAME", "auto, or a level that norma doctor lists", true, FlagScope::evaluation, Bench::own},
    {"--capture", "device.capture", "NAME", "How a GPU runs a step: branches of a graph, chain, or off; the result is the same", true,
     FlagScope::all},
    {"--graph-calls", "device.graph_calls", "N", "Maximum number of Calls in one captured graph; the result is the same", false,
     FlagScope::all},
};

struct SwitchFlag {
  const char *on, *off, *key, *help;
};

constexpr SwitchFlag switch_flags[] = {
    {"--shuffle", "--no-shuffle", "train.shuffle", "Shuffle the samples in each epoch"},
    {"--drop-last", "--no-drop-last", "train.drop_last", "Leave out an epoch's last batch if it is not full"},
    {"--nesterov", "--no-nesterov", "optimizer.nesterov", "Nesterov momentum of sgd"},
    {"--fuse", "--no-fuse", "device.fuse", "Fuse layers; changes rounding only"},
    {"--reuse", "--no-reuse", "device.reuse", "Share memory between activations; does not change the result"},
    {"--check-each", "--no-check-each", "device.check_each", "Look for NaN after every call, to name the layer at fault"},
};

bool is_of_run(std::string_view key) { return key == "train.epochs" || key == "train.save_every" || key == "train.log_every"; }

}  // namespace

void add_recipe_flags(CLI::App& command, FlagScope scope, std::vector<Override>& overrides) {
  const char* group = "Recipe (each overrides a field)";
  for (const ValueFlag& f : value_flags) {
    if (scope == FlagScope::evaluation && f.scope == FlagScope::all) continue;
    if (scope == FlagScope::step && is_of_run(f.key)) continue;
    if (scope == FlagScope::bench && f.bench == Bench::own) continue;
    command
        .add_option_function<std::string>(
            f.flag,
            [&overrides, f](const std::string& v) {
              overrides.push_back({f.key, f.word ? toml_string(v) : v, f.flag});
            },
            f.help)
        ->type_name(f.type)
        ->trigger_on_parse()  // in their order
        ->group(group);
  }
  if (scope != FlagScope::evaluation)
    for (const SwitchFlag& f : switch_flags) {
      command
          .add_flag_callback(
              f.on,
              [&overrides, f] {
                overrides.push_back({f.key, "true", f.on});
              },
              fmt::format("{} ({})", f.help, f.off))
          ->trigger_on_parse()
          ->group(group);
      command.add_flag_callback(f.off,
                                [&overrides, f] {
                                  overrides.push_back({f.key, "false", f.off});
                                })
          ->trigger_on_parse()
          ->group("");  // in the line above
    }
  command
      .add_option_function<std::vector<std::string>>(
          "--set",
          [&overrides](const std::vector<std::string>& all) {
            for (const std::string& one : all) {
              const std::size_t equals = one.find('=');
              if (equals == std::string::npos || equals == 0)
                throw Error(ErrorKind::usage, fmt::format("--set {}: KEY=VALUE is needed, such as --set optimizer.lr=0.1", one));
              overrides.push_back({one.substr(0, equals), one.substr(equals + 1), "--set " + one.substr(0, equals)});
            }
          },
          "Any field: --set schedule.gamma=0.5, --set model.layers.0.out=12")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false)  // one value for each --set
      ->trigger_on_parse()
      ->group(group);
}

Device choose_device(const DeviceSection& section) {
  const Device device = Device::parse(section.kind);
  const std::string description = make_executor(device, executor_options(section))->description();
  log_info(fmt::format("device: {}{}", description, section.kind == "auto" ? " (auto: " + best_device_reason() + ")" : ""));
  return device;
}

}  // namespace norma::app
