// Training, evaluation and checkpoints of one net on one device.
// Its structs are plain values: one thread at a time may change one, any number may read it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "norma/checkpoint.h"
#include "norma/dataset.h"
#include "norma/executor.h"
#include "norma/export.h"
#include "norma/graph.h"
#include "norma/loss.h"
#include "norma/module.h"
#include "norma/optimizer.h"
#include "norma/plan.h"
#include "norma/weights.h"

namespace norma {

struct NORMA_API TrainerOptions {
  Shape input{};                       // one stored sample: (C,H,W) or (F), before the transform
  std::optional<DType> sample_type{};  // u8 or f32, as stored; default u8 for (C,H,W), f32 for (F)
  std::int64_t batch = 256;
  Optimizer optimizer = Sgd{};
  std::vector<ParameterGroup> groups{};  // a pattern that fits no name is refused, naming the nearest
  Clip clip{};                           // of gradients
  Schedule schedule{};
  Loss loss = CrossEntropy{};
  Transform transform{};
  Device device = Device::cpu();
  ExecutorOptions executor{};
  Precision precision = Precision::fp32;  // of training and evaluation
  std::uint64_t seed = 0;
  bool shuffle = true, drop_last = false;
  // Steps that the schedule is laid out for, in all and an epoch. 0: those of each fit. With them it does not begin anew with another fit,
  // and step and update know their rate.
  std::int64_t total_steps = 0, steps_per_epoch = 0;
  // Ways of running that must not change the result (fuse: but for rounding); for looking for a fault.
  bool fuse = true, reuse = true, check_each = false;
};

struct NORMA_API Evaluation {
  double loss = 0, accuracy = 0;  // mean over the samples; share in 0..1
  std::int64_t samples = 0;
  double seconds = 0;
};

struct NORMA_API EpochMetrics {
  std::int64_t epoch = 0;  // from 1
  double train_loss = 0, train_accuracy = 0;
  std::optional<double> test_loss, test_accuracy;
  double seconds = 0, train_seconds = 0, samples_per_second = 0, learning_rate = 0;
  double evaluation_seconds = 0;  // 0 without a test set
  std::string parameters_hash;
};

struct NORMA_API Progress {
  std::int64_t epoch = 0, epochs = 0, batch = 0, batches = 0;
  double loss = 0, accuracy = 0;  // running means of this epoch
  double samples_per_second = 0, seconds = 0;
};

struct NORMA_API FitOptions {
  std::int64_t epochs = 1;  // in total, counting those a loaded checkpoint has done
  // After every step, on a GPU after every few; false: stop there, with the state ready to be saved.
  std::function<bool(const Progress&)> on_step{};
  std::function<void(const EpochMetrics&)> on_epoch{};
  // Asked between the batches of an epoch's evaluation; false: stop there, with the state as after the epoch's last step. In it the
  // Trainer refuses with Error(usage) whatever runs, loads or saves its training.
  std::function<bool()> go_on{};
};

// One run of a Plan, looked at from inside.
struct NORMA_API TimedStep {
  std::vector<double> calls;  // seconds of each Call, in the order of describe(plan); what Executor::run_timed returns
  double seconds = 0;         // of the whole step
};

struct NORMA_API ObserveRequest {
  std::string name;
  std::int64_t samples = 0;  // samples of an activation or its gradient, from the batch's first; 0: all
};

struct NORMA_API ObservedValue {
  Shape shape;                // with the samples asked for
  std::vector<float> values;  // NCHW order
};

struct NORMA_API StepOptions {
  std::optional<double> rate{};  // the learning rate of this step; default: set_rate's, else the schedule's
};

// Results of one step, before its update.
struct NORMA_API StepResult {
  double loss = 0;                        // reduced as the loss says: the value whose gradient was taken
  std::int64_t samples = 0, counted = 0;  // of the batch; of them, not ignored by the loss
  std::int64_t correct = 0;               // of these, with their label on top
  double rate = 0;
};

// Results of one pass over some samples.
struct NORMA_API Observation {
  double loss = 0, accuracy = 0;  // mean over the samples; share in 0..1
  std::int64_t samples = 0;
  std::map<std::string, ObservedValue> values;
};

// Largest move of a channel's running statistics: the mean in old standard deviations, the variance as a ratio.
struct NORMA_API RecalibratedBatchNorm {
  std::string layer;
  double mean_change = 0, variance_ratio = 1;
};

// A net of several inputs or outputs, each by its name. Trainer calls it with the inputs, whose shapes have the batch.
using Network = std::function<std::map<std::string, Value>(Builder& b, const std::map<std::string, Value>& inputs)>;

// The Trainer serves one thread at a time: a call while another thread's runs throws Error(usage). So does any call of a Trainer that was
// moved from. A callback may call the Trainer that calls it; a loss or an operation of one's own may only read from it.
// References that it returns are good as long as it. All that its net and options refer to must live so long, too.
class NORMA_API Trainer {
 public:
  struct State;  // src/train/trainer_state.h

