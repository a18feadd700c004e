#include "apps/norma/run/training_run.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <future>
#include <nlohmann/json.hpp>

#include "apps/norma/draw/terminal_curve.h"
#include "apps/norma/events/scalars.h"
#include "apps/norma/files/folders.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/run/call_times.h"
#include "apps/norma/run/layer_table.h"
#include "apps/norma/run/model_input.h"
#include "apps/norma/run/resumed_recipe.h"
#include "apps/norma/run/run_directory.h"
#include "apps/norma/run/run_identity.h"
#include "apps/norma/system/figures.h"
#include "apps/norma/system/log.h"
#include "apps/norma/system/machine.h"
#include "apps/norma/system/signals.h"
#include "apps/norma/weights/initial_weights.h"
#include "norma/error.h"
#include "norma/loss.h"
#include "norma/text.h"

namespace norma::app {
namespace fs = std::filesystem;
namespace {

using nlohmann::ordered_json;

// The stem of a run's own folder: another run of the same second gets the next name (claim_folder).
fs::path default_out(const std::string& recipe) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return fmt::format("runs/{}-{:%Y%m%d-%H%M%S}", folder_name(recipe), local);
}

// The recipe of the run in a folder.
RecipeSource source_of(const RunDirectory& run) {
  return {printable(run.path().filename().string()), run.config(), (run.path() / "config.toml").string(), fs::absolute(run.path())};
}

class TrainingRun {
 public:
  TrainingRun(const TrainRequest& request, Recipe recipe, std::optional<RunDirectory> resumed, const TrainingPart* part = nullptr);
  int run();
  TrainingOutcome outcome(const std::string& divergence = {});  // after run(), why it diverged

 private:
  void say(const std::string& message) const {
    if (!part_) log_info(message);
  }
  void begin();
  void write_config(bool resumes);
  void go_on();
  void finish_epoch(const EpochMetrics& m);
  void saved();
  void save();
  std::string fault() const;
  void write_report(const std::string& status, bool failed, bool at_once = false);
  void draw_curve() const;
  void print_summary();
  bool asked_to_stop() const { return stop_signal() != 0 || (part_ && part_->stop && *part_->stop); }
  int stopped(int signal);
  [[noreturn]] void diverged(const Error& e);

