#include "src/train/saved_counters.h"

#include <bit>
#include <cmath>

#include "norma/error.h"
#include "src/files/sha256.h"

namespace norma {
namespace {

using kernels::StepState;

constexpr const char* optimizer_from_name = "optimizer_from";

// Every scalar but the checksum, in the file's order.
template <class Counters, class F>
void for_each_scalar(Counters&& c, F f) {
  f("epochs_done", c.epochs_done);
  f("epoch_samples", c.epoch_samples);
  f("epoch_batch", c.epoch_batch);
  f("seed", c.at.seed);
  f("step", c.at.step);
  f("position", c.at.position);
  f("batch", c.at.batch);
  f("samples", c.at.samples);
  f("correct", c.at.correct);
  f("counted", c.at.counted);
  f("loss_sum_bits", c.at.loss_sum);
  f(optimizer_from_name, c.at.optimizer_from);
}

constexpr const char* checksum_name = "counters_checksum";

// Only a file whose optimizer was reset has this scalar, so that all others are as they always were.
template <class T>
bool left_out(std::string_view name, T value) {
  return name == optimizer_from_name && value == 0;
}

std::int64_t checksum(const SavedCounters& c) {
  Sha256 sha;
  for_each_scalar(c, [&](const char* name, const auto& v) {
    if (!left_out(name, v)) sha.update(&v, sizeof v);
  });
  return static_cast<std::int64_t>(std::stoull(sha.hex().substr(0, 16), nullptr, 16));
}

const StoredTensor* scalar(const Checkpoint& c, const char* name) {
  const StoredTensor* t = c.find(name);
  if (t && (!t->shape.empty() || t->dtype != DType::i64))
    throw Error(ErrorKind::data, std::string("training state: ") + name + " is no i64 scalar");
  return t;
}

std::string number(std::int64_t v) { return std::to_string(v); }

[[noreturn]] void wrong(const std::string& what) {
  throw Error(ErrorKind::data, "training state: " + what + "; the file was changed or damaged: it cannot be gone on with");
}

void require_range(const char* name, std::int64_t value, std::int64_t least, std::int64_t most, const std::string& why) {
  if (value < least || value > most)
    wrong(std::string(name) + " is " + number(value) + ", which cannot be: it lies in " + number(least) + ".." + number(most) + why);
}

void require_equal(const char* name, std::int64_t value, std::int64_t expected, const std::string& why) {
  if (value != expected) wrong(std::string(name) + " is " + number(value) + ", but " + why + " make it " + number(expected));
}

// In the middle of an epoch, which only the same batches can go on with.
void check_epoch(const SavedCounters& c, const TrainerOptions& options) {
  require_range("epoch_samples", c.epoch_samples, 1, std::int64_t{1} << 53, ", as batch is " + number(c.at.batch));
  const EpochBatches epoch(c.epoch_samples, options);
  if (epoch.batch != c.epoch_batch)
    throw Error(ErrorKind::usage, "the checkpoint stopped in the middle of an epoch, after " + number(c.at.batch) + " batches of " +
                                      number(c.epoch_batch) + " samples; this run's batch size is " + number(options.batch) +
                                      ": go on with " + number(c.epoch_batch) + ", it can change between epochs only");
  const std::string of = number(c.epoch_samples) + " samples in batches of " + number(epoch.batch);
  require_range("batch", c.at.batch, 0, epoch.count(), ", the batches of " + of);
  const std::int64_t position = std::min(c.at.batch * epoch.batch, c.epoch_samples);
  const std::string done = "batch " + number(c.at.batch) + " of " + of;
  require_equal("position", c.at.position, position, done);
  require_equal("samples", c.at.samples, position, done);
}

// A state saved without a checksum must come from a run whose every epoch had these batches.
void check_even(const SavedCounters& c, const TrainerOptions& options) {
  const std::int64_t batches = c.epoch_samples ? EpochBatches(c.epoch_samples, options).count() : 0;
  std::int64_t steps = 0;
  if (__builtin_mul_overflow(c.epochs_done, batches, &steps) || __builtin_add_overflow(steps, c.at.batch, &steps)) steps = -1;
  require_equal("step", c.at.step, steps,
                number(c.epochs_done) + " epochs of " + number(batches) + " batches and batch " + number(c.at.batch));
}

}  // namespace

void append(const SavedCounters& counters, Checkpoint& training) {
  const auto add = [&](const char* name, std::int64_t v) {
    training.tensors.push_back(StoredTensor::from(name, {}, std::span<const std::int64_t>{&v, 1}));
  };
  for_each_scalar(counters, [&](const char* name, const auto& v) {
    if (!left_out(name, v)) add(name, std::bit_cast<std::int64_t>(v));
  });
  add(checksum_name, checksum(counters));
}

std::vector<std::string> counter_names() {
  std::vector<std::string> names{checksum_name};
  for_each_scalar(SavedCounters{}, [&](const char* name, const auto&) { names.emplace_back(name); });
  return names;
}

SavedCounters read_counters(const Checkpoint& training, const TrainerOptions& options) {
  SavedCounters c;
  const StoredTensor* const sum = scalar(training, checksum_name);
  for_each_scalar(c, [&]<class T>(const char* name, T& v) {
    const StoredTensor* const t = scalar(training, name);
    if (t) v = std::bit_cast<T>(t->integers().at(0));
    else if (!left_out(name, v) && (sum || std::string_view(name) != "epoch_batch"))
      throw Error(ErrorKind::data, std::string("training state: no ") + name);
  });
  if (!sum) c.epoch_batch = c.epoch_samples > 0 ? EpochBatches(c.epoch_samples, options).batch : 0;  // not saved before the checksum was

  constexpr std::int64_t most = std::int64_t{1} << 53;
  const StepState& at = c.at;
  require_range("step", at.step, 0, most, "");
  if (training.find(optimizer_from_name))
    require_range(optimizer_from_name, at.optimizer_from, 1, at.step, ", as step is " + number(at.step));
  require_range("epochs_done", c.epochs_done, 0, at.step, ", as step is " + number(at.step));
  require_range("epoch_samples", c.epoch_samples, 0, most, "");
  require_range("epoch_batch", c.epoch_batch, 0, c.epoch_samples, ", the samples of the epoch");
  require_range("batch", at.batch, 0, at.step - c.epochs_done,
                ", as step is " + number(at.step) + " after " + number(c.epochs_done) + " whole epochs");
  require_range("samples", at.samples, 0, c.epoch_samples, ", the samples of the epoch");
  require_range("counted", at.counted, 0, at.samples, ", the samples seen");
  require_range("correct", at.correct, 0, at.counted, ", the samples that count");
  if (!std::isfinite(at.loss_sum)) wrong("loss_sum is not finite");
  if (at.batch == 0) require_equal("position", at.position, 0, "no batch of the epoch");
  else check_epoch(c, options);
  if (at.seed != options.seed)
    throw Error(ErrorKind::usage,
                "the checkpoint was trained with seed " + std::to_string(at.seed) + ", this run has seed " + std::to_string(options.seed));
  if (!sum) check_even(c, options);
  else if (sum->integers().at(0) != checksum(c)) wrong("its counters do not add up to their checksum");
  return c;
}

}  // namespace norma
