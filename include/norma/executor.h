// The Executor: one device's memory, and the running of Plans on it.
// Its structs are plain values: one thread at a time may change one, any number may read it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "norma/device.h"
#include "norma/export.h"
#include "norma/plan.h"

namespace norma {

// Selects how a GPU runs a Plan from the second time on; the results are the same.
// off: the host launches each kernel. chain: a graph of kernels that follow each other. branches: a graph in which each kernel waits only
// for the kernels whose results it needs.
enum class Capture : std::uint8_t { off, chain, branches };

struct NORMA_API ExecutorOptions {
  int threads = 0;           // 0: usable_cores()
  std::string isa = "auto";  // "auto" or one of cpu_isa_levels()
  Capture capture = Capture::branches;
  std::int64_t graph_calls = 2048;  // most Calls in a captured graph, in whole steps; one step at least
  // The CPU's loops run on these threads of the host instead of norma's own. Calls work(i) once for each i < n, at the same time or one
  // after the other, and returns when all are done. `threads` is then the number of parts at a time. The bits are the same. All that it
  // refers to must live as long as the Executor.
  std::function<void(int n, const std::function<void(int)>& work)> parallel_for{};
};

// One thread at a time may call an Executor, which does not check it. Each thread may have its own.
class NORMA_API Executor {
 public:
  virtual ~Executor() = default;
  // "cpu (avx512, 2 threads)"
  virtual std::string description() const = 0;
  virtual const DeviceTraits& traits() const = 0;  // good as long as the Executor
  // Makes memory for the Plan. Its persistent regions are those of the Plans prepared before, and keep their contents; new
  // memory is zero. The Plan must live until the last call of this Executor.
  virtual void prepare(const Plan& plan) = 0;
  // Binds a value of Region::data to these bytes of the host, in every Plan that has a value of that name. The CPU reads them in place, a
  // GPU copies them. They must stay until the next bind or the Executor's end. A GPU that already has this source under this version, other
  // than 0, does not copy it again.
  virtual void bind(const Plan& plan, int value, const void* source, std::size_t bytes, std::int64_t version = 0) = 0;
  // Raw bytes of value number `value`, in the device's layout.
  virtual void write(const Plan& plan, int value, const void* source, std::size_t bytes, std::size_t offset = 0) = 0;
  virtual void read(const Plan& plan, int value, void* destination, std::size_t bytes, std::size_t offset = 0) = 0;
  // Runs the Plan `times` times. check_each: after each Call look for a non-finite output and throw Error(diverged) naming call, module and
  // value.
  virtual void run(const Plan& plan, std::int64_t times = 1, bool check_each = false) = 0;
  // Runs one of the Plan's Calls alone, by its number, on what its values hold. Throws Error(usage) for a Plan that shares memory between
  // packs of samples: switch TrainerOptions::reuse off.
  virtual void run_call(const Plan& plan, std::size_t call) = 0;
  // Runs the Plan once; returns the seconds each of its Calls took, in the Plan's order. If threads work on different Calls at once, a
  // Call's share is its threads' total time divided by their number.
  virtual std::vector<double> run_timed(const Plan& plan) = 0;
  virtual void synchronize() = 0;
};

// Throws Error(usage) naming the field that no device can have; of a GPU whatever is to be found out there.
NORMA_API void validate(const Device& device, const ExecutorOptions& options);

// Throws Error(device) where the device cannot be used, Error(usage) as validate.
NORMA_API std::unique_ptr<Executor> make_executor(const Device& device, const ExecutorOptions& options = {});

}  // namespace norma
