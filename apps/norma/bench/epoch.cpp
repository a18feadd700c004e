// norma bench epoch: a recipe's whole epochs as norma train runs them. Also whole runs of it, from a process's start to its exit.
#include <fmt/format.h>

#include <chrono>
#include <filesystem>

#include "apps/norma/bench/bench.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/files/process.h"
#include "apps/norma/system/log.h"
#include "apps/norma/system/terminal.h"
#include "norma/checkpoint.h"
#include "norma/files.h"

namespace norma::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

// Runs this program with these arguments, its output in files; the seconds from its start to its exit. Throws Error with its last words if
// it fails.
double run_norma(std::vector<std::string> arguments, const fs::path& out, const fs::path& err) {
  const std::string program = fs::read_symlink("/proc/self/exe").string();
  arguments.insert(arguments.begin(), program);
  const std::optional<FinishedProcess> finished = run_process(arguments, out, err);
  if (!finished) throw Error(ErrorKind::failure, fmt::format("cannot run {}: it is gone", program));
  if (finished->exit_code != 0) throw Error(ErrorKind::failure, fmt::format("norma {} failed: {}", arguments[1], read_file(err)));
  return finished->seconds;
}

// Whole runs of the recipe, as `norma train` in a process of its own. Each must end with these parameters.
std::vector<double> time_processes(const Recipe& recipe, std::int64_t runs, const std::string& hash) {
  std::vector<double> seconds;
  for (std::int64_t r = 0; r < runs; ++r) {
    log_info(fmt::format("run {} of {} in a new process", r + 1, runs));
    const TemporaryFolder folder;
    const fs::path config = folder / "recipe.toml", out = folder / "stdout";
    write_file(config, write_toml(recipe));
    seconds.push_back(run_norma({"train", config, "--out", folder / "run", "--json", "--quiet"}, out, folder / "stderr"));
    const std::string printed = read_file(out);
    if (printed.find("\"parameters_hash\": \"" + hash) == std::string::npos &&
        printed.find("\"parameters_hash\":\"" + hash) == std::string::npos)
      throw Error(ErrorKind::verification, "norma train ended with other parameters than the same epochs here, whose hash is " + hash);
  }
  return seconds;
}

struct PhaseRow {
  const char* name;
  double EpochMetrics::*seconds;
};
constexpr PhaseRow phases[] = {
    {"training", &EpochMetrics::train_seconds}, {"evaluation", &EpochMetrics::evaluation_seconds}, {"epoch", &EpochMetrics::seconds}};

Summary after_first(const std::vector<EpochMetrics>& epochs, double EpochMetrics::*seconds) {
  std::vector<double> values;
  for (std::size_t i = 1; i < epochs.size(); ++i) values.push_back(epochs[i].*seconds);
  return summarise(std::move(values));
}

constexpr const char* epoch_notes =
    "median, least, +- (distance of the quartiles): over the epochs after the first.\n"
    "The first makes Plans, copies the data to the device and, on a GPU, loads\n"
    "kernels and captures graphs. epoch: training, evaluation, parameters' hash.\n";

}  // namespace

int bench_epoch(const EpochRequest& request) {
  set_up_log(detect_terminal(fileno(stderr)), request.quiet);
  Recipe recipe = parse_recipe(find_recipe(request.recipe), request.overrides);
  const std::int64_t epochs = recipe.train.epochs;
  if (epochs < 2) throw Error(ErrorKind::usage, fmt::format("--epochs {}: the first is not counted, give at least 2", epochs));
  Clock::time_point start = Clock::now();
  const auto since_start = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  const Device device = bench_device(recipe.device.kind, recipe.device.threads != 0, recipe.device.isa);
  recipe.device.kind = to_string(device);
  const double device_seconds = since_start();
  start = Clock::now();
  const DatasetPair data = load_data(recipe.data);
  const double data_seconds = since_start();
  start = Clock::now();
  Trainer trainer(build_model(recipe.model), trainer_options(recipe, data.train.sample, device));
  const double start_up = since_start();
  trainer.fit(data, {.epochs = epochs});
  const std::vector<EpochMetrics>& history = trainer.history();
  const EpochMetrics& last = history.back();
  const std::vector<double> processes = time_processes(recipe, request.runs, last.parameters_hash);

  if (request.json) {
    ordered_json j{{"recipe", recipe.name},
                   {"device", trainer.device_description()},
                   {"batch", recipe.train.batch_size},
                   {"epochs", epochs},
                   {"device_seconds", device_seconds},
                   {"data_seconds", data_seconds},
                   {"start_up_seconds", start_up}};
    for (const PhaseRow& r : phases) {
      j[std::string("first_") + r.name + "_seconds"] = history[0].*r.seconds;
      j[std::string(r.name) + "_seconds"] = to_json(after_first(history, r.seconds));
    }
    j["train_loss"] = last.train_loss;
    if (last.test_accuracy) j["test_accuracy"] = *last.test_accuracy;
    j["parameters_hash"] = last.parameters_hash;
    j["process_seconds"] = processes.empty() ? ordered_json(nullptr) : to_json(summarise(processes));
    print_result(json_document(j));
    return 0;
  }
  std::string out =
      fmt::format("{}: {}\n  batch {}, {} epochs, {} training samples, {} test samples\n{}", recipe.name, trainer.device_description(),
                  recipe.train.batch_size, epochs, data.train.size(), data.test.size(), epoch_notes);
  out += fmt::format("{:<14}{:>12}{:>12}{:>12}{:>7}\n", "ms", "first", "median", "least", "+-");
  for (const PhaseRow& r : phases) {
    const Summary s = after_first(history, r.seconds);
    out += fmt::format("{:<14}{:>12.2f}{:>12.2f}{:>12.2f}{:>6.0f}%\n", r.name, history[0].*r.seconds * 1e3, s.median * 1e3, s.least * 1e3,
                       100 * s.spread());
  }
  out += fmt::format("before: waking the device {:.0f} ms, reading the data {:.0f} ms, compiling {:.0f} ms\n", device_seconds * 1e3,
                     data_seconds * 1e3, start_up * 1e3);
  if (last.test_accuracy) out += fmt::format("test accuracy {:.2f}%, parameters {}\n", 100 * *last.test_accuracy, last.parameters_hash);
  if (!processes.empty()) {
    const Summary s = summarise(processes);
    out += fmt::format("norma train, from the process's start to its exit: {:.2f} s (least {:.2f}, of {})\n", s.median, s.least, s.count);
  }
  print_result(out);
  return 0;
}

}  // namespace norma::app