  const TrainRequest& request_;
  const TrainingPart* part_;  // null: a run of its own
  Recipe recipe_;
  Environment environment_ = this_environment();
  std::optional<RunDirectory> run_;
  bool created_ = false;  // run_ was made here, not resumed
  std::shared_ptr<const DatasetPair> data_;
  std::shared_future<DataIdentity> data_identity_;  // of the data as they were loaded
  std::map<std::string, std::string> identity_;     // in every checkpoint, from the first on
  std::optional<Trainer> trainer_;
  std::int64_t told_ = 0;  // epochs whose results are recorded
  std::optional<HealthProbe> health_;
  ProgressDisplay progress_;
  ResultStream results_;
  std::optional<Unsaved> unsaved_;
  double samples_per_second_ = 0;   // at the last step
  double first_step_seconds_ = -1;  // from the process's start to the end of its first step
};

TrainingRun::TrainingRun(const TrainRequest& request, Recipe recipe, std::optional<RunDirectory> resumed, const TrainingPart* part)
    : request_(request),
      part_(part),
      recipe_(std::move(recipe)),
      run_(std::move(resumed)),
      progress_(request.progress, request.quiet, detect_terminal(fileno(stderr))) {}

// Everything that can be wrong is found here, before the first step; the run directory last, so that a failure leaves no trace.
void TrainingRun::begin() {
  // Refused at once, not after the data has been read.
  if (!run_ && !request_.out.empty()) RunDirectory::check(request_.out, request_.force);
  if (!run_ && request_.force) refuse_own_weights(recipe_.init.file, request_.out);
  std::optional<InitialWeights> weights;  // a checkpoint has them in it: their file may be gone
  if (run_ && recipe_.init.sha256.empty()) recipe_.init.sha256 = parse_recipe(source_of(*run_)).init.sha256;
  if (!recipe_.init.file.empty() && !(run_ && run_->has_checkpoint())) weights = read_initial_weights(recipe_.init);
  const Device device = part_ ? Device::parse(recipe_.device.kind) : choose_device(recipe_.device.kind, executor_options(recipe_.device));
  data_ = part_ ? part_->data : std::make_shared<const DatasetPair>(load_data(recipe_.data));
  // A large set is read during the first epoch.
  const auto when = data_->train.bytes.size() + data_->test.bytes.size() > (1 << 22) ? std::launch::async : std::launch::deferred;
  data_identity_ = std::async(when, [data = data_, section = recipe_.data] { return data_identity(section, *data); }).share();
  say(fmt::format("data: {} ({}): {} training and {} test samples {}, {} classes", name_of(recipe_.data.source), data_->source,
                  data_->train.size(), data_->test.size(), to_string(data_->train.sample), data_->train.classes.size()));
  trainer_.emplace(build_model(recipe_.model), trainer_options(recipe_, data_->train.sample, device));
  say(fmt::format("model: {} parameters in {} nodes", trainer_->parameter_count(), trainer_->graph().nodes.size()));
  if (weights) load_initial_weights(*trainer_, *weights, recipe_.init, !part_);
  if (request_.verbose)
    std::fputs(layer_table(trace(Module(build_model(recipe_.model)), trainer_->graph().nodes.front().shape)).c_str(), stderr);
  environment_.data = fmt::format("{} ({}): {} + {} samples {}, {} classes", name_of(recipe_.data.source), data_->source,
                                  data_->train.size(), data_->test.size(), to_string(data_->train.sample), data_->train.classes.size());
  environment_.device = trainer_->device_description();
  environment_.threads = recipe_.device.threads > 0 ? static_cast<int>(recipe_.device.threads) : environment_.cores;
  const bool resumes = run_.has_value();
  if (!resumes)
    run_ = RunDirectory::create(request_.out.empty() ? claim_folder(default_out(recipe_.name), "the run directory") : request_.out,
                                request_.force);
  created_ = !resumes;
  const fs::path out = run_->path();
  if (resumes) go_on();
  if (recipe_.train.epochs < trainer_->epochs_done())
    throw Error(ErrorKind::usage,
                fmt::format("--epochs {}: the run in {} has done {} already", recipe_.train.epochs, out.string(), trainer_->epochs_done()));
  if (recipe_.train.health) health_.emplace(*trainer_, data_->train, recipe_.train.batch_size, recipe_.train.groups);
  write_config(resumes);
  run_->write_environment(environment_);
  say("run: " + out.string());
}

// A config.toml that says the same in a user's words stays as it is.
void TrainingRun::write_config(bool resumes) {
  const std::string toml = write_toml(recipe_);
  if (resumes && run_->config() != toml && write_toml(parse_recipe(source_of(*run_))) == toml) return;
  if (const fs::path kept = run_->write_config(toml); !kept.empty())
    say(fmt::format("config.toml was edited: the edited file is kept as {}", kept.string()));
}

void TrainingRun::go_on() {
  const std::optional<RunDirectory::Saved> saved = run_->load();
  if (!saved) {
    run_->keep_epochs(0);
    say("the run ended before its first checkpoint; it begins again");
    return;
  }
  const fs::path file = run_->path() / "training.safetensors";
  check_identity(saved->training.metadata, recipe_, data_identity_.get(), trainer_->unfused_graph(), file,
                 (part_ ? run_->path().parent_path().parent_path() / "comparison.toml" : run_->path() / "config.toml").string());
  if (const std::string found = first_fault(saved->model); !found.empty())  // save() writes no such
    throw Error(ErrorKind::data, fmt::format("{}: model.{}: the file is damaged; put a copy back, or train anew", file.string(), found));
  try {
    trainer_->load_model(saved->model);
    trainer_->load_training(saved->training);
  } catch (const Error& e) {
    throw Error(e.kind(), file.string() + ": " + e.what());
  }
  told_ = trainer_->epochs_done();
  run_->keep_epochs(trainer_->epochs_done());
  say(fmt::format("resumed after {} epochs, {} steps", trainer_->epochs_done(), trainer_->steps_done()));
}

std::string TrainingRun::fault() const {
  const std::string of_model = first_fault(trainer_->model());
  return of_model.empty() ? first_fault(trainer_->training()) : of_model;
}

// Nothing that is not finite takes the place of a checkpoint that is.
void TrainingRun::save() {
  Checkpoint model = trainer_->model(), training = trainer_->training();
  for (const Checkpoint* c : {&model, &training})
    if (const std::string found = first_fault(*c); !found.empty())
      throw Error(ErrorKind::diverged, fmt::format("training diverged: after step {} {}", trainer_->steps_done(), found));
  write_model_input(model_input(recipe_.data, data_->train), model.metadata);
  if (identity_.empty()) identity_ = identity_metadata(recipe_, data_identity_.get(), trainer_->unfused_graph());
  training.metadata.insert(identity_.begin(), identity_.end());
  run_->save(model, training);
}

// The epoch's lines go first, then the checkpoint (run_directory.h says why), then the output.
void TrainingRun::finish_epoch(const EpochMetrics& m) {
  const bool last = m.epoch == recipe_.train.epochs || asked_to_stop();
  run_->append(m, environment_.device);
  const bool logged = last || m.epoch % recipe_.train.log_every == 0;
  std::vector<Scalar> scalars = scalars_of(m);
  if (logged && health_) {
    const EpochHealth health = health_->look(m.epoch);
    run_->append(health);
    const std::vector<Scalar> of_health = scalars_of(health);
    scalars.insert(scalars.end(), of_health.begin(), of_health.end());
  }
  if (recipe_.train.tensorboard) run_->append(m.epoch, scalars);
  if (last || m.epoch % recipe_.train.save_every == 0) save();
  told_ = m.epoch;
  if (logged) progress_.epoch(m, recipe_.train.epochs);
  if (request_.json) results_.print(json_document(to_json(m, environment_.device)));
}

int TrainingRun::run() {
  begin();
  const auto hold = [&] {  // from the first step on: before it a deep net's Plans are made, with nothing to save
    if (!unsaved_) unsaved_.emplace();
  };
  FitOptions fit;
  fit.epochs = recipe_.train.epochs;
  fit.on_step = [&](const Progress& p) {
    hold();
    if (first_step_seconds_ < 0) first_step_seconds_ = seconds_since_process_start();
    samples_per_second_ = p.samples_per_second;
    progress_.step(p);
    return !asked_to_stop();
  };
  fit.on_epoch = [&](const EpochMetrics& m) { hold(), finish_epoch(m); };
  fit.go_on = [&] { return !asked_to_stop(); };
  bool whole = false;
  try {
    whole = trainer_->fit(*data_, fit);
  } catch (const Error& e) {
    progress_.clear();
    if (e.kind() == ErrorKind::diverged) diverged(e);
    if (created_ && trainer_->steps_done() == 0) run_->leave_no_trace();
    throw;
  }
  progress_.clear();
  if (!whole) return stopped(stop_signal());
  saved();
  write_report("finished", false, stop_signal() != 0);
  if (!part_) {
    draw_curve();
    print_summary();
  }
  results_.check();
  return stop_signal() ? 128 + stop_signal() : 0;
}

// A signal ends the process at once from here on.
void TrainingRun::saved() {
  if (!part_) say_on_signal("the run is saved, its report is not written");
  unsaved_.reset();
}

TrainingOutcome TrainingRun::outcome(const std::string& divergence) {
  TrainingOutcome o;
  o.detail = divergence;
  for (const RecordedEpoch& e : run_->epochs()) o.epochs.push_back(e.metrics);
  o.health = run_->health();
  if (!divergence.empty()) o.status = TrainingOutcome::Status::diverged;
  else if (trainer_->epochs_done() < recipe_.train.epochs) o.status = TrainingOutcome::Status::stopped;
  else if (part_->evaluate_training) o.training_loss = trainer_->evaluate(data_->train).loss;
  return o;
}

int TrainingRun::stopped(int signal) {
  try {
    save();
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::diverged) throw;
    diverged(e);
  }
  saved();
  write_report(fmt::format("stopped at step {} by a signal", trainer_->steps_done()), false, true);
  say(fmt::format("stopped after step {} and saved; resume with: norma train --resume --out {}", trainer_->steps_done(),
                  shell_word(run_->path().string())));
  return 128 + signal;
}

