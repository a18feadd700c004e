// Whether devices compute what they should: every kernel call of a net's Plans against a reference in double, and whole steps.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "norma/dataset.h"
#include "norma/executor.h"
#include "norma/module.h"
#include "norma/trainer.h"

namespace norma {

struct PlanCall;  // src/plan/plan.h

// Another library's kernels, shown beside norma's: what they compute is reported and fails nothing.
struct OtherLibrary {
  std::string name;  // "cuDNN 9.13.0"
  // Computes what it offers of a Call. operands: arrays of the host as the Call lists its operands, in NCHW and of the Plan's types; null
  // for those that are absent or part of the data set. Returns a bit for each operand that it wrote whole, 0 where it offers nothing.
  std::function<std::uint32_t(const PlanCall& call, std::span<void* const> operands)> run;
};

// What one backend made of all Calls of one kind. Every Call starts from the reference's values rounded to float, so that an error is
// the Call's own and none is handed on.
struct CallCheck {
  std::string call, backend;  // "conv2d_forward", "cpu"
  std::int64_t calls = 0;     // that were compared; 0 where the backend offers none
  // The worst |actual - expected| of an element, as a share of the largest in its tensor; of a tensor that is 0 but for rounding, as it
  // is. Infinite where one is not finite.
  double error = 0;
  // The worst of the same as a share of what float arithmetic may cost this element, integers nothing: an output is wrong above 1.
  double share = 0;
  std::string path{}, operand{};  // where the share was worst: "conv1", "dw"; empty where nothing differed
  std::int64_t wrong = 0;         // Calls with a wrong output; 0 of the other library, which decides nothing
  std::string problem{};          // of the first of them: "[conv1] train, 256 samples: dw: 1 of 150 elements differ, worst at ..."

  bool passed() const { return wrong == 0; }
};

// Steps as training or evaluation run them (grouped, memory reused, on a GPU captured as a graph) against the same Calls run one by one.
struct StepCheck {
  std::string backend;
  Mode mode = Mode::train;
  std::int64_t samples = 0;
  int runs = 0;              // one after the other
  std::string difference{};  // empty where all bits are equal: "conv1.weight after run 2"

  bool passed() const { return difference.empty(); }
};

struct VerifyReport {
  struct Backend {
    std::string name, description;  // "cpu", "cpu (avx512, 2 threads)"
  };
  std::vector<Backend> backends;
  std::vector<CallCheck> calls;  // by kind in the order of the Plans, then by backend; the other library last
  std::vector<StepCheck> steps;
  std::int64_t compared = 0;  // Calls, of all backends together

  bool passed() const;  // false where nothing was compared
};

// Checks the devices on the Plans of training (options.batch samples, and what an epoch over `data` leaves for its last batch) and of
// evaluation, with the first samples of `data`; options.device does not count. Throws as Trainer and Trainer::fit, and Error(device)
// where a device cannot be used; what differs is in the report.
VerifyReport verify(const Module& net, const TrainerOptions& options, const Dataset& data, std::span<const Device> devices,
                    const OtherLibrary* other = nullptr);

}  // namespace norma
