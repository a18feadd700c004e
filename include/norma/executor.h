// Devices, and the Executor: one device's memory, and the running of Plans on it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "norma/plan.h"

namespace norma {

struct Device {
  enum class Kind : std::uint8_t { cpu, cuda };
  Kind kind = Kind::cpu;
  int index = 0;

  static Device cpu() { return {Kind::cpu, 0}; }
  static Device cuda(int index = 0) { return {Kind::cuda, index}; }
  // A usable GPU, else the CPU.
  static Device best();
  // "auto", "cpu", "cuda", "cuda:1". Throws Error(usage).
  static Device parse(std::string_view text);
};

std::string to_string(const Device& d);

// Why Device::best() chose what it chose, in one line: "no CUDA in this build".
std::string best_device_reason();

// What there is of CUDA: in this build, and on this machine.
struct CudaReport {
  struct Gpu {
    std::string name{};        // "NVIDIA H200"
    int major = 0, minor = 0;  // compute capability
    int multiprocessors = 0;
    std::size_t memory = 0;  // bytes
    std::string problem{};   // why it cannot be used, with what to do; empty where it can
  };
  bool built = false;           // with the CUDA kernels
  std::string architectures{};  // that they were compiled for, as CMAKE_CUDA_ARCHITECTURES says it: "90", "all-major"
  int runtime = 0, driver = 0;  // 13000 is CUDA 13.0: what the build was made with; the latest that the driver knows, 0 without one
  std::vector<Gpu> gpus{};      // by number
  std::string problem{};        // why there are none, with what to do
};

// Never throws for what is missing. Where there are GPUs it runs a kernel on each.
CudaReport cuda_report();

// How a GPU runs a Plan from the second time on; none changes the result. off: each kernel is launched by the host. chain: as a graph of
// kernels that follow each other. branches: as one where each waits only for those whose results it needs.
enum class Capture : std::uint8_t { off, chain, branches };

struct ExecutorOptions {
  int threads = 0;           // 0: usable_cores()
  std::string isa = "auto";  // "auto" or one of cpu_isa_levels()
  Capture capture = Capture::branches;
  std::int64_t graph_calls = 2048;  // a captured graph holds as many steps as have so many Calls together, one at least
};

// Threads that are worth having here: the processors this process may run on, or fewer where its control group has a quota, rounded up.
int usable_cores();

// Instruction-set levels of the CPU kernels in this build that this machine can run, best first: {"avx512", "avx2"}.
std::vector<std::string> cpu_isa_levels();

class Executor {
 public:
  virtual ~Executor() = default;
  // "cpu (avx512, 2 threads)"
  virtual std::string description() const = 0;
  // The lanes L a Plan for this device is lowered to.
  virtual int lanes() const = 0;
  // Whether a Plan for so many samples is best run pack by pack of L samples.
  virtual bool by_pack(std::int64_t samples) const = 0;
  // Whether Calls that one kernel can run are to be joined in its Plans.
  virtual bool joins() const = 0;
  // Makes memory for the Plan. Its persistent regions are those of the Plans prepared before, and keep their contents; new
  // memory is zero. The Plan must outlive the Executor's use of it.
  virtual void prepare(const Plan& plan) = 0;
  // How many runs of Plans may be queued before somebody reads what they gave; 1 where run() returns only when all is done.
  virtual std::int64_t steps_ahead() const = 0;
  // A value of Region::data stands for these bytes of the host from now on, in every Plan that names it alike: the CPU reads them in
  // place, a GPU copies them. They must stay until the next bind or the Executor's end. A GPU that already has the same source under
  // the same version, other than 0, does not copy it again.
  virtual void bind(const Plan& plan, int value, const void* source, std::size_t bytes, std::int64_t version = 0) = 0;
  // Raw bytes of value number `value`, in the device's layout.
  virtual void write(const Plan& plan, int value, const void* source, std::size_t bytes, std::size_t offset = 0) = 0;
  virtual void read(const Plan& plan, int value, void* destination, std::size_t bytes, std::size_t offset = 0) = 0;
  // Runs the Plan so many times, one after the other.
  // check_each: after each Call look for a non-finite output and throw Error(diverged) naming call, module and value.
  virtual void run(const Plan& plan, std::int64_t times = 1, bool check_each = false) = 0;
  // Runs one of the Plan's Calls alone, by its number, on what its values hold. Throws Error(usage) for a Plan that shares memory between
  // packs of samples: switch TrainerOptions::reuse off.
  virtual void run_call(const Plan& plan, std::size_t call) = 0;
  // Runs the Plan once; returns the seconds each of its Calls took, in the Plan's order. Where threads work on different Calls at the
  // same time, a Call's share is its threads' time added up and divided by the number of threads.
  virtual std::vector<double> run_timed(const Plan& plan) = 0;
  virtual void synchronize() = 0;
};

// Throws Error(usage) naming the field that no device can have; of a GPU whatever is to be found out there.
void validate(const Device& device, const ExecutorOptions& options);

// Throws Error(device) where the device cannot be used, Error(usage) as validate.
std::unique_ptr<Executor> make_executor(const Device& device, const ExecutorOptions& options = {});

// What a device does at best with these options, measured: the best of several tries each.
struct Roofline {
  std::string device;  // "cpu (avx512, 2 threads)"
  int threads = 1;     // of the CPU; 0: a GPU
  double flops = 0;    // per second: fp32 multiply-adds (two operations each) between registers, every thread's best while all run
  double tf32_flops = 0, bf16_flops = 0;  // the same on a GPU's tensor cores, by the instructions that norma's kernels use; 0: it has none
  // Bytes per second, each array several times the last-level cache. A GPU's streaming copy asks the cache to keep nothing. A copy counts
  // the bytes read and the bytes written: what a plain store moves besides, reading each line before it is overwritten, is not counted;
  // streaming stores spare it.
  double copy = 0, copy_streaming = 0, read = 0;
  std::size_t array_bytes = 0;  // of each array