void TrainingRun::diverged(const Error& e) {
  const std::string out = printable(run_->path().string());
  std::string message = e.what();
  // After an epoch that was trained but not told of, it is its results that are not finite.
  const bool good = trainer_->epochs_done() == told_ && fault().empty();
  if (good) save();
  message += fmt::format(fmt::runtime(good                     ? "\n  the last good state, after step {1}, is in {0}"
                                      : run_->has_checkpoint() ? "\n  the last checkpoint in {0} is as it was"
                                                               : "\n  there is no checkpoint in {0}: none was made before"),
                         out, trainer_->steps_done());
  if (message.find("nothing was learned yet") == std::string::npos)  // else no other rate would help
    message += fmt::format("; this run's learning rate was {}: try --lr {:.2g}", learning_rate(recipe_.optimizer),
                           learning_rate(recipe_.optimizer) / 10);
  saved();
  write_report(e.what(), true);
  throw Error(ErrorKind::diverged, message);
}

// at_once: somebody waits for the end, so what would take longer than a moment is left out.
void TrainingRun::write_report(const std::string& status, bool failed, bool at_once) {
  if (part_) return;
  constexpr double moment = 0.15;
  const bool quick = !at_once || static_cast<double>(data_->test.size()) < moment * samples_per_second_;
  RunReport r;
  r.recipe = recipe_.name;
  r.description = recipe_.description;
  r.status = status;
  r.failed = failed;
  r.epochs_planned = recipe_.train.epochs;
  r.log_loss = recipe_.train.log_loss;
  for (const RecordedEpoch& e : run_->epochs()) r.epochs.push_back(e.metrics);
  r.parameter_count = trainer_->parameter_count();
  r.facts = {{"Data", fmt::format("{}, {} + {} samples", name_of(recipe_.data.source), data_->train.size(), data_->test.size())}};
  r.config = write_toml(recipe_);
  r.environment = environment_;
  r.model = trainer_->model();
  r.health = run_->health();
  r.plan = describe(trainer_->plan(Mode::train));
  r.memory = memory(trainer_->plan(Mode::train));
  if (!failed) r.scatter = scatter_of(*data_, *trainer_);
  if (first_fault(r.model).empty() && quick)
    r.test = classification_of(data_->test, *trainer_, std::holds_alternative<CrossEntropy>(recipe_.loss));
  if (!failed) time_calls(r, *trainer_, data_->train, recipe_.train.batch_size, at_once ? moment : INFINITY);
  run_->write_report(report_html(r), curves_svg(r));
}

