// Finds faults that must not pass as a result. These are non-finite samples, parameters, losses and outputs, and sets in which no sample
// counts.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/batch_order.h"
#include "norma/error.h"
#include "norma/loss.h"
#include "norma/text.h"
#include "src/train/trainer_state.h"

namespace norma {
namespace {

bool is_running_variance(std::string_view name) { return name == "running_var" || name.ends_with(".running_var"); }

// The index of the first value for which wrong() is, or n. Looks at a block at a time, which the compiler makes vectors of.
template <class Wrong>
std::size_t first_wrong(const float* values, std::size_t n, Wrong wrong) {
  constexpr std::size_t block = 4096;
  for (std::size_t begin = 0; begin < n; begin += block) {
    const std::size_t end = std::min(n, begin + block);
    bool any = false;
    for (std::size_t i = begin; i < end; ++i) any |= wrong(values[i]);
    if (any) return static_cast<std::size_t>(std::find_if(values + begin, values + end, wrong) - values);
  }
  return n;
}

bool not_finite(float v) { return (std::bit_cast<std::uint32_t>(v) & 0x7f800000u) == 0x7f800000u; }

}  // namespace

std::string first_fault(const Checkpoint& checkpoint) {
  for (const StoredTensor& t : checkpoint.tensors) {
    if (t.dtype != DType::f32) continue;
    std::vector<float> values(t.bytes.size() / sizeof(float));
    if (!values.empty()) std::memcpy(values.data(), t.bytes.data(), values.size() * sizeof(float));
    const auto report = [&](std::size_t i, const char* why) {
      return printable(t.name) + " is " + std::to_string(values[i]) + " at element " + std::to_string(i) + why;
    };
    if (const std::size_t i = first_wrong(values.data(), values.size(), not_finite); i < values.size()) return report(i, "");
    if (!is_running_variance(t.name)) continue;
    const auto negative = [](float v) { return v < 0; };
    if (const std::size_t i = first_wrong(values.data(), values.size(), negative); i < values.size())
      return report(i, ", which no variance can be");
  }
  return {};
}

std::string Trainer::State::first_fault() const {
  std::string fault = norma::first_fault(saved_model());
  return fault.empty() ? norma::first_fault(saved_training()) : fault;
}

void Trainer::State::check_features(const DatasetView& data) const {
  if (const std::size_t at = first_wrong(data.targets.data(), data.targets.size(), not_finite); at < data.targets.size())
    throw Error(ErrorKind::data, "data set " + printable(data.name) + ": target " + std::to_string(at) + " is " +
                                     std::to_string(data.targets[at]) + "; it must be finite");
  if (stored != DType::f32) return;
  const std::size_t at = first_wrong(data.floats.data(), data.floats.size(), not_finite);
  if (at == data.floats.size()) return;
  const auto features = static_cast<std::size_t>(data.sample.elements());
  throw Error(ErrorKind::data, "data set " + printable(data.name) + ": feature " + std::to_string(at % features) + " of sample " +
                                   std::to_string(at / features) + " is " + std::to_string(data.floats[at]) + "; it must be finite");
}

void Trainer::State::check_counted(const DatasetView& data, kernels::Range samples) const {
  const auto* ce = std::get_if<CrossEntropy>(&options.loss);
  if (!ce || data.labels.empty()) return;
  for (std::int64_t i = samples.begin; i < samples.end; ++i)
    if (data.labels[static_cast<std::size_t>(i)] != ce->ignore_index) return;
  const std::string which = samples.end - samples.begin == data.size()
                                ? ""
                                : " of samples " + std::to_string(samples.begin) + " .. " + std::to_string(samples.end - 1);
  throw Error(ErrorKind::data, "data set " + printable(data.name) + ": every label" + which + " is ignore_index (" +
                                   std::to_string(ce->ignore_index) + "), so that no sample counts");
}

void Trainer::State::check_counted(const DatasetView& train, std::int64_t epoch, std::int64_t first, std::int64_t end) const {
  const kernels::BatchOrder order({.seed = options.seed, .population = train.size(), .epoch = epoch}, options.shuffle);
  const auto* ce = std::get_if<CrossEntropy>(&options.loss);
  if (!ce || ce->reduction != Reduction::mean) return;
  for (std::int64_t i = first; i < std::min(end, train.size()); ++i)
    if (train.labels[static_cast<std::size_t>(order[i])] != ce->ignore_index) return;
  throw Error(ErrorKind::data, "data set " + printable(train.name) + ": every label of a batch of epoch " + std::to_string(epoch + 1) +
                                   " is ignore_index (" + std::to_string(ce->ignore_index) +
                                   "), so that its mean loss is none; a larger batch is needed, or a loss that is the sum");
}

void Trainer::State::fail_not_finite(const DatasetView& data, const std::string& what) {
  std::string cause = norma::first_fault(saved_model());
  if (cause.empty()) try {
      evaluate({data}, {}, false, true);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::diverged) throw;
      cause = e.what();
    }
  throw Error(ErrorKind::diverged, "data set " + printable(data.name) + ": " + what + (cause.empty() ? "" : ": " + cause));
}

// An infinite weight before a sigmoid gives a finite loss: the parameters are looked at in any case.
Evaluation Trainer::State::measure(const BoundData& of, const std::function<bool()>& go_on) {
  const DatasetView& data = of.data;
  check_counted(data);
  if (const std::string fault = norma::first_fault(saved_model()); !fault.empty())
    throw Error(ErrorKind::diverged, "data set " + printable(data.name) + ": there is nothing to evaluate: " + fault);
  const Evaluation e = evaluate(of, {}, true, false, go_on);
  if (e.samples == data.size() && !std::isfinite(e.loss)) fail_not_finite(data, "the net's loss is " + std::to_string(e.loss));
  return e;
}

}  // namespace norma