  double bandwidth() const { return copy > copy_streaming ? copy : copy_streaming; }
  double flops_of(Precision p) const {
    const double on_tensor_cores = p == Precision::tf32 ? tf32_flops : p == Precision::bf16 ? bf16_flops : 0;
    return on_tensor_cores > 0 ? on_tensor_cores : flops;
  }
  // Seconds that moving so many bytes, or so many operations, take at least.
  double least_seconds(double bytes_moved, double operations, Precision precision = Precision::fp32) const {
    const double memory = bytes_moved / bandwidth(), arithmetic = operations / flops_of(precision);
    return memory > arithmetic ? memory : arithmetic;
  }
};

// About a second. Throws Error(device) where the device cannot be used.
Roofline measure_roofline(const Device& device, const ExecutorOptions& options = {});

// A copy by itself (the CPU's is the streaming one), to be timed in turn with what is held against it: other programs take their share of
// the memory from both. Each call copies `copies` arrays of so many bytes (rounded up), one after the other, so that with enough of them
// none is in a cache, on a GPU as often as takes 5 ms; it returns bytes per second, read and written ones together. Throws Error(device)
// where the device cannot be used.
std::function<double()> copy_probe(const Device& device, const ExecutorOptions& options, std::size_t array_bytes, std::int64_t copies = 1);

// Of the largest cache that all of the device shares: a GPU's L2. On the CPU as far as the system tells, else 0.
std::size_t cache_bytes(const Device& device);

// What a GPU needs at least to go from one thing to the next.
struct Latency {
  std::string what;             // "graph node"
  std::int64_t blocks = 0;      // of 128 threads
  std::vector<double> seconds;  // for one, of each round
  std::string missing;          // why it was not measured
};

// Dependent kernels that do nothing, in a graph, with and without programmatic launch, and on a stream; barriers of a grid and a cluster.
// Throws Error(device) where the GPU cannot be used, Error(usage) for a CPU.
std::vector<Latency> measure_latencies(const Device& device, std::int64_t rounds);

}  // namespace norma
