// The counters of a training state: their form in a checkpoint, and the conditions between them.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/memory.h"
#include "norma/checkpoint.h"
#include "norma/trainer.h"

namespace norma {

// The batches of an epoch over `samples` samples: `full` of `batch` each, then one of `tail` if that is not 0.
struct EpochBatches {
  std::int64_t batch = 0, full = 0, tail = 0;

  EpochBatches(std::int64_t samples, const TrainerOptions& options)
      : batch(std::min(options.batch, samples)), full(samples / batch), tail(options.drop_last && samples >= batch ? 0 : samples % batch) {}
  std::int64_t count() const { return full + (tail ? 1 : 0); }
};

struct SavedCounters {
  kernels::StepState at;
  std::int64_t epochs_done = 0;
  std::int64_t epoch_samples = 0, epoch_batch = 0;  // size of the set and of a batch that the epoch's counters belong to
};

// As scalars, with a checksum of them all.
void append(const SavedCounters& counters, Checkpoint& training);

// Returns the counters' names in the checkpoint.
std::vector<std::string> counter_names();

// Throws Error(data) naming the counter that is missing, out of its range or at odds with another. Throws Error(usage) for another seed, or
// an epoch that this batch size cannot continue.
SavedCounters read_counters(const Checkpoint& training, const TrainerOptions& options);

}  // namespace norma
