// norma verify: the user's own machine against the reference, call by call.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>

#include "apps/norma/commands.h"
#include "apps/norma/commands/verify_cudnn.h"
#include "apps/norma/commands/verify_table.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/recipe/flags.h"
#include "apps/norma/system/figures.h"
#include "apps/norma/system/log.h"
#include "apps/norma/system/machine.h"
#include "apps/norma/system/plugin.h"
#include "apps/norma/system/terminal.h"

namespace norma::app {
namespace {

using Clock = std::chrono::steady_clock;

struct VerifyRequest {
  std::string recipe;
  std::vector<Override> overrides;
  bool json = false, quiet = false;
};

// The recipe's training set. If a known set is not on this machine: the built-in digits, in batches like those of its 60,000 samples.
Dataset training_set(const Recipe& recipe) {
  DataSection data = recipe.data;
  const std::string name = name_of(data.source);
  const std::vector<std::string> known = known_datasets();
  const bool from_disk = std::find(known.begin(), known.end(), name) != known.end();
  if (from_disk && !find_dataset(name, data.dir.empty() ? std::nullopt : std::optional(data.dir))) {
    log_warning(
        fmt::format("{} was not found (norma data fetch {}): using the built-in digits, which test the kernels as well", name, name));
    data.source = DataSection::Source::digits;
    data.train_samples = recipe.train.batch_size + 60000 % recipe.train.batch_size;
    data.test_samples = 10;
  }
  return load_data(data).train;
}

int run(const VerifyRequest& request) {
  set_up_log(detect_terminal(fileno(stderr)), request.quiet);
  const Clock::time_point start = Clock::now();
  const Recipe recipe = parse_recipe(find_recipe(request.recipe), request.overrides);
  const Device device = choose_device(recipe.device.kind, executor_options(recipe.device));
  std::vector<Device> devices{Device::cpu()};
  std::optional<OtherLibrary> cudnn;
  if (device.kind == Device::Kind::cuda) {
    devices.push_back(device);
    std::string missing;
    cudnn = cudnn_kernels(program_folder(), device.index, missing);
    log_info(cudnn ? "beside them: " + cudnn->name : "without cuDNN for comparison: " + missing);
  }
  const Dataset data = training_set(recipe);
  log_info(fmt::format("data: {}; recipe: {}, batches of {}", data.name, recipe.name, recipe.train.batch_size));
  const VerifyReport report =
      verify(build_model(recipe.model), trainer_options(recipe, data.sample, device), data, devices, cudnn ? &*cudnn : nullptr);
  log_info(fmt::format("done in {}", short_duration(std::chrono::duration<double>(Clock::now() - start).count())));
  if (request.json) {
    nlohmann::ordered_json j{{"recipe", recipe.name}, {"data", data.name}, {"batch_size", recipe.train.batch_size}};
    j.update(app::to_json(report));
    print_result(json_document(j));
  } else {
    print_result(app::text(report));
  }
  require_passed(report);
  return 0;
}

}  // namespace

Command add_verify(CLI::App& norma) {
  auto request = std::make_shared<VerifyRequest>();
  CLI::App& app = *norma.add_subcommand(
      "verify", "Compare every kernel call of a recipe on this machine with double precision; with --device cuda the GPU's, too");
  app.add_option("recipe", request->recipe, "A recipe's name, or the path of a TOML file or a run directory")
      ->default_val("mnist-lenet-bn");
  app.add_flag("--json", request->json, "One JSON object on stdout");
  app.add_flag("--quiet", request->quiet, "Show only warnings");
  add_recipe_flags(app, FlagScope::step, request->overrides);
  return {&app, [request] { return run(*request); }};
}

}  // namespace norma::app
