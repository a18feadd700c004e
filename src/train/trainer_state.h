// State of a Trainer. trainer.cpp runs it, trainer_checks.cpp has its refusals, trainer_checkpoint.cpp saves and loads it.
#pragma once
#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/chunks.h"
#include "norma/trainer.h"
#include "src/data/affine.h"
#include "src/execute/one_thread.h"
#include "src/execute/tensor_io.h"
#include "src/plan/plan.h"
#include "src/train/saved_counters.h"

namespace norma {

struct MatchedTensors;  // src/net/match_tensors.h

using Clock = std::chrono::steady_clock;
inline double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }  // seconds

// Returns the type in which samples are stored. Throws Error(usage) for options that no net can have.
DType checked(const TrainerOptions& options);

// True for as long as it lives.
struct Within {
  explicit Within(bool& f) : flag(f) { flag = true; }
  ~Within() { flag = false; }
  Within(const Within&) = delete;
  Within& operator=(const Within&) = delete;
  bool& flag;
};

// The samples of a step as a data set.
inline DatasetView view_of(const Batch& b, const Shape& sample) {
  return {.name = "of this step", .sample = sample, .bytes = b.bytes, .floats = b.floats, .labels = b.labels, .targets = b.targets};
}

// Tells sets apart.
inline const void* identity_of(const DatasetView& d) {
  return d.bytes.empty() ? static_cast<const void*>(d.floats.data()) : d.bytes.data();
}

// Evaluation keeps no activations for a backward pass, so that one batch size serves any set.
inline constexpr std::int64_t evaluation_batch = 256;

// Samples in the Plan that a Trainer has from its start, with every persistent value. Batch norms need two. The batch asked for may be far
// larger than the data sets that come, and is then never run.
inline constexpr std::int64_t base_batch = 2;

struct [[gnu::visibility("hidden")]] Trainer::State {
  // A set for Calls to read. Who calls promise() may bind it many times: it does not change under that number, so a GPU copies it once.
  struct BoundData {
    BoundData(const DatasetView& d, std::int64_t p = 0) : data(d), promise(p) {}  // 0: it may have changed since
    DatasetView data;
    std::int64_t promise;
  };
  std::int64_t promise() { return ++promises; }

  State(Module n, TrainerOptions o) : State(std::move(n), o, make_executor(o.device, o.executor)) {}
  // On an Executor that has no Plans yet, whatever the options' device is.
  State(Module n, TrainerOptions o, std::unique_ptr<Executor> e);
  // trainer_network.cpp has what a net of several inputs and outputs needs of its own.
  State(Network n, std::map<std::string, Shape> i, TrainerOptions o);

