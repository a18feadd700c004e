// A Trainer's refusals before it computes anything: options, data sets, schedules, calls at the wrong time.
#include <algorithm>
#include <cmath>

#include "norma/error.h"
#include "norma/loss.h"
#include "norma/text.h"
#include "src/data/label_range.h"
#include "src/plan/lower.h"
#include "src/train/saved_counters.h"
#include "src/train/trainer_state.h"

namespace norma {

DType checked(const TrainerOptions& options) {
  if (options.batch <= 0) throw Error(ErrorKind::usage, "batch must be at least 1, got " + std::to_string(options.batch));
  const DType stored = stored_type(options.input, options.sample_type);
  // A net is traced, and its elements are counted, after the samples are resized.
  double elements = static_cast<double>(options.batch);
  for (const std::int64_t d : options.input) elements *= static_cast<double>(d);
  if (options.transform.resize && elements > 0x1p52)
    throw Error(ErrorKind::usage,
                "input " + to_string(options.input) + " in batches of " + std::to_string(options.batch) + " has more than 2^52 elements");
  if (options.total_steps < 0 || options.steps_per_epoch < 0)
    throw Error(ErrorKind::usage, "total_steps and steps_per_epoch must not be negative, got " + std::to_string(options.total_steps) +
                                      " and " + std::to_string(options.steps_per_epoch));
  validate(options.device, options.executor);
  validate(options.optimizer);
  validate(options.clip);
  validate(options.schedule);
  if (const auto* ce = std::get_if<CrossEntropy>(&options.loss); ce && !(ce->label_smoothing >= 0 && ce->label_smoothing <= 1))
    throw Error(ErrorKind::usage, "label_smoothing must lie in 0..1, got " + std::to_string(ce->label_smoothing));
  else if (ce && !fits_float(ce->label_smoothing))
    throw Error(ErrorKind::usage, "label_smoothing must be 0 or fit a float, got " + in_short(ce->label_smoothing));
  return stored;
}

void Trainer::State::check(const DatasetView& data, bool labelled) const {
  refuse_network();
  const auto fail = [&](const std::string& message) { throw Error(ErrorKind::usage, "data set " + printable(data.name) + ": " + message); };
  const bool no_values = data.bytes.empty() && data.floats.empty(), against_targets = takes_targets(options.loss);
  const bool one_hot = std::holds_alternative<MeanSquared>(options.loss) && data.targets.empty();
  if (data.labels.empty() && no_values) throw Error(ErrorKind::data, "data set " + printable(data.name) + " is empty");
  if (labelled && against_targets && !one_hot && data.targets.empty())
    throw Error(ErrorKind::data, "data set " + printable(data.name) + " has no targets, and the loss is against them: Dataset::targets");
  if (labelled && data.labels.empty() && (!against_targets || one_hot))
    throw Error(ErrorKind::data, "data set " + printable(data.name) + " has samples but no labels" + (one_hot ? " or targets" : "") +
                                     ": only predict does without");
  if (!(data.sample == options.input)) fail("samples are " + to_string(data.sample) + ", the net was made for " + to_string(options.input));
  if (!data.bytes.empty() && !data.floats.empty()) fail("it holds both bytes and floats: leave those empty that are not the samples");
  const bool bytes = stored == DType::u8;
  const std::size_t given = bytes ? data.bytes.size() : data.floats.size();
  if (given == 0 && !no_values)
    fail(bytes ? "its samples are floats and the net was made for bytes: set TrainerOptions::sample_type = DType::f32"
               : "its samples are bytes and the net was made for floats: set TrainerOptions::sample_type = DType::u8");
  const auto wanted = static_cast<std::size_t>(data.sample.prepend(data.size()).elements());
  if (given != wanted)
    fail(std::string(bytes ? "bytes" : "floats") + " hold " + std::to_string(given) + " values, " + std::to_string(data.size()) +
         " samples need " + std::to_string(wanted));
  if (against_targets && !data.targets.empty()) {  // labels do not count
    const auto wanted_targets = static_cast<std::size_t>(data.size() * output_elements());
    if (labelled && data.targets.size() != wanted_targets)
      fail("targets hold " + std::to_string(data.targets.size()) + " values, " + std::to_string(data.size()) + " samples need " +
           std::to_string(wanted_targets) + ", the net's output being " + to_string((*graph)[graph->outputs[0]].shape));
    check_features(data);
    return;
  }
  if (labelled && one_hot) check_output(*graph);
  const std::int64_t classes = output_elements();
  const auto* ce = std::get_if<CrossEntropy>(&options.loss);
  for (std::size_t i = 0; i < data.labels.size(); ++i)
    if (const std::int32_t label = data.labels[i]; (label < 0 || label >= classes) && !(ce && label == ce->ignore_index))
      throw Error(ErrorKind::data, "data set " + printable(data.name) + ": label " + std::to_string(label) + " of sample " +
                                       std::to_string(i) + " is outside 0.." + std::to_string(classes - 1) +
                                       ", the classes of the net's output" + label_range(data.labels));
  check_features(data);
}

void Trainer::State::check_training(const DatasetView& train, std::int64_t epochs) const {
  if (epochs < 0) throw Error(ErrorKind::usage, "epochs must not be negative, got " + std::to_string(epochs));
  constexpr std::int64_t most_steps = std::int64_t{1} << 53;
  if (const std::int64_t batches = std::max<std::int64_t>(1, EpochBatches(train.size(), options).count()); epochs > most_steps / batches)
    throw Error(ErrorKind::usage, "epochs must leave at most 2^53 steps in all, got " + std::to_string(epochs) + " epochs of " +
                                      std::to_string(batches) + " batches");
  require_trained();
  if (options.total_steps && epochs > epochs_done) {
    const kernels::StepState at = counters();
    const std::int64_t end = at.step - at.batch + (epochs - epochs_done) * EpochBatches(train.size(), options).count();
    if (end > options.total_steps)
      throw Error(ErrorKind::usage, "total_steps is " + std::to_string(options.total_steps) + ", and training for " +
                                        std::to_string(epochs) + " epochs ends at step " + std::to_string(end));
  }
  const bool laid_out =
      options.total_steps == 0 && (options.schedule.kind == Schedule::Kind::cosine || options.schedule.kind == Schedule::Kind::one_cycle);
  if (laid_out && schedule_epochs && epochs_done > 0 && epochs > epochs_done && epochs != schedule_epochs)
    throw Error(ErrorKind::usage, "the schedule was laid out for " + std::to_string(schedule_epochs) +
                                      " epochs in total, this fit is for " + std::to_string(epochs) +
                                      ": give the same total, and stop in between by on_step");
  check_classes(train);
}

void Trainer::State::require_trained() const {
  if (std::ranges::all_of(parameters, [](const ParameterInfo& p) { return p.buffer; }))
    throw Error(ErrorKind::usage, "the net has no parameters: there is nothing to train");
  if (!std::ranges::all_of(parameters, [&](const ParameterInfo& p) { return p.buffer || rule_of(options.groups, p.name).frozen(); }))
    return;
  const auto last =
      std::ranges::find_if(options.groups.rbegin(), options.groups.rend(), [](const ParameterGroup& g) { return g.rate == 0; });
  throw Error(ErrorKind::usage, begin_of_error(*last) + "the groups freeze all parameters: there is nothing to train");
}

void Trainer::State::check_classes(const DatasetView& data) const {
  if (takes_targets(options.loss) && !data.targets.empty()) return;
  const std::int64_t outputs = output_elements();
  const auto named = static_cast<std::int64_t>(data.classes.size());
  if (!takes_targets(options.loss)) {
    if (named > outputs)
      throw Error(ErrorKind::usage, "data set " + printable(data.name) + " has " + std::to_string(named) + " classes and the net " +
                                        std::to_string(outputs) + " outputs: the loss needs one for each class");
    return;
  }
  const std::int64_t classes = named ? named : std::int64_t{*std::max_element(data.labels.begin(), data.labels.end())} + 1;
  if (classes != outputs)
    throw Error(ErrorKind::usage, "data set " + printable(data.name) + " has " + std::to_string(classes) + " classes and the net " +
                                      std::to_string(outputs) +
                                      " outputs: MeanSquared trains towards the label's column, one for each class; where the set has not "
                                      "all its labels, name them in Dataset::classes");
}

void Trainer::State::refuse_within_step(const char* what) const {
  if (within_step)
    throw Error(ErrorKind::usage, std::string(what) + " cannot run within on_step, in the middle of an epoch: let it stop the fit first");
  refuse_within_evaluation(what);
}

void Trainer::State::refuse_within_evaluation(const char* what) const {
  if (within_run)
    throw Error(ErrorKind::usage,
                std::string(what) + " cannot run within a loss or an operation of the same Trainer, in the middle of a step");
  if (within_evaluation)
    throw Error(ErrorKind::usage,
                std::string(what) + " cannot run within go_on, in the middle of an evaluation: let it stop the fit first, or use on_epoch");
}

std::string Trainer::State::remedy(std::int64_t steps) const {
  if (steps == 0 && norma::first_fault(saved_model()).empty())  // no learning rate has had a part in it
    return "; nothing was learned yet: the input or the initial weights give values beyond float: scale the input (mean and std of the "
           "transform), or begin with smaller weights";
  const bool without_eps = std::visit(
      [](const auto& o) {
        if constexpr (requires { o.eps; }) return o.eps == 0;
        else return false;
      },
      options.optimizer);
  if (!without_eps) return "; try a lower learning rate";
  return std::string("; give ") + name_of(options.optimizer) + " an eps above 0: without one a gradient of 0 divides 0 by 0";
}

ValueId Trainer::State::readable(std::string_view name) const {
  const auto outlives_step = [](const PlanValue& v) {
    return v.dtype != DType::bytes && v.region != Region::data && v.region != Region::activations && v.region != Region::pack;
  };
  if (base->has(name) && outlives_step((*base)[id(name)])) {
    if ((*base)[id(name)].region == Region::gradients && !has_gradients)
      throw Error(ErrorKind::usage, "\"" + printable(name) + "\" is of the last step, and this Trainer has run none");
    return id(name);
  }
  const std::vector<Node> nodes = network ? graph->nodes : unfused(std::min(options.batch, base_batch)).nodes;
  if (base->has(name) || std::any_of(nodes.begin(), nodes.end(), [&](const Node& n) { return n.path == name; }))
    throw Error(ErrorKind::usage, "\"" + printable(name) +
                                      "\" is not kept after a step, which uses its memory again: Trainer::observe reads activations, read "
                                      "gives parameters, buffers and gradients");
  std::vector<std::string> known;
  for (const auto& [text, value] : base->names)
    if (outlives_step((*base)[value])) known.push_back(text);
  throw Error(ErrorKind::usage, "no value called \"" + printable(name) + "\"" + did_you_mean(name, known));
}

}  // namespace norma
