// norma bn-recalibrate and bn-fold: what can be done to the batch norms of a trained model without training it.
#include "norma/batch_norm_tools.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "apps/norma/commands.h"
#include "apps/norma/files/folder_lock.h"
#include "apps/norma/files/folders.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/run/run_files.h"
#include "apps/norma/run/saved_model.h"
#include "apps/norma/system/figures.h"
#include "apps/norma/system/larger.h"
#include "apps/norma/system/log.h"
#include "apps/norma/system/terminal.h"
#include "norma/error.h"
#include "norma/text.h"

namespace norma::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

struct ToolRequest {
  SavedModelRequest model;
  fs::path out;
  std::int64_t samples = 0;
  bool force = false, json = false, quiet = false;
};

void add_flags(CLI::App& app, ToolRequest& request, const char* out) {
  add_saved_model_flags(app, request.model);
  app.add_option("--out", request.out, out)->required();
  app.add_flag("--force", request.force, "Replace existing files");
  app.add_flag("--json", request.json, "One JSON object on stdout");
  app.add_flag("--quiet", request.quiet, "Show only warnings");
}

std::string before_and_after(const Evaluation& before, const Evaluation& after) {
  return fmt::format("accuracy   {:.2f}% before, {:.2f}% after\nloss       {} before, {} after\n", 100 * before.accuracy,
                     100 * after.accuracy, short_loss(before.loss), short_loss(after.loss));
}

ordered_json to_json(const Evaluation& e) { return {{"loss", e.loss}, {"accuracy", e.accuracy}, {"samples", e.samples}}; }

[[noreturn]] void nothing_to_do(const SavedModel& saved, const std::string& why) {
  throw Error(ErrorKind::usage, fmt::format("{}: {}", saved.weights.string(), why));
}

// The description of the input that the model was read with; the net is described anew.
void keep_metadata(const Checkpoint& read, Checkpoint& model) {
  for (const auto& [key, value] : read.metadata)
    if (key != "norma.net") model.metadata[key] = value;
}

bool has_batch_norms(const Graph& graph) { return !batch_norms(graph).empty(); }

// ---- bn-recalibrate

int recalibrate(const ToolRequest& request) {
  set_up_log(detect_terminal(fileno(stderr)), request.quiet);
  const bool is_file = request.out.extension() == ".safetensors";
  const fs::path file = is_file ? request.out : request.out / model_name;
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  refuse_replacement(folder, {file.filename().c_str()}, request.force);
  const SavedModel saved = open_model(request.model);
  std::error_code ec;
  const bool with_config = !is_file && !fs::equivalent(folder, saved.weights.parent_path(), ec);
  if (with_config) refuse_replacement(folder, {config_name}, request.force);
  const DatasetPair data = load_data(saved.recipe.data);
  Trainer trainer = load_trainer(saved, data.train.sample);
  if (!has_batch_norms(trainer.unfused_graph())) nothing_to_do(saved, "the net has no batch norm");
  const Evaluation before = trainer.evaluate(data.test);
  const std::vector<RecalibratedBatchNorm> layers = trainer.recalibrate(data.train, request.samples);
  if (layers.empty()) nothing_to_do(saved, "no batch norm of the net has running statistics");
  const Evaluation after = trainer.evaluate(data.test);
  Checkpoint model = trainer.model();
  if (const std::string fault = first_fault(model); !fault.empty())
    throw Error(ErrorKind::diverged, fmt::format("nothing saved: {}", fault));
  keep_metadata(saved.model, model);
  if (!saved.input) write_model_input(model_input(saved.recipe.data, data.train), model.metadata);
  make_folder(folder, "the folder");
  const FolderLock lock(folder);
  FileList files(folder);
  if (with_config) files.write(config_name, write_toml(saved.recipe));
  files.write(file.filename().string(), encode_safetensors(model, file));
  const std::int64_t samples = request.samples ? request.samples : data.train.size();
  if (request.json) {
    ordered_json list = ordered_json::array();
    for (const RecalibratedBatchNorm& l : layers)
      list.push_back({{"layer", l.layer}, {"mean_change", l.mean_change}, {"variance_ratio", l.variance_ratio}});
    print_result(json_document(
        {{"model", file.string()}, {"samples", samples}, {"before", to_json(before)}, {"after", to_json(after)}, {"layers", list}}));
    return 0;
  }
  std::size_t width = 10;
  for (const RecalibratedBatchNorm& l : layers) width = std::max(width, l.layer.size());
  std::string text = fmt::format("{:<{}} {:>22} {:>22}\n", "layer", width, "largest mean change", "variance ratio");
  for (const RecalibratedBatchNorm& l : layers)
    text += fmt::format("{:<{}} {:>18.4f} std {:>22.4f}\n", l.layer, width, l.mean_change, l.variance_ratio);
  text += before_and_after(before, after);
  text += fmt::format("statistics over {} samples of {}\nmodel      {}\n", samples, printable(data.train.name), printable(file.string()));
  print_result(text);
  return 0;
}

