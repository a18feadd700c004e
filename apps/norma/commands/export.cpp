// norma export: a saved model in another form, for programs without norma.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "apps/norma/commands.h"
#include "apps/norma/export/writers.h"
#include "apps/norma/files/folder_lock.h"
#include "apps/norma/files/folders.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/run/run_files.h"
#include "apps/norma/system/log.h"
#include "apps/norma/system/terminal.h"
#include "norma/error.h"
#include "norma/files.h"
#include "norma/text.h"

namespace norma::app {
namespace {

namespace fs = std::filesystem;

// ".c (C99 source)"
std::string known_forms() {
  std::string text;
  for (const ExportWriter& w : export_writers) text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", w.extension, w.what);
  return text;
}

const ExportWriter& writer_of(const fs::path& out) {
  const auto* const found = std::ranges::find_if(export_writers, [&](const ExportWriter& w) { return out.extension() == w.extension; });
  if (found == std::end(export_writers))
    throw Error(ErrorKind::usage, fmt::format("{}: the ending of its name says what is written: {}", out.string(), known_forms()));
  return *found;
}

// The net is the file's own; one of an older norma or of another program is its recipe's.
ExportedModel read_exported(const SavedModelRequest& request) {
  const fs::path weights = weights_file(request.model);
  Checkpoint model = load_weights(weights);
  std::optional<Module> net = read_model_net(model.metadata, weights.string());
  std::optional<ModelInput> input = read_model_input(model.metadata, weights.string());
  if (!net || !input) {
    const Recipe recipe = read_recipe(request, weights);
    if (!net) net = build_model(recipe.model);
    if (!input) input = input_of(recipe.data, weights);
  }
  const std::optional<Size2>& resized = input->transform.resize;
  const Shape sample = resized ? Shape{input->sample[0], resized->h, resized->w} : input->sample;
  try {
    Graph graph = trace(*net, sample.prepend(1));
    return {weights, std::move(model), std::move(*net), std::move(graph), std::move(*input)};
  } catch (const Error& e) {
    throw Error(ErrorKind::data, fmt::format("{}: {}", weights.string(), e.what()));
  }
}

int run(const ModelExportRequest& request) {
  set_up_log(detect_terminal(fileno(stderr)), request.quiet);
  const ExportWriter& writer = writer_of(request.out);
  const fs::path folder = request.out.has_parent_path() ? request.out.parent_path() : fs::path(".");
  const std::string name = request.out.filename().string();
  refuse_replacement(folder, {name.c_str()}, request.force, "OUT");
  const ExportedModel exported = read_exported(request.model);
  const ExportedFile file = [&] {
    try {
      return writer.write(exported, request);
    } catch (const Error& e) {  // of tensors
      if (e.kind() != ErrorKind::data && e.kind() != ErrorKind::diverged) throw;
      throw Error(e.kind(), fmt::format("{}: {}", exported.weights.string(), e.what()));
    }
  }();
  make_folder(folder, "the folder");
  const FolderLock lock(folder);
  FileList(folder).write(name, file.bytes);
  if (request.json) {
    nlohmann::ordered_json all{{"model", exported.weights.string()},
                               {"file", request.out.string()},
                               {"format", std::string(writer.extension + 1)},
                               {"bytes", file.bytes.size()}};
    all.update(file.json);
    print_result(json_document(all));
    return 0;
  }
  std::string text = fmt::format("{:<11} {}, {}, {}\n", "file", printable(request.out.string()), writer.what,
                                 with_prefix(static_cast<double>(file.bytes.size()), "B"));
  for (const auto& [what, said] : file.lines) text += fmt::format("{:<11} {}\n", what, said);
  print_result(text);
  return 0;
}

}  // namespace

Command add_export(CLI::App& norma) {
  auto request = std::make_shared<ModelExportRequest>();
  CLI::App& app = *norma.add_subcommand("export", "Write a model as C source or as an ONNX model, for programs without norma");
  app.footer(
      "Examples:\n"
      "  norma export runs/mine lenet.c --check\n"
      "  norma export runs/mine lenet.c --weights int8 --check --force\n"
      "  cc -O3 -c lenet.c\n"
      "  norma export runs/mine lenet.onnx --fold --with-transform");
  app.add_option("model", request->model.model, "A run directory, or a model.safetensors")->required();
  app.add_option("out", request->out, fmt::format("The file; the ending of its name says what is written: {}", known_forms()))->required();
  app.add_option("--name", request->name, "Begins every identifier in the C file; default: the file's name")->type_name("ID");
  app.add_option("--weights", request->weights, "Weights of convolutions and linear layers: float, int8 (a scale for each output channel)")
      ->type_name("KIND")
      ->capture_default_str();
  app.add_flag("--check", request->check,
               "Compile the file with $CC or cc, and compare its outputs with norma's; with int8 also the accuracy on the test set");
  app.add_flag_callback(
         "--fold", [request] { request->fold = true; }, "Fold batch norms, the default of .c; or --no-fold, that of .onnx")
      ->trigger_on_parse();
  app.add_flag_callback("--no-fold", [request] { request->fold = false; })->trigger_on_parse()->group("");  // in the line above
  app.add_flag_callback(
         "--with-transform", [request] { request->with_transform = true; },
         "Take samples as they are stored, the default of .c; or --floats, that of .onnx: floats after the data's transform")
      ->trigger_on_parse();
  app.add_flag_callback("--floats", [request] { request->with_transform = false; })->trigger_on_parse()->group("");  // in the line above
  app.add_option("--recipe", request->model.recipe, "Recipe of the model, if its folder has no config.toml")->type_name("RECIPE");
  app.add_option_function<std::string>(
         "--data-dir",
         [request](const std::string& dir) {
           request->model.overrides.push_back({"data.dir", toml_string(dir), "--data-dir"});
         },
         "Folder of the data set, for --check")
      ->type_name("DIR");
  app.add_flag("--force", request->force, "Replace an existing file of norma's");
  app.add_flag("--json", request->json, "One JSON object on stdout");
  app.add_flag("--quiet", request->quiet, "Show only warnings");
  return {&app, [request] { return run(*request); }};
}

}  // namespace norma::app
