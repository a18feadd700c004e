// Trainer: compiles one Plan per batch size and mode, feeds them a data set, and keeps what outlives a step.
#include "norma/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "kernels/chunks.h"
#include "norma/error.h"
#include "norma/loss.h"
#include "src/execute/device_traits.h"
#include "src/files/sha256.h"
#include "src/net/initialise.h"
#include "src/plan/lower.h"
#include "src/train/trainer_state.h"

namespace norma {
namespace {

using kernels::Range;
using kernels::StepState;

Graph unfused(const Module& net, const TrainerOptions& options, std::int64_t batch) {
  return trace(net, transformed(options.input, options.transform.resize).prepend(batch));
}

Graph traced(const Module& net, const TrainerOptions& options, std::int64_t batch) {
  Graph graph = unfused(net, options, batch);
  return options.fuse ? fuse(std::move(graph)) : graph;
}

Plan lowered(const Graph& graph, const TrainerOptions& options, std::int64_t batch, DType stored, Mode mode, Trainer::State::Order order,
             const DeviceTraits& traits) {
  const bool training = mode == Mode::train;
  return lower(graph, {.mode = mode,
                       .lanes = traits.lanes,
                       .backward = training,
                       .data = InputData{options.input, stored, options.transform.resize,
                                         training && options.shuffle && order == Trainer::State::Order::epoch},
                       .loss = options.loss,
                       .optimizer = training ? std::optional(options.optimizer) : std::nullopt,
                       .groups = options.groups,
                       .clip = options.clip,
                       .precision = options.precision,
                       .by_pack = traits.by_pack(batch),
                       .join = options.fuse && traits.joins,
                       .assign = {.reuse = options.reuse, .ample = traits.ample}});
}

}  // namespace

Trainer::State::State(Module n, TrainerOptions o, std::unique_ptr<Executor> e)
    : net(std::move(n)), options(std::move(o)), executor(std::move(e)) {
  stored = checked(options);
  graph = traced(*net, options, options.batch);
  check_output(*graph, options.loss);  // as it was asked for, not as the first Plan has it
  affine = Affine(options.transform, options.input[0], stored);
  parameters = graph->parameters();
  validate(options.groups, parameters, options.optimizer);
  factors = rate_factors(options.groups, parameters);
  base = &plan(Mode::train, std::min(options.batch, base_batch));
  initialise();
}

void Trainer::State::initialise() {
  std::int64_t number = 0;
  for (const ParameterInfo& p : parameters) write_tensor(*executor, *base, id(p.name), initial_values(p, options.seed, number++));
  set_counters({.seed = options.seed});
}

Graph Trainer::State::unfused(std::int64_t samples) const { return norma::unfused(*net, options, samples); }

Trainer::State::Made& Trainer::State::made(Mode mode, std::int64_t batch, Order order) {
  const auto key = std::make_tuple(mode, batch, mode == Mode::train && options.shuffle ? order : Order::epoch);
  if (const auto it = plans.find(key); it != plans.end()) return it->second;
  refuse_network();
  const Graph& of_batch = batch == options.batch ? *graph : traced(*net, options, batch);
  return plans.emplace(key, Made{lowered(of_batch, options, batch, stored, mode, order, executor->traits())}).first->second;
}

const Plan& Trainer::State::plan(Mode mode, std::int64_t batch, Order order) {
  Made& m = made(mode, batch, order);
  if (!m.prepared) went_forward = nullptr, executor->prepare(m.plan);
  m.prepared = true;
  return m.plan;
}

void Trainer::State::bind(const Plan& p, const BoundData& of, std::span<const float> rates) {
  const DatasetView& data = of.data;
  bound = identity_of(data);
  const auto set = [&](DataSlot slot, const void* source, std::size_t bytes, std::int64_t version = 0) {
    if (p.has(name_of(slot))) executor->bind(p, p.find(name_of(slot)).index, source, bytes, version);
  };
  if (stored == DType::u8) set(DataSlot::samples, data.bytes.data(), data.bytes.size(), of.promise);
  else set(DataSlot::samples, data.floats.data(), data.floats.size() * sizeof(float), of.promise);
  set(DataSlot::scale, affine.scale.data(), affine.scale.size() * sizeof(float));
  set(DataSlot::offset, affine.offset.data(), affine.offset.size() * sizeof(float));
  if (data.labels.empty()) unlabelled.resize(static_cast<std::size_t>(data.size()));
  const std::span<const std::int32_t> labels = data.labels.empty() ? unlabelled : data.labels;
  set(DataSlot::labels, labels.data(), labels.size_bytes(), of.promise);
  if (p.has(name_of(DataSlot::rates))) bind_rates(p, rates);
  if (!takes_targets(options.loss)) return;
  if (!data.targets.empty()) {
    set(DataSlot::targets, data.targets.data(), data.targets.size_bytes(), of.promise);
  } else {
    const auto classes = static_cast<std::size_t>(output_elements());
    targets.assign(labels.size() * classes, 0.0f);
    for (std::size_t i = 0; i < labels.size(); ++i) targets[i * classes + static_cast<std::size_t>(labels[i])] = 1.0f;
    set(DataSlot::targets, targets.data(), targets.size() * sizeof(float));
  }
}

void Trainer::State::bind_rates(const Plan& p, std::span<const float> rates) {
  executor->bind(p, p.find(name_of(DataSlot::rates)).index, rates.data(), rates.size_bytes());
  scaled_rates.resize(factors.size());
  for (std::size_t k = 0; k < factors.size(); ++k) {
    scaled_rates[k].clear();
    for (const float rate : rates) scaled_rates[k].push_back(static_cast<float>(static_cast<double>(rate) * factors[k]));
    executor->bind(p, p.find(rates_value(k)).index, scaled_rates[k].data(), rates.size_bytes());
  }
}

// Optimizer steps, one after the other. One that was not finite changes nothing but state.status, and so do those queued behind it: it is
// run again, looking at each Call's outputs.
void Trainer::State::run_steps(const DatasetView& train, kernels::Range batches, std::int64_t full, const Plan& whole, const Plan& last) {
  std::string cause = "a loss, gradient or variance was not finite";
  StepState at;
  try {
    has_gradients = true;
    const std::int64_t of_whole = std::max<std::int64_t>(0, std::min(batches.end, full) - batches.begin);
    if (of_whole > 0) run(whole, of_whole, options.check_each);
    if (batches.end > full) run(last, 1, options.check_each);
    at = counters();
    if (at.status == 0) return;
    run(at.batch < full ? whole : last, 1, true);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::diverged) throw;
    cause = e.what();
    at = counters();
  }
  at.status = 0;
  set_counters(at);
  check_counted(train, epochs_done, at.position, at.position + std::min(options.batch, train.size()));
  const std::string fault = first_fault();
  throw Error(ErrorKind::diverged, "training diverged at step " + std::to_string(at.step + 1) + " (epoch " +
                                       std::to_string(epochs_done + 1) + ", batch " + std::to_string(at.batch + 1) + "): " + cause +
                                       "; the parameters are those before this step" + (fault.empty() ? "" : ", where " + fault) +
                                       remedy(at.step));
}

