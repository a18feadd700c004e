// The health of a net's batch norms and activations, epoch by epoch, from a fixed batch of training samples, the probe. Observing does not
// change the training (Trainer::observe).
#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "norma/trainer.h"

namespace norma::app {

// Counts of values on a grid: bin i is [(first + i) * width, (first + i + 1) * width). width is a power of two. It gives 20 to 40 bins
// unless all values are equal. So the grids of any two histograms nest, and coarsen() loses nothing.
struct Histogram {
  double width = 0;
  std::int64_t first = 0;
  std::vector<std::int64_t> counts;  // empty: no value
  std::int64_t zeros = 0;            // left out by magnitudes(), which has no place for them
  std::int64_t not_finite = 0;       // left out
};
Histogram histogram(std::span<const float> values);
// The histogram of log10 |v|.
Histogram magnitudes(std::span<const float> values);
// h on the grid of `width`, a power of two not below h's.
Histogram coarsen(const Histogram& h, double width);

// Over the channels of a layer.
struct ChannelSpread {
  double least = 0, mean = 0, largest = 0;
};

struct NormHealth {
  std::string layer{}, input{}, activation{};  // paths; activation: what alone reads its output, may be empty
  std::int64_t channels = 0;
  // Updates of its running statistics, absent without them and where they are frozen; momentum, absent for the cumulative average.
  std::optional<std::int64_t> updates{};
  std::optional<double> momentum{};
  // The probe's batch statistics against the running ones. mean_drift: the mean over the channels of |mean - running_mean| /
  // sqrt(running_var + eps). variance_ratio: the geometric mean of (unbiased var + eps) / (running_var + eps).
  std::optional<double> mean_drift{}, variance_ratio{};
  // variance_ratio with the variance of its input in evaluation, if dropout comes before it.
  std::optional<double> evaluation_variance_ratio{};
  std::optional<ChannelSpread> gamma{}, beta{};
  std::vector<std::int64_t> switched_off{};  // channels with |gamma| < small_gamma
  std::vector<std::int64_t> dead{};          // channels of which the ReLU after it gives 0 for the whole probe
  // Its input and output; log10 of the loss's gradient by each. They count the probe's first samples that have histogram_values values
  // together, at least 16 samples.
  Histogram before{}, after{}, gradient_before{}, gradient_after{};
};
inline constexpr double small_gamma = 0.01;
inline constexpr std::int64_t histogram_values = 16384;

struct ActivationHealth {
  std::string layer;
  Activation kind = Activation::relu;
  double saturated = 0;              // share of the probe's values at or beyond an end of ActivationTraits; 0 without ends
  Histogram input{};                 // like NormHealth's; empty where that is the output of a batch norm, which has it
  std::vector<std::int64_t> dead{};  // ReLU: channels that are 0 for the whole probe
  // Per channel of its output, which the next layer reads.
  std::vector<double> mean{}, deviation{};
};

struct EpochHealth {
  std::int64_t epoch = 0, samples = 0;                                                      // samples of the probe
  double train_loss = 0, train_accuracy = 0, evaluation_loss = 0, evaluation_accuracy = 0;  // of the probe, in both modes
  std::vector<NormHealth> norms{};
  std::vector<ActivationHealth> activations{};
  std::vector<std::string> findings{};
};

// Shift of the outputs of activations between two epochs. The mean over their channels of |mean - mean before|, in deviations of before.
// Channels that did not vary before are left out. Returns nothing where no channel is left.
std::optional<double> input_shift(const EpochHealth& before, const EpochHealth& after);

// Facts of the training that the findings need in addition to the figures.
struct DropoutLayer {
  std::string layer;
  double p = 0;
};
struct HealthContext {
  std::int64_t batch = 0;  // samples of a training step
  std::vector<DropoutLayer> dropouts;
};

// One sentence each, of what is remarkable; empty where nothing is. Every number in them is one of the figures.
std::vector<std::string> findings(const EpochHealth& h, const HealthContext& context);

// LeNet-BN's probe takes 2 % of an epoch of MNIST on two cores, and 16 MB. With 256 samples it takes 3.5 % and 32 MB (2026-11-25).
inline constexpr std::int64_t largest_probe = 128;

class HealthProbe {
 public:
  // The probe: the first min(batch, largest_probe, all) samples of `train` in stored order. Both must outlive it. groups: the trainer's.
  HealthProbe(Trainer& trainer, const Dataset& train, std::int64_t batch, std::span<const ParameterGroup> groups = {});
  EpochHealth look(std::int64_t epoch) const;

 private:
  // A batch norm, and what comes with it.
  struct Site {
    BatchNormSite at;
    bool running = false;        // it keeps running statistics, and groups do not freeze them
    bool after_dropout = false;  // a dropout comes before it
  };
  NormHealth norm(const Site& site, const Observation& train, const Observation& evaluation) const;
  ActivationHealth activation(const Node& node, const Observation& train) const;

  Trainer& trainer_;
  const Dataset& train_;
  std::int64_t samples_;
  HealthContext context_;
  std::vector<Site> sites_;
  std::vector<std::int32_t> activations_;
  std::vector<ObserveRequest> in_training_, in_evaluation_;
};

// ---- health.jsonl: a line an epoch that is logged

nlohmann::ordered_json to_json(const EpochHealth& h);
// The inverse. Throws Error(data) naming the key.
EpochHealth health_from_json(const nlohmann::ordered_json& j);
// Reads a file by the rules of read_metrics.
std::vector<EpochHealth> read_health(const std::filesystem::path& file);

}  // namespace norma::app
