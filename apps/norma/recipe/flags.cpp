#include "apps/norma/recipe/flags.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <stdexcept>

#include "apps/norma/recipe/reference.h"
#include "apps/norma/system/choices.h"
#include "norma/error.h"

namespace norma::app {
namespace {

enum class Bench : std::uint8_t { shared, own };  // own: norma bench has its own flag for it, or no use

struct ValueFlag {
  const char *flag, *key;
  FlagScope scope;
  Bench bench = Bench::shared;
};

constexpr ValueFlag value_flags[] = {
    {"--epochs", "train.epochs", FlagScope::all, Bench::own},
    {"--batch-size", "train.batch_size", FlagScope::all, Bench::own},
    {"--lr", "optimizer.lr", FlagScope::all},
    {"--seed", "train.seed", FlagScope::all},
    {"--optimizer", "optimizer.kind", FlagScope::all},
    {"--momentum", "optimizer.momentum", FlagScope::all},
    {"--weight-decay", "optimizer.weight_decay", FlagScope::all},
    {"--schedule", "schedule.kind", FlagScope::all},
    {"--warmup-epochs", "schedule.warmup_epochs", FlagScope::all},
    {"--loss", "loss.kind", FlagScope::all},
    {"--label-smoothing", "loss.label_smoothing", FlagScope::all},
    {"--activation", "model.activation", FlagScope::all},
    {"--norm", "model.norm", FlagScope::all},
    {"--norm-position", "model.norm_position", FlagScope::all},
    {"--precision", "train.precision", FlagScope::evaluation},
    {"--data", "data.name", FlagScope::evaluation},
    {"--data-dir", "data.dir", FlagScope::evaluation},
    {"--save-every", "train.save_every", FlagScope::all, Bench::own},
    {"--log-every", "train.log_every", FlagScope::all, Bench::own},
    {"--device", "device.kind", FlagScope::evaluation, Bench::own},
    {"--threads", "device.threads", FlagScope::evaluation, Bench::own},
    {"--isa", "device.isa", FlagScope::evaluation, Bench::own},
    {"--capture", "device.capture", FlagScope::all},
    {"--graph-calls", "device.graph_calls", FlagScope::all},
};

struct SwitchFlag {
  const char *on, *off, *key;
};

constexpr SwitchFlag switch_flags[] = {
    {"--shuffle", "--no-shuffle", "train.shuffle"},
    {"--drop-last", "--no-drop-last", "train.drop_last"},
    {"--tensorboard", "--no-tensorboard", "train.tensorboard"},
    {"--nesterov", "--no-nesterov", "optimizer.nesterov"},
    {"--fuse", "--no-fuse", "device.fuse"},
    {"--reuse", "--no-reuse", "device.reuse"},
    {"--check-each", "--no-check-each", "device.check_each"},
};

// Flags of [init] that give one value.
struct WordFlag {
  const char *flag, *key, *word, *help;
};

constexpr WordFlag word_flags[] = {
    {"--init-missing", "init.missing", "\"keep\"", "Tensors that the file of --init lacks begin as the seed draws them"},
    {"--init-extra", "init.extra", "\"ignore\"", "Tensors of that file that the net does not have are ignored"},
};

// Each one more entry of the array init.rename.
void add_rename(std::vector<Override>& overrides, const std::string& given) {
  constexpr const char* flag = "--init-rename";
  const auto before = std::ranges::find(overrides, flag, &Override::flag);
  if (before == overrides.end()) overrides.push_back({"init.rename", "[" + toml_string(given) + "]", flag});
  else before->value = before->value.substr(0, before->value.size() - 1) + ", " + toml_string(given) + "]";
}

const char* placeholder(const FieldReference& f) {
  switch (f.kind) {
    case FieldReference::Kind::integer: return "N";
    case FieldReference::Kind::number: return "X";
    case FieldReference::Kind::word: return "NAME";
    case FieldReference::Kind::path: return f.key == "dir" ? "DIR" : "FILE";
    case FieldReference::Kind::boolean:
    case FieldReference::Kind::compound: break;
  }
  throw std::logic_error("a flag for a field that takes more than a word or number");
}

// "Optimizer, with its own defaults: sgd, adam, adamw", "Nesterov momentum (kind sgd)"
std::string help_of(const FieldReference& f) {
  std::string text = f.help;
  if (!f.choices.empty()) text += ": " + join(f.choices);
  for (const auto& [choice, words] : f.with) text += fmt::format(" ({} {})", choice, join(words));
  return text;
}

bool is_of_run(std::string_view key) {
  return key == "train.epochs" || key == "train.save_every" || key == "train.log_every" || key == "train.tensorboard";
}

constexpr const char* group = recipe_flag_group;

void add_value_flag(CLI::App& command, const char* flag, const char* key, std::vector<Override>& overrides) {
  const FieldReference field = field_reference(key);
  // A string, whatever it looks like.
  const bool quoted = field.kind == FieldReference::Kind::word || field.kind == FieldReference::Kind::path;
  command
      .add_option_function<std::string>(
          flag,
          [&overrides, flag, key, quoted](const std::string& v) {
            overrides.push_back({key, quoted ? toml_string(v) : v, flag});
          },
          help_of(field))
      ->type_name(placeholder(field))
      ->trigger_on_parse()  // in their order
      ->group(group);
}

}  // namespace

std::vector<std::string> choices_of_flag(std::string_view flag) {
  for (const ValueFlag& f : value_flags)
    if (flag == f.flag) return field_reference(f.key).choices;
  return {};
}

void add_init_flags(CLI::App& command, std::vector<Override>& overrides) {
  add_value_flag(command, "--init", "init.file", overrides);
  add_value_flag(command, "--init-key", "init.key", overrides);
  command
      .add_option_function<std::vector<std::string>>(
          "--init-rename",
          [&overrides](const std::vector<std::string>& all) {
            for (const std::string& one : all) add_rename(overrides, one);
          },
          "A name in the file of --init and in the net: 'features.0.*=conv1.*'. May be given many times")
      ->type_name("OLD=NEW")
      ->allow_extra_args(false)
      ->trigger_on_parse()
      ->group(group);
  for (const WordFlag& f : word_flags)
    command
        .add_flag_callback(
            f.flag,
            [&overrides, f] {
              overrides.push_back({f.key, f.word, f.flag});
            },
            f.help)
        ->trigger_on_parse()
        ->group(group);
}

void add_recipe_flags(CLI::App& command, FlagScope scope, std::vector<Override>& overrides) {
  for (const ValueFlag& f : value_flags) {
    if (scope == FlagScope::evaluation && f.scope == FlagScope::all) continue;
    if (scope == FlagScope::step && is_of_run(f.key)) continue;
    if (scope == FlagScope::bench && f.bench == Bench::own) continue;
    add_value_flag(command, f.flag, f.key, overrides);
  }
  if (scope != FlagScope::evaluation)
    for (const SwitchFlag& f : switch_flags) {
      if (scope != FlagScope::all && is_of_run(f.key)) continue;
      command
          .add_flag_callback(
              f.on,
              [&overrides, f] {
                overrides.push_back({f.key, "true", f.on});
              },
              fmt::format("{}; or {}", help_of(field_reference(f.key)), f.off))
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

}  // namespace norma::app
