// norma plan: the ordered kernel calls that a net is compiled to, and the memory they need. Needs no data.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/norma/commands.h"
#include "apps/norma/log.h"
#include "apps/norma/recipe_flags.h"
#include "apps/norma/terminal.h"
#include "apps/norma/words.h"

namespace norma::app {
namespace {

using nlohmann::ordered_json;

struct PlanRequest {
  std::string recipe;
  std::vector<Override> overrides;
  Mode mode = Mode::train;
  bool json = false, quiet = false;
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

ordered_json to_json(const Plan& plan, const Recipe& recipe, Mode mode) {
  ordered_json calls = ordered_json::array(), regions = ordered_json::object();
  double bytes = 0, flops = 0;
  for (const PlanLine& line : describe(plan)) {
    ordered_json operands = ordered_json::array();
    for (const PlanOperand& o : line.operands) operands.push_back(to_json(o));
    calls.push_back({{"call", line.call},
                     {"path", line.path},
                     {"detail", line.detail},
                     {"phase", line.phase},
                     {"by_group", line.by_group},
                     {"bytes", line.bytes},
                     {"flops", line.flops},
                     {"operands", operands}});
    bytes += line.bytes, flops += line.flops;
  }
  const MemoryReport report = memory(plan);
  for (std::size_t r = 0; r < region_count; ++r) regions[name_of(static_cast<Region>(r))] = report.bytes[r];
  return {{"recipe", recipe.name},
          {"mode", mode == Mode::train ? "train" : "eval"},
          {"batch_size", recipe.train.batch_size},
          {"calls", calls},
          {"bytes", bytes},
          {"flops", flops},
          {"memory", regions},
          {"activations_without_reuse", report.activations_without_reuse}};
}

int run(const PlanRequest& request) {
  set_up_log(detect_terminal(fileno(stderr)), request.quiet);
  const Recipe recipe = parse_recipe(find_recipe(request.recipe), request.overrides);
  // A GPU that is asked for need not be there.
  const Device device = recipe.device.kind == "auto" ? choose_device(recipe.device) : Device::parse(recipe.device.kind);
  const auto plan = compile(build_model(recipe.model), trainer_options(recipe, sample_shape(recipe.data), device), request.mode);
  print_result(request.json ? to_json(*plan, recipe, request.mode).dump() + "\n" : print(*plan));
  return 0;
}

}  // namespace

Command add_plan(CLI::App& norma) {
  auto request = std::make_shared<PlanRequest>();
  CLI::App& app = *norma.add_subcommand(
      "plan", "The kernel calls of one step: shapes, bytes, flops, offsets; memory. For --device cuda on any machine");
  app.add_option("recipe", request->recipe, "A recipe's name, or the path of a TOML file or a run directory")->required();
  app.add_option_function<std::string>(
         "--mode",
         [request](const std::string& mode) {
           const std::string known[] = {"train", "eval"};
           request->mode = choose("--mode", mode, known) == 0 ? Mode::train : Mode::eval;
         },
         "train or eval")
      ->type_name("MODE");
  app.add_flag("--json", request->json, "One JSON object on stdout");
  app.add_flag("--quiet", request->quiet, "No log on stderr; warnings stay");
  add_recipe_flags(app, FlagScope::all, request->overrides);
  return {&app, [request] { return run(*request); }};
}

}  // namespace norma::app
