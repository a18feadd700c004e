// norma predict: what a saved model says of pictures.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "apps/norma/commands.h"
#include "apps/norma/draw/picture_input.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/report/classification.h"
#include "apps/norma/run/saved_model.h"
#include "apps/norma/system/choices.h"
#include "apps/norma/system/log.h"
#include "norma/error.h"
#include "norma/loss.h"
#include "norma/text.h"

namespace norma::app {
namespace {

namespace fs = std::filesystem;

struct PredictRequest {
  SavedModelRequest model;
  std::vector<fs::path> images;
  std::int64_t top = 3;
  Invert invert = Invert::automatic;
  bool json = false, quiet = false;
};

bool has_dark_ground(const std::string& data) {
  return std::ranges::any_of(data_sources, [&](const DataSource& s) { return s.dark_ground && data == s.name; });
}

// The classes, the likeliest first.
std::vector<std::size_t> ranking(const std::vector<double>& scores) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  return order;
}

int run(const PredictRequest& request) {
  set_up_log(detect_terminal(fileno(stderr)), request.quiet);
  const SavedModel saved = open_model(request.model);
  const ModelInput of = saved.input ? *saved.input : input_of(saved.recipe.data, saved.weights);
  Dataset set;
  set.name = "pictures";
  set.sample = of.sample;
  set.classes = of.classes;
  if (of.sample.rank() != 3 || (of.sample[0] != 1 && of.sample[0] != 3) || of.stored != DType::u8)
    throw Error(ErrorKind::usage, fmt::format("{} was trained on {}, whose samples {} are no pictures: norma predict takes nets of images",
                                              saved.weights.string(), of.data, to_string(of.sample)));
  // All are read before anything is said of one.
  const bool dark_ground = has_dark_ground(of.data);
  for (const fs::path& file : request.images) {
    const ImageInput input = image_input(read_picture(file), set.sample, request.invert, dark_ground);
    log_info(fmt::format("{}: {}", file.string(), input.done));
    set.bytes.insert(set.bytes.end(), input.bytes.begin(), input.bytes.end());
    set.labels.push_back(0);
  }
  Trainer trainer = load_trainer(saved, set.sample);
  const std::vector<float> outputs = [&] {
    try {
      return trainer.predict(set);
    } catch (const Error& e) {
      throw Error(e.kind(), fmt::format("{}: {}", saved.weights.string(), e.what()));
    }
  }();
  const std::size_t classes = outputs.size() / request.images.size();
  const bool probabilities = std::holds_alternative<CrossEntropy>(saved.recipe.loss);
  const auto name = [&](std::size_t c) { return c < set.classes.size() ? set.classes[c] : std::to_string(c); };
  std::string text;
  for (std::size_t i = 0; i < request.images.size(); ++i) {
    const std::span<const float> y(outputs.data() + i * classes, classes);
    const std::vector<double> scores = class_scores(y, probabilities);
    std::vector<std::size_t> best = ranking(scores);
    best.resize(std::min(best.size(), static_cast<std::size_t>(request.top)));
    if (request.json) {
      nlohmann::ordered_json predictions = nlohmann::ordered_json::array();
      for (const std::size_t c : best)
        predictions.push_back({{"class", name(c)}, {"index", c}, {probabilities ? "probability" : "output", scores[c]}});
      text += json_document({{"image", request.images[i].string()}, {"predictions", predictions}});
      continue;
    }
    text += printable(request.images[i].string());
    for (const std::size_t c : best)
      text += probabilities ? fmt::format("  {} {:.2f}%", printable(name(c)), 100 * scores[c])
                            : fmt::format("  {} {:.4g}", printable(name(c)), scores[c]);
    text += "\n";
  }
  print_result(text);
  return 0;
}

}  // namespace

Command add_predict(CLI::App& norma) {
  auto request = std::make_shared<PredictRequest>();
  CLI::App& app = *norma.add_subcommand("predict", "Classify pictures with a saved model");
  add_saved_model_flags(app, request->model);
  app.add_option("image", request->images, "PNG files of any size and kind; if one cannot be read, nothing is printed (exit code 3)")
      ->required();
  app.add_option("--top", request->top, "Classes to print of each picture, the likeliest first")
      ->type_name("N")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option_function<std::string>(
         "--invert",
         [request](const std::string& when) {
           const std::string known[] = {"auto", "always", "never"};
           request->invert = static_cast<Invert>(choose("--invert", when, known));
         },
         "Invert grey pictures: auto (where the border is bright and the set's are dark: mnist, fashion-mnist, digits), always or never")
      ->type_name("WHEN");
  app.add_flag("--json", request->json, "One JSON object an image on stdout");
  app.add_flag("--quiet", request->quiet, "Show only warnings");
  return {&app, [request] { return run(*request); }};
}

}  // namespace norma::app