// Test accuracy by epoch, or the training loss without a test set, for whoever looks on.
void TrainingRun::draw_curve() const {
  const Terminal terminal = detect_terminal(fileno(stderr));
  if (!terminal.interactive || request_.quiet || request_.json || request_.progress == ProgressMode::never) return;
  std::vector<double> accuracy, loss;
  for (const RecordedEpoch& e : run_->epochs()) {
    loss.push_back(e.metrics.train_loss);
    accuracy.push_back(e.metrics.test_accuracy.value_or(NAN));
  }
  const std::string curve = data_->test.size() > 0 ? text_curve("test accuracy by epoch", accuracy, CurveUnit::share, terminal.columns)
                                                   : text_curve("train loss by epoch", loss, CurveUnit::number, terminal.columns);
  std::fputs(curve.c_str(), stderr);
}

void TrainingRun::print_summary() {
  const std::vector<RecordedEpoch> epochs = run_->epochs();
  const std::string out = run_->path().string();
  if (epochs.empty()) throw Error(ErrorKind::data, out + "/metrics.jsonl has no epoch of this run");
  const EpochMetrics& last = epochs.back().metrics;
  if (request_.json) {
    ordered_json j{{"final", true}};
    j.update(to_json(last, environment_.device));
    if (first_step_seconds_ >= 0) j["first_step_seconds"] = first_step_seconds_;
    j["parameters"] = trainer_->parameter_count();
    j["run_directory"] = out;
    j["pictures"] = {out + "/report.html", out + "/curves.svg"};
    results_.print(json_document(j));
    return;
  }
  double seconds = 0, training = 0, samples = 0;
  for (const RecordedEpoch& e : epochs) {
    seconds += e.metrics.seconds, training += e.metrics.train_seconds;
    samples += e.metrics.train_seconds * e.metrics.samples_per_second;
  }
  std::string text;
  if (last.test_accuracy)
    text += fmt::format("test accuracy  {:.2f}%  ({} samples, loss {})\n", 100 * *last.test_accuracy, data_->test.size(),
                        short_loss(last.test_loss.value_or(NAN)));
  text += fmt::format("train accuracy {:.2f}%  (loss {}, over the last epoch)\n", 100 * last.train_accuracy, short_loss(last.train_loss));
  text += fmt::format("trained        {} epoch{} in {}, {} samples/s, {}\n", epochs.size(), epochs.size() == 1 ? "" : "s",
                      short_duration(seconds), short_count(training > 0 ? samples / training : 0), environment_.device);
  text += fmt::format("parameters     {}, hash {}\n", trainer_->parameter_count(), last.parameters_hash);
  text += fmt::format("run directory  {}\n", printable(out));
  text += fmt::format("pictures       {0}/report.html  {0}/curves.svg\n", printable(out));
  results_.print(text);
}

}  // namespace

TrainingOutcome run_part(const Recipe& recipe, const TrainingPart& part) {
  TrainRequest request;
  request.out = part.out;
  request.quiet = true;
  request.progress = ProgressMode::never;
  std::optional<RunDirectory> begun;
  if (std::error_code error; fs::exists(part.out / "config.toml", error)) begun = RunDirectory::open(part.out);
  TrainingRun run(request, recipe, std::move(begun), &part);
  try {
    run.run();
    return run.outcome();
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::diverged) throw;
    return run.outcome(e.what());
  }
}

int run_training(const TrainRequest& request) {
  set_up_log(detect_terminal(fileno(stderr)), request.quiet);
  watch_signals(request.resume ? "the run is as it was" : "nothing was trained yet");
  if (!request.resume) return TrainingRun(request, parse_recipe(find_recipe(request.recipe), request.overrides), {}).run();
  RunDirectory run = RunDirectory::open(request.out);
  Recipe recipe = resumed_recipe(source_of(run), request.overrides);
  if (!request.recipe.empty()) compare_with_named(request.recipe, recipe, request.out);
  return TrainingRun(request, std::move(recipe), std::move(run)).run();
}

}  // namespace norma::app
