// norma eval: loss and accuracy of a saved model on a data set.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/norma/commands.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/run/saved_model.h"
#include "apps/norma/system/figures.h"
#include "apps/norma/system/log.h"
#include "apps/norma/system/terminal.h"
#include "norma/text.h"

namespace norma::app {
namespace {

struct EvalRequest {
  SavedModelRequest model;
  bool train_split = false, json = false, quiet = false;
};

int run(const EvalRequest& request) {
  set_up_log(detect_terminal(fileno(stderr)), request.quiet);
  const SavedModel saved = open_model(request.model);
  const Dataset split = load_split(saved.recipe.data, request.train_split);
  Trainer trainer = load_trainer(saved, split.sample);
  const Evaluation result = trainer.evaluate(split);
  if (request.json) {
    const nlohmann::ordered_json j{{"model", saved.weights.string()},
                                   {"data", split.name},
                                   {"loss", result.loss},
                                   {"accuracy", result.accuracy},
                                   {"samples", result.samples},
                                   {"seconds", result.seconds},
                                   {"parameters_hash", trainer.parameters_hash()},
                                   {"device", trainer.device_description()}};
    print_result(json_document(j));
  } else {
    print_result(fmt::format("accuracy  {:.2f}%\nloss      {}\ndata      {}, {} samples in {}\nmodel     {}, hash {}\n",
                             100 * result.accuracy, short_loss(result.loss), printable(split.name), result.samples,
                             short_duration(result.seconds), printable(saved.weights.string()), trainer.parameters_hash()));
  }
  return 0;
}

}  // namespace

Command add_eval(CLI::App& norma) {
  auto request = std::make_shared<EvalRequest>();
  CLI::App& app = *norma.add_subcommand("eval", "Loss and accuracy of a saved model");
  add_saved_model_flags(app, request->model);
  app.add_flag("--train", request->train_split, "Use the training samples instead of the test samples");
  app.add_flag("--json", request->json, "One JSON object on stdout");
  app.add_flag("--quiet", request->quiet, "Show only warnings");
  return {&app, [request] { return run(*request); }};
}

}  // namespace norma::app
