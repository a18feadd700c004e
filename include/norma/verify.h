// Verifies that devices compute correctly. It checks every kernel call of a net's Plans against a reference in double, and whole steps.
// Its types are plain values: one thread at a time may change one, any number may read it.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "norma/dataset.h"
#include "norma/executor.h"
#include "norma/export.h"
#include "norma/module.h"
#include "norma/trainer.h"

namespace norma {

struct PlanCall;  // src/plan/plan.h

// Another library's kernels, shown next to norma's. Their errors are reported and fail nothing.
struct OtherLibrary {
  std::string name;  // "cuDNN 9.13.0"
  // Computes the results it offers of a Call. operands are host arrays in the order of the Call's operands, in NCHW and of the Plan's
  // types. Absent operands and those of the data set are null. Returns a bit for each operand that it wrote whole, 0 if it offers nothing.
  std::function<std::uint32_t(const PlanCall& call, std::span<void* const> operands)> run;
};

// One backend's results over all Calls of one kind. Every Call starts from the reference's values rounded to float, so each error is the
// Call's own.
struct NORMA_API CallCheck {
  std::string call, backend;  // "conv2d_forward", "cpu"
  std::int64_t calls = 0;     // that were compared; 0 where the backend offers none
  // Worst |actual - expected| of an element, as a share of the largest in its tensor. For a tensor that is 0 but for rounding it is the
  // absolute error. It is infinite if an element is not finite.
  double error = 0;
  // Worst error as a share of the error that float arithmetic allows this element. Integers are allowed none. An output is wrong above 1.
  double share = 0;
  std::string path{}, operand{};  // place of the worst share: "conv1", "dw"; empty if nothing differed
  std::int64_t wrong = 0;         // Calls with a wrong output; 0 of the other library, which decides nothing
  std::string problem{};          // of the first of them: "[conv1] train, 256 samples: dw: 1 of 150 elements differ, worst at ..."

  bool passed() const { return wrong == 0; }
};

// Compares steps as training or evaluation run them with the same Calls run one by one. Such steps are grouped, reuse memory, and are
// captured as a graph on a GPU.
struct NORMA_API StepCheck {
  std::string backend;
  Mode mode = Mode::train;
  std::int64_t samples = 0;
  int runs = 0;              // one after the other
  std::string difference{};  // empty where all bits are equal: "conv1.weight after run 2"

  bool passed() const { return difference.empty(); }
};

struct NORMA_API VerifyReport {
  struct Backend {
    std::string name, description;  // "cpu", "cpu (avx512, 2 threads)"
  };
  std::vector<Backend> backends;
  std::vector<CallCheck> calls;  // by kind in the order of the Plans, then by backend; the other library last
  std::vector<StepCheck> steps;
  std::int64_t compared = 0;  // Calls, of all backends together

  bool passed() const;  // false where nothing was compared
};

// Checks the devices on the Plans of training and of evaluation, with the first samples of `data`. Training Plans are of options.batch
// samples and of an epoch's last batch. options.device is not used. Throws as Trainer and Trainer::fit do, and Error(device) if a device
// cannot be used. Differences are in the report.
NORMA_API VerifyReport verify(const Module& net, const TrainerOptions& options, const Dataset& data, std::span<const Device> devices,
                              const OtherLibrary* other = nullptr);

}  // namespace norma