EpochMetrics Trainer::State::run_epoch(const BoundData& data, const FitOptions& fit, bool& stopped) {
  const DatasetView& train = data.data;
  const Clock::time_point start = Clock::now();
  const EpochBatches epoch(train.size(), options);
  const std::int64_t batches = epoch.count();
  const Plan& whole = plan(Mode::train, epoch.batch);
  const Plan& last = epoch.tail ? plan(Mode::train, epoch.tail) : whole;
  StepState s = counters();
  // With a schedule over total_steps other steps count, too.
  const std::int64_t before = options.total_steps ? s.step - s.batch : epochs_done * batches;
  std::vector<float> rates(static_cast<std::size_t>(batches));
  std::optional<double> fixed;
  const auto bind_from = [&](std::int64_t first_batch) {
    fixed = fixed_rate;
    for (std::int64_t b = first_batch; b < batches; ++b)
      rates[static_cast<std::size_t>(b)] = static_cast<float>(rate_of(before + b, batches, fit.epochs * batches));
    bind(whole, data, rates);
    bind(last, data, rates);
  };
  bind_from(s.batch);

  if (s.batch == 0) s.position = s.samples = s.correct = s.counted = 0, s.loss_sum = 0;  // else: go on in the middle of an epoch
  s.population = epoch_samples = train.size(), s.epoch = epochs_done;
  epoch_batch = epoch.batch;
  set_counters(s);
  const std::int64_t first = s.batch, samples_before = s.samples;
  for (std::int64_t b = first; b < batches && !stopped;) {
    const Clock::time_point queued = Clock::now();
    const std::int64_t end = std::min(batches, b + (fit.on_step ? ahead : executor->traits().steps_ahead));
    run_steps(train, {b, end}, epoch.full, whole, last);
    b = end;
    const double took = since(queued);
    if (took < 0.01) ahead = std::min(2 * ahead, executor->traits().steps_ahead);
    else if (took > 0.04) ahead = std::max<std::int64_t>(ahead / 2, 1);
    if (!fit.on_step) continue;
    s = counters();
    const Within within(within_step);
    const double seconds = since(start), counted = static_cast<double>(std::max<std::int64_t>(1, s.counted));
    stopped = !fit.on_step({.epoch = epochs_done + 1,
                            .epochs = fit.epochs,
                            .batch = b,
                            .batches = batches,
                            .loss = s.loss_sum / counted,
                            .accuracy = static_cast<double>(s.correct) / counted,
                            .samples_per_second = static_cast<double>(s.samples - samples_before) / seconds,
                            .seconds = seconds});
    if (bound != identity_of(train) || fixed != fixed_rate) bind_from(b);  // on_step evaluated something, or set the rate
  }
  s = counters();
  if (s.batch < batches) return {};
  stopped = false;  // the epoch is whole: finish it, stop after it
  EpochMetrics m;
  const auto counted = static_cast<double>(s.counted);
  m.epoch = epochs_done + 1;
  m.train_loss = s.loss_sum / counted;
  m.train_accuracy = static_cast<double>(s.correct) / counted;
  m.train_seconds = since(start);
  m.samples_per_second = static_cast<double>(s.samples - samples_before) / m.train_seconds;
  m.learning_rate = rates.back();
  epoch_end = s;
  s.batch = s.position = 0;
  set_counters(s);
  ++epochs_done;
  return m;
}

