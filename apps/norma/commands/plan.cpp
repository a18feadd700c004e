// norma plan: the ordered Calls that a net is compiled to, and the memory they need. For a GPU also its kernels and their predicted times.
// It needs neither data nor the GPU.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/norma/commands.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/gpu/plan_gpu.h"
#include "apps/norma/recipe/flags.h"
#include "apps/norma/system/choices.h"
#include "apps/norma/system/log.h"
#include "apps/norma/system/machine.h"
#include "apps/norma/system/terminal.h"
#include "norma/error.h"
#include "norma/text.h"

namespace norma::app {
namespace {

using nlohmann::ordered_json;

struct PlanRequest {
  std::string recipe;
  std::vector<Override> overrides;
  Mode mode = Mode::train;
  std::string card;
  bool measure = false, json = false, quiet = false;
};

ordered_json to_json(const PlanOperand& o) {
  return {{"role", o.role},
          {"value", o.value},
          {"shape", std::vector<std::int64_t>(o.shape.begin(), o.shape.end())},
          {"dtype", name_of(o.dtype)},
          {"region", name_of(o.region)},
          {"offset", o.offset},
          {"bytes", o.bytes},
          {"written", o.written}};
}

// The number of Calls in a step, and their cost.
struct StepCost {
  std::size_t calls = 0;
  double bytes = 0, flops = 0;
};

StepCost cost_of(const std::vector<PlanLine>& plan) {
  StepCost cost;
  for (const PlanLine& line : plan) ++cost.calls, cost.bytes += line.bytes, cost.flops += line.flops;
  return cost;
}

// The cost of a training step without the groups; nothing if there are none.
std::optional<StepCost> cost_without_groups(const Module& model, TrainerOptions options, Mode mode) {
  if (options.groups.empty() || mode != Mode::train) return {};
  options.groups.clear();
  return cost_of(describe(*compile(model, options, mode)));
}

std::string groups_line(const StepCost& with, const StepCost& without) {
  const auto text = [](const StepCost& c) {
    return fmt::format("{} calls, {}, {}", c.calls, with_prefix(c.bytes, "B"), with_prefix(c.flops, "FLOP"));
  };
  return fmt::format("groups: {}; without them {}\n", text(with), text(without));
}

// gpu: the same Plan's kernels, or null. without_groups: see cost_without_groups().
ordered_json to_json(const Plan& plan, const Recipe& recipe, Mode mode, const GpuPlan* gpu, const std::optional<StepCost>& without_groups) {
  ordered_json calls = ordered_json::array(), regions = ordered_json::object();
  double bytes = 0, flops = 0;
  for (const PlanLine& line : describe(plan)) {
    ordered_json operands = ordered_json::array();
    for (const PlanOperand& o : line.operands) operands.push_back(to_json(o));
    calls.push_back({{"call", line.call},
                     {"path", line.path},
                     {"detail", line.detail},
                     {"phase", line.phase},
                     {"by_pack", line.by_pack},
                     {"bytes", line.bytes},
                     {"flops", line.flops},
                     {"operands", operands}});
    if (const std::size_t c = calls.size() - 1; gpu) {
      calls.back()["kernels"] = kernels_json(*gpu, c);
      if (!gpu->measured.empty()) calls.back()["measured_us"] = gpu->measured[c];
    }
    bytes += line.bytes, flops += line.flops;
  }
  const MemoryReport report = memory(plan);
  for (std::size_t r = 0; r < region_count; ++r) regions[name_of(static_cast<Region>(r))] = report.bytes[r];
  ordered_json all{{"recipe", recipe.name},
                   {"mode", mode == Mode::train ? "train" : "eval"},
                   {"batch_size", recipe.train.batch_size},
                   {"calls", calls},
                   {"bytes", bytes},
                   {"flops", flops},
                   {"memory", regions},
                   {"activations_without_reuse", report.activations_without_reuse}};
  if (const auto& w = without_groups) all["without_groups"] = {{"calls", w->calls}, {"bytes", w->bytes}, {"flops", w->flops}};
  if (gpu) all["prediction"] = prediction_json(*gpu);
  return all;
}

int run(const PlanRequest& request) {
  set_up_log(detect_terminal(fileno(stderr)), request.quiet);
  const Recipe recipe = parse_recipe(find_recipe(request.recipe), request.overrides);
  // A GPU that is asked for need not be there.
  const Device device =
      recipe.device.kind == "auto" ? choose_device(recipe.device.kind, executor_options(recipe.device)) : Device::parse(recipe.device.kind);
  const bool cuda = device.kind == Device::Kind::cuda;
  if (!cuda && (request.measure || !request.card.empty()))
    throw Error(ErrorKind::usage, std::string(request.measure ? "--measure" : "--card") + " is for a GPU's kernels: add --device cuda");
  std::optional<GpuPlan> gpu;
  if (cuda) {
    if (request.measure) choose_device(recipe.device.kind, executor_options(recipe.device));
    gpu = predict_plan(recipe, request.mode, device, choose_card(request.card, device));
    if (request.measure) measure(*gpu, recipe, device);
  }
  const Module model = build_model(recipe.model);
  const TrainerOptions options = trainer_options(recipe, sample_shape(recipe.data), device);
  const std::optional<StepCost> without = cost_without_groups(model, options, request.mode);
  const auto groups = [&](const std::vector<PlanLine>& lines) { return without ? groups_line(cost_of(lines), *without) : std::string(); };
  if (gpu && !request.json) {
    print_result(print(*gpu) + groups(gpu->lines));
    return 0;
  }
  const auto plan = compile(model, options, request.mode);
  print_result(request.json ? json_document(to_json(*plan, recipe, request.mode, gpu ? &*gpu : nullptr, without))
                            : print(*plan) + groups(describe(*plan)));
  return 0;
}

}  // namespace

Command add_plan(CLI::App& norma) {
  auto request = std::make_shared<PlanRequest>();
  CLI::App& app = *norma.add_subcommand(
      "plan",
      "The kernel calls of one step: shapes, bytes, flops, offsets; memory. With --device cuda also the GPU's kernels; needs no GPU");
  app.add_option("recipe", request->recipe, "A recipe's name, or the path of a TOML file or a run directory")->required();
  app.add_option_function<std::string>(
         "--mode",
         [request](const std::string& mode) {
           const std::string known[] = {"train", "eval"};
           request->mode = choose("--mode", mode, known) == 0 ? Mode::train : Mode::eval;
         },
         "train or eval")
      ->type_name("MODE");
  app.add_option("--card", request->card, "GPU to predict times for: h100 or h200; default the GPU here, else h200")->type_name("CARD");
  app.add_flag("--measure", request->measure, "On a GPU: measure each call and print its time with the prediction");
  app.add_flag("--json", request->json, "One JSON object on stdout");
  app.add_flag("--quiet", request->quiet, "Show only warnings");
  add_recipe_flags(app, FlagScope::step, request->overrides);
  return {&app, [request] { return run(*request); }};
}

}  // namespace norma::app
