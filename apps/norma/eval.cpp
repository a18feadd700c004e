// norma eval: loss and accuracy of a saved model on a data set.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/norma/commands.h"
#include "apps/norma/log.h"
#include "apps/norma/progress.h"
#include "apps/norma/recipe_flags.h"
#include "norma/error.h"

namespace norma::app {
namespace {

namespace fs = std::filesystem;

struct EvalRequest {
  fs::path model;
  std::string recipe;  // empty: config.toml beside the model
  std::vector<Override> overrides;
  bool train_split = false, json = false, quiet = false;
};

// The recipe that says what the weights are weights of.
RecipeSource recipe_of(const EvalRequest& request, const fs::path& weights) {
  if (!request.recipe.empty()) return find_recipe(request.recipe);
  const fs::path config = weights.parent_path() / "config.toml";
  std::error_code ec;
  if (!fs::exists(config, ec))
    throw Error(ErrorKind::usage,
                fmt::format("{} has no config.toml beside it that says what net it is: name the recipe with --recipe", weights.string()));
  return find_recipe(config.string());
}

int run(const EvalRequest& request) {
  set_up_log(detect_terminal(fileno(stderr)), request.quiet);
  std::error_code ec;
  const fs::path weights = fs::is_directory(request.model, ec) ? request.model / "model.safetensors" : request.model;
  if (!fs::exists(weights, ec)) throw Error(ErrorKind::data, weights.string() + ": no such file");
  const Recipe recipe = parse_recipe(recipe_of(request, weights), request.overrides);
  const Checkpoint model = load_safetensors(weights);
  const Device device = choose_device(recipe.device);
  const DatasetPair data = load_data(recipe.data);
  const Dataset& split = request.train_split ? data.train : data.test;
  Trainer trainer(build_model(recipe.model), trainer_options(recipe, split.sample, device));
  try {
    trainer.load_model(model);
  } catch (const Error& e) {
    throw Error(e.kind(), weights.string() + ": " + e.what());
  }
  const Evaluation result = trainer.evaluate(split);
  if (request.json) {
    const nlohmann::ordered_json j{{"model", weights.string()},
                                   {"data", split.name},
                                   {"loss", result.loss},
                                   {"accuracy", result.accuracy},
                                   {"samples", result.samples},
                                   {"seconds", result.seconds},
                                   {"parameters_hash", trainer.parameters_hash()},
                                   {"device", trainer.device_description()}};
    print_result(j.dump() + "\n");
  } else {
    print_result(fmt::format("accuracy  {:.2f}%\nloss      {}\ndata      {}, {} samples in {}\nmodel     {}, hash {}\n",
                             100 * result.accuracy, short_loss(result.loss), split.name, result.samples, short_duration(result.seconds),
                             weights.string(), trainer.parameters_hash()));
  }
  return 0;
}

}  // namespace

Command add_eval(CLI::App& norma) {
  auto request = std::make_shared<EvalRequest>();
  CLI::App& app = *norma.add_subcommand("eval", "Loss and accuracy of a saved model");
  app.add_option("model", request->model, "A run directory, or a model.safetensors")->required();
  app.add_option("--recipe", request->recipe, "The net, where no config.toml lies beside the model")->type_name("RECIPE");
  app.add_flag("--train", request->train_split, "On the training samples instead of the test samples");
  app.add_flag("--json", request->json, "One JSON object on stdout");
  app.add_flag("--quiet", request->quiet, "No log on stderr; warnings stay");
  add_recipe_flags(app, FlagScope::evaluation, request->overrides);
  return {&app, [request] { return run(*request); }};
}

}  // namespace norma::app