// ---- bn-fold

constexpr std::int64_t random_values = std::int64_t{1} << 24;  // of all random inputs, but for one of them

struct OutputDifference {
  double absolute = 0, relative = 0;  // the largest; of the largest output
};

OutputDifference largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0;
  OutputDifference d;
  for (std::size_t i = 0; i < a.size(); ++i) {
    d.absolute = larger(d.absolute, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    largest = larger(largest, std::abs(static_cast<double>(a[i])));
  }
  d.relative = largest == 0 ? 0 : d.absolute / largest;
  return d;
}

// Samples such as the net takes, drawn by chance: of a net whose data are not here.
Dataset random_inputs(const ModelInput& input, std::int64_t samples) {
  Dataset set;
  set.name = fmt::format("{} random inputs", samples);
  set.sample = input.sample;
  set.labels.assign(static_cast<std::size_t>(samples), 0);
  std::mt19937 draw;
  for (std::int64_t i = 0; i < samples * input.sample.elements(); ++i) {
    if (input.stored == DType::u8) set.bytes.push_back(static_cast<std::uint8_t>(draw() >> 24));
    else set.floats.push_back(static_cast<float>(draw()) * 0x1p-30f - 2);
  }
  return set;
}

// The samples on which both nets are compared: the test set. If it is missing and the model file describes the input: random inputs.
struct ComparedOn {
  Dataset set;
  bool is_data = true;
};

ComparedOn yardstick_of(const SavedModel& saved) {
  if (!saved.input) return {load_split(saved.recipe.data, false)};
  try {
    return {load_split(saved.recipe.data, false)};
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::data) throw;
    log_warning(fmt::format("{}\n  the outputs are compared on random inputs instead", e.what()));
  }
  const std::int64_t at_most = std::max<std::int64_t>(1, random_values / saved.input->sample.elements());
  return {random_inputs(*saved.input, std::min<std::int64_t>(256, at_most)), false};
}

