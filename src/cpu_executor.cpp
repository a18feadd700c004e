// Runs Plans with the OpenMP kernels of one instruction-set level.
#include "src/cpu_executor.h"

#include <omp.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <map>
#include <new>
#include <unordered_map>
#include <utility>

#include "norma/error.h"
#include "src/cpu_backend.h"
#include "src/plan.h"

namespace norma {
namespace {

// Zeroed memory at the arena's alignment.
class Block {
 public:
  Block() = default;
  explicit Block(std::size_t bytes)
      : bytes_(bytes), data_(bytes ? static_cast<std::byte*>(::operator new (bytes, std::align_val_t{alignment})) : nullptr) {
    if (data_) std::memset(data_, 0, bytes);
  }
  ~Block() { ::operator delete (data_, std::align_val_t{alignment}); }
  Block(Block&& o) noexcept : bytes_(std::exchange(o.bytes_, 0)), data_(std::exchange(o.data_, nullptr)) {}
  Block& operator=(Block&& o) noexcept {
    std::swap(bytes_, o.bytes_);
    std::swap(data_, o.data_);
    return *this;
  }
  std::size_t size() const { return bytes_; }
  std::byte* data() const { return data_; }

 private:
  std::size_t bytes_ = 0;
  std::byte* data_ = nullptr;
};

class CpuExecutor final : public Executor {
 public:
  explicit CpuExecutor(const ExecutorOptions& options)
      : backend_(choose_cpu_backend(options.isa)), threads_(options.threads ? options.threads : usable_cores()) {
    if (options.threads < 0 || options.threads > 4096)
      throw Error(ErrorKind::usage, "threads must lie in 1..4096, or be 0 for every core, got " + std::to_string(options.threads));
  }

  std::string description() const override {
    return std::string("cpu (") + backend_.isa + ", " + std::to_string(threads_) + (threads_ == 1 ? " thread)" : " threads)");
  }

  int lanes() const override { return kernels::cpu::lanes; }

  void prepare(const Plan& plan) override {
    for (std::size_t r = 0; r < region_count; ++r) {
      Block& block = regions_[r];
      if (plan.region_bytes[r] <= block.size()) continue;
      Block larger{plan.region_bytes[r]};
      if (block.size() && r != static_cast<std::size_t>(Region::activations)) std::memcpy(larger.data(), block.data(), block.size());
      block = std::move(larger);
    }
    plans_[&plan];
    for (auto& [known, addresses] : plans_) addresses = locate(*known);
  }

  void bind(const Plan& plan, int value, const void* source, std::size_t) override {
    const std::string& name = plan[ValueId{value}].name;
    std::byte* address = static_cast<std::byte*>(const_cast<void*>(source));  // Region::data is only read
    bound_[name] = address;
    for (auto& [known, addresses] : plans_)
      if (const auto it = known->names.find(name); it != known->names.end())
        addresses[static_cast<std::size_t>(it->second.index)] = address;
  }

  void write(const Plan& plan, int value, const void* source, std::size_t bytes, std::size_t offset) override {
    if (bytes) std::memcpy(address(plan, value, bytes, offset), source, bytes);
  }

  void read(const Plan& plan, int value, void* destination, std::size_t bytes, std::size_t offset) override {
    if (bytes) std::memcpy(destination, address(plan, value, bytes, offset), bytes);
  }

  void run(const Plan& plan, bool check_each) override {
    omp_set_num_threads(threads_);
    const kernels::Memory memory{plans_.at(&plan).data()};
    for (const PlanCall& c : plan.calls) {
      backend_.run(c.call, memory);
      if (check_each) check(plan, c, memory);
    }
  }

  std::vector<double> run_timed(const Plan& plan) override {
    using Clock = std::chrono::steady_clock;
    omp_set_num_threads(threads_);
    const kernels::Memory memory{plans_.at(&plan).data()};
    std::vector<double> seconds;
    Clock::time_point start = Clock::now();
    for (const PlanCall& c : plan.calls) {
      backend_.run(c.call, memory);
      const Clock::time_point end = Clock::now();
      seconds.push_back(std::chrono::duration<double>(end - start).count());
      start = end;
    }
    return seconds;
  }

  void synchronize() override {}

 private:
  std::vector<std::byte*> locate(const Plan& plan) const {
    std::vector<std::byte*> addresses;
    for (const PlanValue& v : plan.values) {
      if (v.region == Region::data) {
        const auto it = bound_.find(v.name);
        addresses.push_back(it == bound_.end() ? nullptr : it->second);
      } else {
        addresses.push_back(regions_[static_cast<std::size_t>(v.region)].data() + v.offset);
      }
    }
    return addresses;
  }

  std::byte* address(const Plan& plan, int value, std::size_t bytes, std::size_t offset) const {
    const PlanValue& v = plan[ValueId{value}];
    if (v.region == Region::data || offset + bytes > v.bytes)
      throw Error(ErrorKind::failure,
                  "value \"" + v.name + "\" has " + std::to_string(v.bytes) + " bytes, not " + std::to_string(offset + bytes));
    return plans_.at(&plan)[static_cast<std::size_t>(value)] + offset;
  }

  // Throws if the Call wrote a float that is not finite.
  static void check(const Plan& plan, const PlanCall& c, const kernels::Memory& memory) {
    for_each_operand(c.call, [&](const kernels::Operand& o) {
      if (!o.value || o.access == kernels::Access::read || plan[o.value].dtype != DType::f32) return;
      const PlanValue& v = plan[o.value];
      const float* values = memory.at<float>(o.value);
      for (std::size_t i = 0; i < v.bytes / sizeof(float); ++i)
        if (!std::isfinite(values[i]))
          throw Error(ErrorKind::diverged, "[" + c.path + "] " + name_of(c.call) + " wrote " + std::to_string(values[i]) + " to " + v.name +
                                               " " + to_string(v.shape));
    });
  }

  const kernels::cpu::Backend& backend_;
  int threads_;
  std::array<Block, region_count> regions_;
  std::map<std::string, std::byte*> bound_;
  std::unordered_map<const Plan*, std::vector<std::byte*>> plans_;
};

}  // namespace

std::unique_ptr<Executor> make_cpu_executor(const ExecutorOptions& options) { return std::make_unique<CpuExecutor>(options); }

}  // namespace norma