void Trainer::State::reopen_epoch() {
  set_counters(epoch_end);
  --epochs_done;
}

Evaluation Trainer::State::evaluate(const BoundData& of, const std::function<void(const Plan&)>& after_batch, bool labelled,
                                    bool check_each, const std::function<bool()>& go_on) {
  const DatasetView& data = of.data;
  refuse_within_evaluation("another evaluation");
  check(data, labelled);
  if (labelled) check_classes(data);
  const std::int64_t samples = data.size();
  const Clock::time_point start = Clock::now();
  const StepState kept = counters();
  StepState s = kept;
  s.population = samples;
  s.position = s.samples = s.correct = s.counted = 0, s.loss_sum = 0;
  set_counters(s);
  const auto run = [&](std::int64_t batch, std::int64_t times) {
    if (times == 0) return;
    const Plan& p = plan(Mode::eval, batch);
    bind(p, of, {});
    const std::int64_t at_once = after_batch ? 1 : go_on ? executor->traits().steps_ahead : times;
    const auto asked = [&] {
      const Within within(within_evaluation);
      return go_on();
    };
    for (std::int64_t done = 0; done < times && (!go_on || asked()); done += at_once) {
      this->run(p, std::min(at_once, times - done), check_each);
      if (after_batch) after_batch(p);
    }
  };
  const std::int64_t tail = samples % evaluation_batch;
  try {
    run(evaluation_batch, samples / evaluation_batch);
    run(tail, tail ? 1 : 0);
  } catch (...) {
    set_counters(kept);
    throw;
  }
  s = counters();
  set_counters(kept);
  const auto counted = static_cast<double>(s.counted);
  return {
      .loss = s.loss_sum / counted, .accuracy = static_cast<double>(s.correct) / counted, .samples = s.samples, .seconds = since(start)};
}

std::vector<kernels::Kept> Trainer::State::kept() const {
  std::vector<kernels::Kept> all;
  for (const kernels::Kept& k : kernels::kept_values(options.optimizer))
    if (k.name) all.push_back(k);
  return all;
}

std::string Trainer::State::hash() const {
  Sha256 sha;
  for (const ParameterInfo& p : parameters) {
    std::vector<std::byte> bytes((*base)[id(p.name)].bytes);
    executor->read(*base, id(p.name).index, bytes.data(), bytes.size());
    sha.update(bytes.data(), bytes.size());
  }
  return sha.hex().substr(0, 16);
}

Trainer::Trainer(Module net, TrainerOptions options) : state_(std::make_shared<State>(std::move(net), std::move(options))) {}
Trainer::~Trainer() = default;
Trainer::Trainer(Trainer&&) noexcept = default;
Trainer& Trainer::operator=(Trainer&&) noexcept = default;

