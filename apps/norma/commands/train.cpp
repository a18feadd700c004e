// norma train: the flags of a training run.
#include <CLI/CLI.hpp>

#include "apps/norma/commands.h"
#include "apps/norma/recipe/flags.h"
#include "apps/norma/run/training_run.h"
#include "apps/norma/system/choices.h"
#include "norma/error.h"

namespace norma::app {

Command add_train(CLI::App& norma) {
  auto request = std::make_shared<TrainRequest>();
  CLI::App& app = *norma.add_subcommand("train", "Train a recipe's model, or resume a run");
  app.add_option("recipe", request->recipe, "A recipe's name, or the path of a TOML file");
  app.add_option("--out", request->out, "Run directory; default runs/<recipe>-<time>")->type_name("DIR");
  app.add_flag("--resume", request->resume,
               "Resume the run in --out. --epochs may be higher; --device, --threads and the data's location may differ");
  app.add_flag("--force", request->force, "Replace the run in --out");
  app.add_flag("--json", request->json, "One JSON object an epoch on stdout, then one with \"final\": true");
  app.add_flag("--quiet", request->quiet, "Show only warnings and results");
  app.add_flag("--verbose", request->verbose, "Print every layer with the shape of its output and its parameters, on stderr");
  app.add_option_function<std::string>(
         "--progress",
         [request](const std::string& when) {
           const std::string known[] = {"auto", "always", "never"};
           request->progress = static_cast<ProgressMode>(choose("--progress", when, known));
         },
         "Progress bar: auto (on a terminal), always or never. A line an epoch is always printed")
      ->type_name("WHEN");
  add_recipe_flags(app, FlagScope::all, request->overrides);
  add_init_flags(app, request->overrides);
  app.footer(
      "Example: norma train mnist-lenet-bn --epochs 3 --set optimizer.momentum=0.9 --out runs/try\n"
      "norma train mnist-lenet-bn --init lenet.pt --lr 0.001: from weights of PyTorch, a run or a .safetensors file\n"
      "Ctrl-C finishes the step, saves and exits with 130; --resume continues to the same bits.");
  return {&app, [request] {
            if (request->resume && request->out.empty()) throw Error(ErrorKind::usage, "--resume needs --out DIR, the run to resume");
            if (request->resume && request->force)
              throw Error(ErrorKind::usage, "--resume goes on with a run, --force replaces it: one or the other");
            if (request->verbose && request->quiet) throw Error(ErrorKind::usage, "--verbose with --quiet: one or the other");
            if (!request->resume && request->recipe.empty())
              throw Error(ErrorKind::usage, "a recipe is needed, such as norma train mnist-lenet-bn; see norma train --help");
            return run_training(*request);
          }};
}

}  // namespace norma::app
