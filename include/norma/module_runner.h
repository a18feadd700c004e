// One module (or any small graph) run alone: tensors go in and come out by name.
//
//   ModuleRunner run{nn::BatchNorm{}, {1, 3, 3, 3}};
//   run.write("x", x);  run.write("dy", dy);
//   run.step();
//   run.read("y"), run.read("dx"), run.read("bn.weight.grad"), run.read("bn.running_mean")
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "norma/executor.h"
#include "norma/export.h"
#include "norma/graph.h"
#include "norma/module.h"

namespace norma {

// One thread at a time; a call while another thread's runs, or of a runner that was moved from, throws Error(usage). References that it
// returns are good as long as it.
class NORMA_API ModuleRunner {
 public:
  struct Options {
    Mode mode = Mode::train;
    Device device = Device::cpu();
    ExecutorOptions executor{};
    Precision precision = Precision::fp32;
    std::uint64_t seed = 0;
    bool fuse = true, reuse = false;  // without reuse every value can be read after the step
    bool backward = true;
    int lanes = 0;                // 0: the device's own; 1: NCHW, on a GPU only
    bool input_gradients = true;  // with backward: also those of the inputs, which the first layer of a net has no use for
  };
  using Function = std::function<Value(Builder&, const std::vector<Value>&)>;

  // Input "x" of the given shape (batch included).
  ModuleRunner(const Module& module, const Shape& x) : ModuleRunner(module, x, Options{}) {}
  ModuleRunner(const Module& module, const Shape& x, Options options);
  // Several named inputs.
  ModuleRunner(const Function& function, const std::vector<std::pair<std::string, Shape>>& inputs, Options options);
  ~ModuleRunner();
  ModuleRunner(ModuleRunner&&) noexcept;
  ModuleRunner& operator=(ModuleRunner&&) noexcept;

  // Writes a value by name: an input ("x"), the upstream gradient "dy", a parameter or buffer ("conv.weight", "bn.running_var"). The order
  // is NCHW. An input that is never written is 0. Throws Error(usage) for an unknown name, a wrong number of elements, or a value that
  // step() computes. A running variance below 0 is refused, and a count of batches that is no whole number in 0..2^53.
  void write(std::string_view name, std::span<const float> values);
  // Also reads "y", gradients of inputs ("dx"; for an input "a": "da") and of parameters ("conv.weight.grad"), and any node by its path.
  // Throws Error(usage) for values that no step has computed, gradients without a "dy", and values whose memory was used again
  // (Options::reuse).
  std::vector<float> read(std::string_view name) const;
  Shape shape(std::string_view name) const;

  // Forward, backward, running statistics. Throws Error(usage) where an input's memory was used again and it was not written since.
  void step();
  // Does one step(); returns the seconds of each Call of the Plan, in its order.
  std::vector<double> step_timed();

  const Graph& graph() const;
  const Plan& plan() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace norma