bool Trainer::fit(const DatasetView& train, const DatasetView* test, const FitOptions& options) {
  const Use use(state_, "Trainer");
  State& s = *use;
  s.refuse_within_step("fit");
  s.check(train);
  s.check_training(train, options.epochs);
  if (test) s.check(*test), s.check_classes(*test);
  for (const DatasetView* set : {&train, test})
    if (set) s.check_counted(*set);
  if (const std::string fault = s.first_fault(); !fault.empty()) throw Error(ErrorKind::diverged, "this net cannot be trained: " + fault);
  const StepState at = s.counters();
  if (at.batch != 0 && s.epoch_samples != train.size())
    throw Error(ErrorKind::data, "this run stopped in the middle of an epoch of " + std::to_string(s.epoch_samples) +
                                     " samples and cannot go on with " + std::to_string(train.size()));
  const EpochBatches epoch(train.size(), s.options);
  if (epoch.tail || epoch.batch < s.options.batch)
    s.plan(Mode::train, epoch.tail ? epoch.tail : epoch.batch);  // an epoch's last batch fails now, not after an epoch
  if (const std::int64_t tail = test ? test->size() % evaluation_batch : 0; tail) s.plan(Mode::eval, tail);  // so does the test set's
  const std::int64_t promise = s.promise();
  s.class_names.assign(train.classes.begin(), train.classes.end());
  if (s.epochs_done < options.epochs) s.schedule_epochs = options.epochs;
  bool stopped = false;
  while (s.epochs_done < options.epochs) {
    const Clock::time_point start = Clock::now();
    bool stop_after = false;
    const FitOptions watched{
        options.epochs,
        options.on_step ? [&](const Progress& p) { return !(stop_after = !options.on_step(p)); } : std::function<bool(const Progress&)>{},
        {},
        {}};
    EpochMetrics m = s.run_epoch({train, promise}, watched, stopped);
    if (stopped) return false;
    if (const std::string fault = s.first_fault(); !fault.empty())
      throw Error(ErrorKind::diverged, "training diverged at step " + std::to_string(s.counters().step) + ", the last of epoch " +
                                           std::to_string(s.epochs_done) + ": after it " + fault + s.remedy(s.counters().step - 1));
    if (test) {
      Evaluation e;
      try {
        e = s.measure({*test, promise}, options.go_on);
      } catch (const std::exception& fault) {
        const auto* error = dynamic_cast<const Error*>(&fault);
        if (!error || error->kind() != ErrorKind::diverged) s.reopen_epoch();  // nothing is wrong with the epoch itself
        throw;
      }
      if (e.samples < test->size()) {
        s.reopen_epoch();
        return false;
      }
      m.test_loss = e.loss;
      m.test_accuracy = e.accuracy;
      m.evaluation_seconds = e.seconds;
    }
    m.parameters_hash = s.hash();
    m.seconds = since(start);
    s.history.push_back(m);
    if (options.on_epoch) options.on_epoch(m);
    if (stop_after && s.epochs_done < options.epochs) return false;
  }
  return true;
}

Evaluation Trainer::evaluate(const DatasetView& data) { return Use(state_, "Trainer")->measure({data}); }

std::vector<float> Trainer::predict(const DatasetView& data) {
  const Use s(state_, "Trainer");
  std::vector<float> all;
  const auto keep = [&](const Plan& p) {
    const std::vector<float> y = read_tensor(*s->executor, p, p.find("y"));
    all.insert(all.end(), y.begin(), y.end());
  };
  s->evaluate({data}, keep, false);
  const auto bad = std::ranges::find_if(all, [](float y) { return !std::isfinite(y); });
  if (bad == all.end()) return all;
  const std::size_t outputs = all.size() / static_cast<std::size_t>(data.size()), at = static_cast<std::size_t>(bad - all.begin());
  s->fail_not_finite(data, "the net's output " + std::to_string(at % outputs) + " for sample " + std::to_string(at / outputs) + " is " +
                               std::to_string(*bad));
}

std::vector<float> Trainer::read(std::string_view name) const {
  const Use s(state_, "Trainer");
  return read_tensor(*s->executor, *s->base, s->readable(name));
}
std::int64_t Trainer::epochs_done() const { return Use(state_, "Trainer")->epochs_done; }
std::int64_t Trainer::steps_done() const { return Use(state_, "Trainer")->counters().step; }
const std::vector<EpochMetrics>& Trainer::history() const { return Use(state_, "Trainer")->history; }
std::string Trainer::parameters_hash() const { return Use(state_, "Trainer")->hash(); }
std::string Trainer::device_description() const { return Use(state_, "Trainer")->executor->description(); }
const Graph& Trainer::graph() const { return *Use(state_, "Trainer")->graph; }
const Plan& Trainer::plan(Mode mode, std::int64_t batch) const {
  const Use s(state_, "Trainer");
  if (batch < 0) throw Error(ErrorKind::usage, "a Plan's batch must be at least 1, or 0 for the options', got " + std::to_string(batch));
  return s->compiled(mode, batch > 0 ? batch : s->options.batch);
}

std::int64_t Trainer::parameter_count() const {
  const Use s(state_, "Trainer");
  std::int64_t n = 0;
  for (const ParameterInfo& p : s->parameters)
    if (!p.buffer) n += p.shape.elements();
  return n;
}

std::shared_ptr<const Plan> compile(const Module& net, const TrainerOptions& options, Mode mode) {
  const DType stored = checked(options);
  const Graph graph = traced(net, options, options.batch);
  validate(options.groups, graph.parameters(), options.optimizer);
  return std::make_shared<const Plan>(lowered(traced(net, options, options.batch), options, options.batch, stored, mode,
                                              Trainer::State::Order::epoch, traits_of(options.device, options.executor)));
}

}  // namespace norma