  // Order of a Plan's samples: an epoch's, or as they are stored.
  enum class Order : std::uint8_t { epoch, stored };
  // Returns the Plan for `batch` samples, with memory to run it.
  const Plan& plan(Mode mode, std::int64_t batch, Order order = Order::epoch);
  // Returns the Plan without memory: a batch that is never run needs none.
  const Plan& compiled(Mode mode, std::int64_t batch) { return made(mode, batch, Order::epoch).plan; }
  // Runs a Plan. The activations of a forward() are lost then, and if it trains, the gradients of a backward().
  void run(const Plan& p, std::int64_t times = 1, bool check_each = false) {
    went_forward = nullptr;
    if (p.mode == Mode::train) went_backward = nullptr;
    const Within within(within_run);
    executor->run(p, times, check_each);
  }
  // Runs a step that was not finite again, looking at each Call's outputs; says what was the first fault.
  std::string why_not_finite(const Plan& p);
  // Returns the net as traced for `samples` samples, nothing folded.
  Graph unfused(std::int64_t samples) const;
  struct ObservedPlan {
    Graph graph;
    Plan plan;
    bool prepared = false;
  };
  const ObservedPlan& observed(Mode mode, std::int64_t samples);
  // Implements Trainer::observe. The loss may ignore all samples; there is no loss then.
  Observation look(Mode mode, const BoundData& data, std::span<const ObserveRequest> values, kernels::Range samples);
  // The set fits the net: sample shape, type, label range. labelled: labels are needed.
  void check(const DatasetView& data, bool labelled = true) const;
  // The net's outputs can stand for the set's classes: for them all, and with one-hot labels for no more.
  void check_classes(const DatasetView& data) const;
  // Throws where no parameter would move.
  void require_trained() const;
  // Throws unless the set can be trained on, for `epochs` epochs in total.
  void check_training(const DatasetView& train, std::int64_t epochs) const;
  // Throws Error(data) naming sample and feature that are not finite. It looks at sets stored as floats.
  void check_features(const DatasetView& data) const;
  // Throws Error(data) where the loss ignores every label; of samples first .. end-1 of an epoch's order where their loss is a mean.
  void check_counted(const DatasetView& data) const { check_counted(data, {0, data.size()}); }
  void check_counted(const DatasetView& data, kernels::Range samples) const;
  void check_counted(const DatasetView& train, std::int64_t epoch, std::int64_t first, std::int64_t end) const;
  // norma::first_fault of all that is saved.
  std::string first_fault() const;
  // Throws Error(diverged): `what` is not finite, and which tensor or module is at fault.
  [[noreturn]] void fail_not_finite(const DatasetView& data, const std::string& what);
  // Throws Error(usage) in on_step, where an epoch is not whole, and in go_on.
  void refuse_within_step(const char* what) const;
  // Throws Error(usage) in go_on, where counters and bound data are those of an evaluation that is not done.
  void refuse_within_evaluation(const char* what) const;
  // The learning rate of a step, counted from 0, of fit's `total` with `batches` an epoch. Throws Error(usage) beyond the schedule's end.
  double rate_of(std::int64_t step, std::int64_t batches, std::int64_t total) const;
  // Gives that of the next step outside of fit. Throws Error(usage) for a rate that no step can have, and without total_steps, where the
  // schedule needs them.
  double rate_of_next(const StepOptions& o) const;
  // Throws Error(usage) for a rate that no step can have, or no group.
  void check_rate(double rate) const;
  // Suggests a remedy if training diverges in the step after `steps` steps.
  std::string remedy(std::int64_t steps) const;
  // A parameter, a buffer, or a gradient once there are any; throws Error(usage).
  ValueId readable(std::string_view name) const;
  void bind(const Plan& plan, const BoundData& data, std::span<const float> rates);
  // Binds the rate of a step of one's own.
  void bind_rate(const Plan& plan, double rate);
  // Binds rates, and with them those of the groups.
  void bind_rates(const Plan& plan, std::span<const float> rates);
  void bind_own(const Plan& plan, const DatasetView& data, double rate);
  // Runs steps of an epoch whose first `full` batches run `whole` and whose last runs `last`.
  void run_steps(const DatasetView& train, kernels::Range batches, std::int64_t full, const Plan& whole, const Plan& last);
  EpochMetrics run_epoch(const BoundData& train, const FitOptions& options, bool& stopped);
  // As if the epoch that run_epoch() has counted still lacked all but its steps.
  void reopen_epoch();
  // after_batch may read the Plan's values; check_each as Executor::run's. Fewer samples than the set has where go_on said no.
  Evaluation evaluate(const BoundData& data, const std::function<void(const Plan&)>& after_batch = {}, bool labelled = true,
                      bool check_each = false, const std::function<bool()>& go_on = {});
  // With a loss that is finite, or throws; of the whole set, but for go_on.
  Evaluation measure(const BoundData& data, const std::function<bool()>& go_on = {});
  Checkpoint saved_model() const;
  Checkpoint saved_training() const;

  std::int64_t output_elements() const { return (*graph)[graph->outputs[0]].shape.with_batch(1).elements(); }  // of a sample
  ValueId id(std::string_view name) const { return base->find(name); }
  kernels::StepState counters() const { return read_struct<kernels::StepState>(*executor, *base, id("state")); }
  void set_counters(const kernels::StepState& s) { write_struct(*executor, *base, id("state"), s); }
  void set(const SavedCounters& c) {
    set_counters(c.at), epochs_done = c.epochs_done, epoch_samples = c.epoch_samples, epoch_batch = c.epoch_batch;
  }
  SavedCounters saved_counters() const { return {counters(), epochs_done, epoch_samples, epoch_batch}; }
  std::vector<kernels::Kept> kept() const;  // by the optimizer
  // In the order of parameters; of kept() and, in each, of the parameters that are trained.
  void write_model(const MatchedTensors& matched);
  void write_optimizer(std::span<const StoredTensor* const> tensors);
  // Puts back the results of Trainer::model(), Trainer::training() and saved_counters(), finite or not.
  void put_back(const Checkpoint& model);
  void put_back(const Checkpoint& training, const SavedCounters& counters);
  std::string hash() const;

