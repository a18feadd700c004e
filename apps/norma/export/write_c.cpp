// norma export to C: the source, its check, and what int8 weights cost.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "apps/norma/export/check_c.h"
#include "apps/norma/export/writers.h"
#include "apps/norma/system/choices.h"
#include "apps/norma/system/figures.h"
#include "apps/norma/system/log.h"
#include "norma/c_source.h"
#include "norma/error.h"
#include "norma/predictor.h"
#include "norma/text.h"

namespace norma::app {
namespace {

using nlohmann::ordered_json;

// "my-net" becomes my_net.
std::string c_name_of(const std::filesystem::path& file) {
  std::string name = file.stem().string();
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) || static_cast<unsigned char>(c) > 127) c = '_';
  if (name.empty() || !std::isalpha(static_cast<unsigned char>(name[0]))) name = "net_" + name;
  return name.substr(0, 63);
}

double accuracy_of(const Module& net, const Checkpoint& model, const ModelInput& input, bool fold, const Dataset& set) {
  const Predictor predictor{net, model, {.input = input.sample, .sample_type = input.stored, .transform = input.transform, .fold = fold}};
  const std::vector<float> outputs = input.stored == DType::u8 ? predictor.predict(set.bytes) : predictor.predict(set.floats);
  const auto classes = static_cast<std::ptrdiff_t>(predictor.output().elements());
  std::int64_t right = 0;
  for (std::size_t i = 0; i < set.labels.size(); ++i) {
    const auto first = outputs.begin() + static_cast<std::ptrdiff_t>(i) * classes;
    right += std::max_element(first, first + classes) - first == set.labels[i];
  }
  return static_cast<double>(right) / static_cast<double>(set.labels.size());
}

struct Accuracies {
  std::string data;
  std::int64_t samples = 0;
  double with_float = 0, with_int8 = 0;
};

// Nothing where the model's test set is not at hand, which is said.
std::optional<Accuracies> accuracies(const ExportedModel& exported, const ModelExportRequest& request, const CSource& source) {
  try {
    const Dataset set = load_split(read_recipe(request.model, exported.weights).data, false);
    if (!(set.sample == exported.input.sample) || set.labels.empty())
      throw Error(ErrorKind::data, fmt::format("{} has other samples than the net, or no labels", set.name));
    return Accuracies{set.name, set.size(), accuracy_of(exported.net, exported.model, exported.input, request.fold.value_or(true), set),
                      accuracy_of(source.net, source.model, exported.input, false, set)};
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::data && e.kind() != ErrorKind::usage) throw;
    log_warning(fmt::format("{}\n  the accuracy of int8 weights is not measured", e.what()));
  }
  return {};
}

}  // namespace

ExportedFile write_c(const ExportedModel& exported, const ModelExportRequest& request) {
  static const std::vector<std::string> kinds{"float", "int8"};
  const bool int8 = choose("--weights", request.weights, kinds) == 1;
  const std::string name = request.name.empty() ? c_name_of(request.out) : request.name;
  const CSource source = c_source(exported.graph, exported.model, exported.input,
                                  {.name = name,
                                   .model = exported.weights.string(),
                                   .weights = int8 ? CWeights::int8 : CWeights::f32,
                                   .fold = request.fold.value_or(true),
                                   .floats = !request.with_transform.value_or(true)});
  for (const std::string& note : source.notes) log_info(note);
  ExportedFile file;
  file.bytes = source.text;
  const auto scratch_bytes = static_cast<std::int64_t>(sizeof(float)) * source.scratch_floats;
  file.lines = {{"function", source.declaration},
                {"parameters", std::to_string(source.parameters)},
                {"scratch", with_prefix(static_cast<double>(scratch_bytes), "B")},
                {"products", fmt::format("{} a sample", source.multiplications)}};
  file.json = {{"function", source.declaration},
               {"weights", request.weights},
               {"parameters", source.parameters},
               {"scratch_bytes", scratch_bytes},
               {"multiplications", source.multiplications},
               {"notes", source.notes}};
  if (!request.check) return file;
  const CheckedC checked = check_c(source.text, name);
  file.lines.emplace_back("check", fmt::format("{}: outputs of {:.3g} at most differ from norma's by {:.2g} at most", checked.compiler,
                                               checked.largest_output, checked.difference));
  file.json["check"] = {
      {"compiler", checked.compiler}, {"largest_output", checked.largest_output}, {"largest_difference", checked.difference}};
  if (!int8) return file;
  file.lines.emplace_back(
      "int8", fmt::format("outputs differ from those of float weights by {:.2g} at most", checked.difference_of_floats.value_or(0)));
  file.json["check"]["difference_from_float"] = checked.difference_of_floats.value_or(0);
  const std::optional<Accuracies> a = accuracies(exported, request, source);
  file.json["check"]["accuracy"] = nullptr;
  if (!a) return file;
  file.lines.emplace_back("accuracy",
                          fmt::format("{:.2f}% with float weights, {:.2f}% with int8 ({:+.2f}), {} samples of {}", 100 * a->with_float,
                                      100 * a->with_int8, 100 * (a->with_int8 - a->with_float), a->samples, printable(a->data)));
  file.json["check"]["accuracy"] = {{"data", a->data}, {"samples", a->samples}, {"float", a->with_float}, {"int8", a->with_int8}};
  return file;
}

}  // namespace norma::app
