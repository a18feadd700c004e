// ModuleTimer times one module's forward and backward pass alone. A pass works through any number of copies of the module, each with its
// own tensors. With enough copies no tensor is in a cache when its turn comes.
//
//   ModuleTimer timer{nn::BatchNorm{}, {256, 6, 24, 24}, {.device = Device::cuda(), .copies = 30}};
//   timer.forward();  timer.backward();   // seconds of one module's pass
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "norma/executor.h"
#include "norma/export.h"
#include "norma/module.h"

namespace norma {

// One thread at a time, as ModuleRunner. References that it returns are good as long as it.
class NORMA_API ModuleTimer {
 public:
  struct Options {
    Device device = Device::cpu();
    ExecutorOptions executor{};
    int lanes = 0;  // 0: the device's own; 1: NCHW, on a GPU only. A (N,C) in one lane is NHWC of N pixels
    std::int64_t copies = 1;
    Precision precision = Precision::fp32;
    double seconds = 5e-3;  // that a measurement takes at least: the copies' turns are repeated until then
  };

  // The inputs are of the given shape, all with the same noise, as are the upstream gradients. Throws Error(usage) as the module does,
  // or if the device has no such lanes.
  ModuleTimer(const Module& module, const Shape& x, Options options);
  ~ModuleTimer();
  ModuleTimer(ModuleTimer&&) noexcept;
  ModuleTimer& operator=(ModuleTimer&&) noexcept;

  // Runs the training Plan's Calls of one pass on every copy; returns the seconds of one module's pass. The Calls are queued without
  // waiting, on a GPU as a graph, and then waited for. Loading kernels and capturing come before the first measurement and are not in it.
  double forward();
  double backward();
  // Times the batch statistics alone: the part of a forward pass that reads x for means and variances. Throws Error(usage) where no batch
  // norm of the module makes them.
  double statistics();

  // Gradients after a backward(): "bn_2.weight.grad", "dx1", "y1" (of copy number 1, counted from 0), ..., in NCHW order.
  std::vector<float> read(std::string_view name) const;
  const Plan& forward_plan() const;
  const Plan& backward_plan() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace norma