  User user{};
  std::optional<Module> net;
  Network network;                            // in place of net, or empty
  std::map<std::string, Shape> input_shapes;  // of the network, of a sample
  std::vector<std::string> output_names;      // of the network, in the graph's order
  TrainerOptions options;
  std::unique_ptr<Executor> executor;
  Affine affine;
  DType stored = DType::u8;  // of the samples
  struct Made {
    Plan plan;
    bool prepared = false;  // the Executor has memory for it
  };
  std::map<std::tuple<Mode, std::int64_t, Order>, Made> plans;  // by mode, batch size and order
  Made& made(Mode mode, std::int64_t batch, Order order);
  // A step in three parts, over the same values.
  struct Parts {
    Plan forward, backward, update;
    bool prepared = false;
  };
  std::map<std::int64_t, Parts> parts;  // by samples
  const Parts& parts_of(std::int64_t samples);
  std::map<std::int64_t, Plan> evaluations;  // of a network, by samples
  const Plan& evaluation_of(std::int64_t samples);
  Graph network_graph(std::int64_t samples);
  // Throws Error(usage) for a network, which reads no data sets.
  void refuse_network() const;
  // Returns the samples of a network's inputs. Throws as Trainer::forward.
  std::int64_t samples_of(const std::map<std::string, std::span<const float>>& values) const;
  void write_inputs(const Plan& p, const std::map<std::string, std::span<const float>>& values);
  std::map<std::string, std::vector<float>> read_outputs(const Plan& p);
  // Runs the forward part, whose inputs are there; then the backward part of went_forward, whose output gradients are written.
  void go_forward(const Parts& of);
  void check_backward(bool accumulate) const;
  void go_backward(bool accumulate);
  // Draws the parameters; `base` knows them.
  void initialise();
  const Parts* went_forward = nullptr;                                   // whose forward has run, and nothing since
  const Parts* went_backward = nullptr;                                  // whose gradients there are
  std::int64_t passes = 0;                                               // that these are of
  std::int64_t forward_pass = 0;                                         // number of went_forward's among them
  std::map<std::pair<Mode, std::int64_t>, ObservedPlan> observed_plans;  // by mode and samples
  std::optional<Graph> graph, plain;                                     // at options.batch; unfused, once somebody asks
  std::vector<ParameterInfo> parameters;
  const Plan* base = nullptr;    // training of a few samples; knows every persistent value, which are alike in all Plans of the net
  kernels::StepState epoch_end;  // the counters after the last step of the epoch before this
  std::int64_t epochs_done = 0;
  std::int64_t epoch_samples = 0, epoch_batch = 0;  // size of the training set and of a batch that the counters belong to
  std::int64_t schedule_epochs = 0;                 // that the schedule was laid out for, of the epochs trained here; 0: of none
  bool has_gradients = false;                       // a step has run here
  bool within_step = false;                         // on_step is running
  bool within_evaluation = false;                   // go_on is running
  bool within_run = false;                          // a Plan is running, perhaps a function of the user's in it
  std::int64_t ahead = 1;       // steps queued at a time: as many as take about 20 ms, so that somebody who watches is served
  const void* bound = nullptr;  // samples of the set in Region::data, once one was bound; only to compare
  std::int64_t promises = 0;    // promise() so far
  std::vector<EpochMetrics> history;
  std::optional<double> fixed_rate;              // Trainer::set_rate
  float own_rate = 0;                            // of a step of one's own
  std::vector<double> factors;                   // of the groups' rates
  std::vector<std::vector<float>> scaled_rates;  // by these
  std::vector<float> targets;                    // one-hot labels, for MeanSquared
  std::vector<std::string> class_names;          // of the set of the last fit
  std::vector<std::int32_t> unlabelled;          // stands for the labels of a set without labels
};

}  // namespace norma