int fold(const ToolRequest& request) {
  set_up_log(detect_terminal(fileno(stderr)), request.quiet);
  refuse_replacement(request.out, {config_name, model_name}, request.force);
  SavedModel saved = open_model(request.model);
  if (std::error_code ec; fs::equivalent(request.out, saved.weights.parent_path(), ec))
    throw Error(ErrorKind::usage,
                fmt::format("--out {} is the model's own folder, whose config.toml describes its net", request.out.string()));
  const ComparedOn yardstick = yardstick_of(saved);
  const Dataset& set = yardstick.set;
  Trainer trainer = load_trainer(saved, set.sample);
  const FoldedBatchNorms result = fold_batch_norms(trainer.unfused_graph(), trainer.model());
  if (result.folded.empty() && result.kept.empty()) nothing_to_do(saved, "the net has no batch norm");
  if (result.folded.empty()) {
    std::string why = "none of its batch norms can be folded";
    for (const FoldedBatchNorms::Kept& k : result.kept) why += fmt::format("\n  {}: {}", k.norm, k.reason);
    nothing_to_do(saved, why);
  }
  std::set<std::string> norms, biased;
  for (const FoldedBatchNorms::Folded& f : result.folded) norms.insert(f.norm), biased.insert(f.into);
  SavedModel folded{saved.weights, saved.recipe, result.model, saved.device, saved.input};
  folded.recipe.model = without_norms(saved.recipe.model, norms, biased);
  keep_metadata(saved.model, folded.model);
  if (!saved.input) write_model_input(model_input(saved.recipe.data, set), folded.model.metadata);
  Trainer without = load_trainer(folded, set.sample);
  // A group of folded norms alone would be refused.
  const std::vector<ParameterInfo> left = without.unfused_graph().parameters();
  std::erase_if(folded.recipe.train.groups, [&](const ParameterGroup& g) {
    return std::ranges::none_of(left, [&](const ParameterInfo& p) { return fits(g, p.name); });
  });
  Evaluation before, after;
  if (yardstick.is_data) before = trainer.evaluate(set), after = without.evaluate(set);
  const OutputDifference difference = largest_difference(trainer.predict(set), without.predict(set));
  make_folder(request.out, "the folder");
  const FolderLock lock(request.out);
  FileList files(request.out);
  files.write(model_name, encode_safetensors(folded.model, request.out / model_name));
  files.write(config_name, write_toml(folded.recipe));
  if (request.json) {
    ordered_json done = ordered_json::array(), kept = ordered_json::array();
    for (const FoldedBatchNorms::Folded& f : result.folded) done.push_back({{"norm", f.norm}, {"into", f.into}});
    for (const FoldedBatchNorms::Kept& k : result.kept) kept.push_back({{"norm", k.norm}, {"reason", k.reason}});
    print_result(json_document({{"model", (request.out / "model.safetensors").string()},
                                {"folded", done},
                                {"kept", kept},
                                {"before", yardstick.is_data ? to_json(before) : ordered_json()},
                                {"after", yardstick.is_data ? to_json(after) : ordered_json()},
                                {"compared_on", set.name},
                                {"largest_difference", difference.absolute},
                                {"largest_relative_difference", difference.relative}}));
    return 0;
  }
  std::string text;
  for (const FoldedBatchNorms::Folded& f : result.folded) text += fmt::format("folded     {} into {}\n", f.norm, f.into);
  for (const FoldedBatchNorms::Kept& k : result.kept) text += fmt::format("kept       {}: {}\n", k.norm, k.reason);
  if (yardstick.is_data) text += before_and_after(before, after);
  text += fmt::format("outputs    differ by {:.2g} at most, {:.2g} of the largest, over {}\n", difference.absolute, difference.relative,
                      yardstick.is_data ? fmt::format("{} samples of {}", set.size(), printable(set.name)) : set.name);
  text += fmt::format("model      {}\n", printable((request.out / "model.safetensors").string()));
  print_result(text);
  return 0;
}

}  // namespace

Command add_bn_recalibrate(CLI::App& norma) {
  auto request = std::make_shared<ToolRequest>();
  CLI::App& app = *norma.add_subcommand(
      "bn-recalibrate",
      "Recompute running statistics on the whole training set, layer by layer. Time grows with the square of the number of layers");
  add_flags(app, *request, "Output: a .safetensors file, or a folder, which also gets config.toml");
  app.add_option("--samples", request->samples, "Use the first N training samples; default all")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{1}, std::numeric_limits<std::int64_t>::max()));
  return {&app, [request] { return recalibrate(*request); }};
}

Command add_bn_fold(CLI::App& norma) {
  auto request = std::make_shared<ToolRequest>();
  CLI::App& app = *norma.add_subcommand("bn-fold", "Fold batch norms into the layers before them");
  add_flags(app, *request, "Folder for model.safetensors and config.toml");
  return {&app, [request] { return fold(*request); }};
}

}  // namespace norma::app