  // Traces and compiles the net, and initialises its parameters from the seed. Throws Error(usage) naming the layer at fault.
  Trainer(Module net, TrainerOptions options);
  // Does this for a net of several inputs and outputs. `inputs`: of one sample, (C,H,W) or (F). It takes floats as they are. forward,
  // backward, update and predict run it, in the forms with names; whatever takes a data set or a Batch throws Error(usage). Not used are
  // options.input, sample_type, batch, loss, transform and shuffle.
  Trainer(Network net, std::map<std::string, Shape> inputs, TrainerOptions options);
  ~Trainer();
  Trainer(Trainer&&) noexcept;
  Trainer& operator=(Trainer&&) noexcept;

  // Trains until options.epochs; returns false if on_step or go_on stopped it. If go_on throws, the epoch lacks its evaluation, and the
  // next fit does that first. The sets must not change before it returns.
  // Throws Error(usage) before the first step if the last batch of an epoch could not be normalised, and within on_step. It also refuses a
  // net without parameters, and a set of more classes than the net has outputs. MeanSquared needs as many classes as outputs. A schedule
  // that depends on the number of epochs needs the number that the epochs so far had.
  // Throws Error(data) naming the sample and feature that are not finite, or the set in which no label counts.
  // Throws Error(diverged) for a non-finite loss or gradient, naming layer and step; the state is the one before that step. At an epoch's
  // end it also names a non-finite parameter, running statistic, optimizer state or test loss. That state must not be kept.
  bool fit(const DatasetView& train, const DatasetView* test, const FitOptions& options);
  bool fit(const Dataset& train, const Dataset* test, const FitOptions& options) {
    const DatasetView view = test ? DatasetView(*test) : DatasetView{};
    return fit(DatasetView(train), test ? &view : nullptr, options);
  }
  bool fit(const DatasetPair& data, const FitOptions& options) { return fit(data.train, &data.test, options); }

  // ---- A step of one's own. None of these may be called within on_step or go_on, nor do they move the place in an epoch of fit.

  // Trains one step on these samples, taken in their order. Batches as fit takes them (sample_order) give the bits of fit.
  // Throws as fit. Error(diverged) leaves all as it was before the step.
  StepResult step(const Batch& batch, const StepOptions& options = {});

  // One step in three parts, for a loss outside of the net. `forward` runs the net in training mode and returns its output in NCHW order;
  // the batch needs no labels. `backward` takes the gradient of the loss by that output, of its shape. It makes the gradients of the
  // parameters, which read gives, and moves the running statistics. accumulate: adds to the gradients of the last backward.
  // `update` lets the optimizer move the parameters by the gradients, and returns the learning rate.
  // Throws Error(usage) for backward without a forward before it, where nothing else ran since; for update without gradients; for wrong
  // sizes. Throws Error(diverged) if a gradient or variance is not finite. Running statistics, parameters and optimizer are then as before.
  std::vector<float> forward(const Batch& batch);
  void backward(std::span<const float> output_gradient, bool accumulate = false);
  double update(const StepOptions& options = {});
  // The first two for a net of several inputs and outputs. Inputs are all given, in NCHW order, of equally many samples. A gradient that is
  // not given is 0. Throws Error(usage) for a name that is none, naming the nearest; Error(data) for an input that is not finite.
  std::map<std::string, std::vector<float>> forward(const std::map<std::string, std::span<const float>>& inputs);
  void backward(const std::map<std::string, std::span<const float>>& output_gradients, bool accumulate = false);
  // Writes a parameter's gradient, for the next update. Throws Error(usage) as read, and for a wrong number of elements.
  void set_gradient(std::string_view parameter, std::span<const float> values);

  // Sets the learning rate of all steps from now on, within fit, too: after on_step. None: the schedule's again. Checkpoints do not hold
  // it. Throws Error(usage) for a rate that is negative or no float.
  void set_rate(std::optional<double> rate);

  // Throws Error(diverged) where the loss is not finite, naming the first parameter or module at fault; Error(data) as fit does.
  Evaluation evaluate(const DatasetView& data);
  // The net's output, (count, classes), in evaluation mode. Needs no labels. Throws Error(diverged) where one is not finite, as evaluate.
  std::vector<float> predict(const DatasetView& data);
  // The outputs of a net of several, for inputs as forward takes them, in evaluation mode.
  std::map<std::string, std::vector<float>> predict(const std::map<std::string, std::span<const float>>& inputs);

  // Runs `count` samples of data from number `first` on (0: all of them), as one batch in stored order. Reads values by name. Parameters,
  // running statistics, gradients, optimizer and counters stay as they are, to the bit.
  // Names are those of unfused_graph()'s nodes: "conv1" is its output, with the batch. Training mode adds a backward pass. "conv1.grad" is
  // the gradient of the loss by that output, "conv1.weight.grad" that by a parameter. "bn1.mean" and "bn1.var" are the batch's statistics,
  // the variance biased. Dropout draws the masks of the next step.
  // Throws Error(usage) for an unknown name, naming the nearest, and for too few samples to normalise. Throws Error(data) if the loss
  // ignores all their labels. Values and loss may be non-finite, since diverging nets are observed too.
  Observation observe(Mode mode, const DatasetView& data, std::span<const ObserveRequest> values, std::int64_t first = 0,
                      std::int64_t count = 0);
  Observation observe(Mode mode, const DatasetView& data, std::span<const std::string> names, std::int64_t first = 0,
                      std::int64_t count = 0);

