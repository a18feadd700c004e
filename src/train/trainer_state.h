// State of a Trainer. trainer.cpp runs it, trainer_checks.cpp has its refusals, trainer_checkpoint.cpp saves and loads it.
#pragma once
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/chunks.h"
#include "norma/trainer.h"
#include "src/execute/one_thread.h"
#include "src/execute/tensor_io.h"
#include "src/plan/plan.h"
#include "src/train/saved_counters.h"

namespace norma {

using Clock = std::chrono::steady_clock;
inline double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }  // seconds

// Per-channel x -> scale * x + offset of a Transform.
struct Affine {
  std::vector<float> scale, offset;

  Affine() = default;
  Affine(const Transform& t, std::int64_t channels, DType stored);
};

// Returns the type in which samples are stored. Throws Error(usage) for options that no net can have.
DType checked(const TrainerOptions& options);

// Samples of a set that may have no labels.
std::int64_t samples_of(const Dataset& data);

// Evaluation keeps no activations for a backward pass, so that one batch size serves any set.
inline constexpr std::int64_t evaluation_batch = 256;

// Samples in the Plan that a Trainer has from its start, with every persistent value. Batch norms need two. The batch asked for may be far
// larger than the data sets that come, and is then never run.
inline constexpr std::int64_t base_batch = 2;

struct Trainer::State {
  // A set for Calls to read. Who calls promise() may bind it many times: it does not change under that number, so a GPU copies it once.
  struct BoundData {
    BoundData(const Dataset& d, std::int64_t p = 0) : data(d), promise(p) {}  // 0: it may have changed since
    const Dataset& data;
    std::int64_t promise;
  };
  std::int64_t promise() { return ++promises; }

  State(Module n, TrainerOptions o) : State(std::move(n), o, make_executor(o.device, o.executor)) {}
  // On an Executor that has no Plans yet, whatever the options' device is.
  State(Module n, TrainerOptions o, std::unique_ptr<Executor> e);

  // Returns the Plan for `batch` samples, with memory to run it.
  const Plan& plan(Mode mode, std::int64_t batch);
  // Returns the Plan without memory: a batch that is never run needs none.
  const Plan& compiled(Mode mode, std::int64_t batch) { return made(mode, batch).plan; }
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
  void check(const Dataset& data, bool labelled = true) const;
  // The net's outputs can stand for the set's classes: for them all, and with MeanSquared for no more.
  void check_classes(const Dataset& data) const;
  // Throws unless the set can be trained on, for `epochs` epochs in total.
  void check_training(const Dataset& train, std::int64_t epochs) const;
  // Throws Error(data) naming sample and feature that are not finite. It looks at sets stored as floats.
  void check_features(const Dataset& data) const;
  // Throws Error(data) where the loss ignores every label; of samples first .. end-1 of an epoch's order where their loss is a mean.
  void check_counted(const Dataset& data) const { check_counted(data, {0, data.size()}); }
  void check_counted(const Dataset& data, kernels::Range samples) const;
  void check_counted(const Dataset& train, std::int64_t epoch, std::int64_t first, std::int64_t end) const;
  // norma::first_fault of all that is saved.
  std::string first_fault() const;
  // Throws Error(diverged): `what` is not finite, and which tensor or module is at fault.
  [[noreturn]] void fail_not_finite(const Dataset& data, const std::string& what);
  // Throws Error(usage) in on_step, where an epoch is not whole, and in go_on.
  void refuse_within_step(const char* what) const;
  // Throws Error(usage) in go_on, where counters and bound data are those of an evaluation that is not done.
  void refuse_within_evaluation(const char* what) const;
  // Suggests a remedy if training diverges in the step after `steps` steps.
  std::string remedy(std::int64_t steps) const;
  // A parameter, a buffer, or a gradient once there are any; throws Error(usage).
  ValueId readable(std::string_view name) const;
  void bind(const Plan& plan, const BoundData& data, std::span<const float> rates);
  // Runs steps of an epoch whose first `full` batches run `whole` and whose last runs `last`.
  void run_steps(const Dataset& train, kernels::Range batches, std::int64_t full, const Plan& whole, const Plan& last);
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

  ValueId id(std::string_view name) const { return base->find(name); }
  kernels::StepState counters() const { return read_struct<kernels::StepState>(*executor, *base, id("state")); }
  void set_counters(const kernels::StepState& s) { write_struct(*executor, *base, id("state"), s); }
  void set(const SavedCounters& c) {
    set_counters(c.at), epochs_done = c.epochs_done, epoch_samples = c.epoch_samples, epoch_batch = c.epoch_batch;
  }
  SavedCounters saved_counters() const { return {counters(), epochs_done, epoch_samples, epoch_batch}; }
  std::vector<kernels::Kept> kept() const;  // by the optimizer
  // In the order of parameters; of kept() and, in each, of the parameters that are trained.
  void write_model(std::span<const StoredTensor* const> tensors);
  void write_optimizer(std::span<const StoredTensor* const> tensors);
  // Puts back the results of Trainer::model(), Trainer::training() and saved_counters(), finite or not.
  void put_back(const Checkpoint& model);
  void put_back(const Checkpoint& training, const SavedCounters& counters);
  std::string hash() const;

  User user{};
  Module net;
  TrainerOptions options;
  std::unique_ptr<Executor> executor;
  Affine affine;
  DType stored = DType::u8;  // of the samples
  struct Made {
    Plan plan;
    bool prepared = false;  // the Executor has memory for it
  };
  std::map<std::pair<Mode, std::int64_t>, Made> plans;  // by mode and batch size
  Made& made(Mode mode, std::int64_t batch);
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
  std::int64_t ahead = 1;          // steps queued at a time: as many as take about 20 ms, so that somebody who watches is served
  const Dataset* bound = nullptr;  // the set in Region::data, once one was bound; only to compare
  std::int64_t promises = 0;       // promise() so far
  std::vector<EpochMetrics> history;
  std::vector<float> targets;            // one-hot labels, for MeanSquared
  std::vector<std::int32_t> unlabelled;  // stands for the labels of a set without labels
};

}  // namespace norma