  // The old name of observe.
  template <class Values>
  [[deprecated("it is called observe")]] Observation tap(Mode mode, const DatasetView& data, const Values& values, std::int64_t first = 0,
                                                         std::int64_t count = 0) {
    return observe(mode, data, values, first, count);
  }

  // Sets running_mean and running_var of every batch norm to the mean and the unbiased variance of its input. They are taken over the first
  // `samples` of data (0: all) in evaluation mode. Batch norms are recalibrated one after the other in the net's order, so each sees the
  // new statistics of those before it. Sums are in double, sample by sample, so the result depends on no batch size. Time grows with the
  // square of the number of batch norms.
  // Returns the batch norms that have running statistics, in order. Throws Error(usage) if a channel has one value. Throws Error(diverged)
  // naming the layer whose input is not finite, or its variance beyond float. The model is then as before.
  std::vector<RecalibratedBatchNorm> recalibrate(const DatasetView& data, std::int64_t samples = 0);

  // Runs plan(mode) `steps` times on samples of data, timing every Call, and puts parameters, optimizer and counters back as they were.
  // data holds at least options.batch samples.
  std::vector<TimedStep> time_calls(Mode mode, const DatasetView& data, std::int64_t steps);
  // Queues `steps` steps of plan(train) on whole batches of data, then waits; repeats this `bursts` times. Returns the seconds per step of
  // each burst. On a GPU the very first step loads the kernels, and the first burst after it captures the graph of `steps` steps. An
  // epoch's whole batches are at least `steps`. Puts everything back as it was. Nothing is timed more than 10^9 times.
  std::vector<double> time_steps(const DatasetView& data, std::int64_t steps, std::int64_t bursts);
  // Returns the seconds of evaluate(data), run `times` times in a row. The first may make Plans and bring the data to the device.
  std::vector<double> time_evaluations(const DatasetView& data, std::int64_t times);
  // The order in which fit takes a set's samples in an epoch, counted from 0: depends on size, seed and options.shuffle alone.
  std::vector<std::int32_t> sample_order(std::int64_t samples, std::int64_t epoch) const;

  // model: parameters and buffers under their state_dict names; its metadata say what Predictor::load needs to know (norma/model_file.h).
  // training: optimizer state and counters.
  Checkpoint model() const;
  Checkpoint training() const;
  // Both throw Error(data) naming tensors that are missing, unknown, of another shape, or hold impossible values; nothing is changed then.
  // Impossible are a variance below 0, a counter out of its range and optimizer state that is not finite.
  // load_training throws Error(usage) within on_step, and for a state of another seed or another optimizer (Sgd, Adam, AdamW). It also
  // refuses a state that stopped in the middle of an epoch of another batch size.
  // load_model returns its changes in reading, a sentence each. Names lose a prefix they all share, or PyTorch's "module" and "_orig_mod".
  // A missing num_batches_tracked is read as 0. The checkpoint's own notes follow.
  // With options it also returns a row for each tensor. Names may then be changed, tensors be missing or too many. It then throws as
  // rename_tensors, too.
  // Layers that have numbers for names, as nn.Sequential's, are matched by their order and shapes where no other match is possible.
  std::vector<std::string> load_model(const Checkpoint& model);
  LoadReport load_model(const Checkpoint& model, const LoadOptions& options);
  void load_training(const Checkpoint& training);
  // Makes the optimizer a new one: all that it keeps is 0, and its next step counts as its first. Parameters, running statistics, gradients
  // and all other counters stay, so the schedule, the samples' order and dropout go on. Throws Error(usage) within on_step and go_on.
  void reset_optimizer();

  // One tensor by name: parameters ("conv1.weight"), buffers, and after a step gradients ("conv1.weight.grad"). Activations share memory
  // within a step: observe reads those. Throws Error(usage) for any other name, and for a gradient before the first step.
  std::vector<float> read(std::string_view name) const;

  std::int64_t epochs_done() const;
  std::int64_t steps_done() const;
  const std::vector<EpochMetrics>& history() const;  // grows in fit
  std::string parameters_hash() const;
  std::string device_description() const;
  std::int64_t parameter_count() const;
  const Graph& graph() const;
  // The graph before fusion: each module of the net is a node.
  const Graph& unfused_graph() const;
  // The Plan for this batch size (default: options.batch).
  const Plan& plan(Mode mode, std::int64_t batch = 0) const;

 private:
  std::shared_ptr<State> state_;
};

// The Plan that a Trainer with these options would run, on any machine: a GPU in options.device need not be there. Throws as Trainer.
NORMA_API std::shared_ptr<const Plan> compile(const Module& net, const TrainerOptions& options, Mode mode);

}  // namespace norma
