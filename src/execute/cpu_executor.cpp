// Runs Plans with the CPU kernels of one instruction-set level.
#include "src/execute/cpu_executor.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <new>
#include <unordered_map>
#include <utility>

#include "kernels/chunks.h"
#include "norma/device.h"
#include "norma/error.h"
#include "norma/text.h"
#include "src/execute/device_traits.h"
#include "src/execute/thread_pool.h"
#include "src/execute/value_addresses.h"
#include "src/plan/plan.h"

namespace norma {
namespace {

// Zeroed memory, page by page when it is first touched; in huge pages where it fills one and the system gives them.
class Block {
 public:
  Block() = default;
  // what: "the activations of batch size 256", for the message if memory runs out.
  Block(std::size_t bytes, const std::string& what) : bytes_(bytes), mapped_(bytes < huge_page ? bytes : bytes + huge_page) {
    if (!bytes) return;
    mapping_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping_ == MAP_FAILED)
      throw Error(ErrorKind::failure, "out of memory: " + std::to_string(bytes) + " bytes for " + what + "; use a smaller batch or net");
    data_ = static_cast<std::byte*>(mapping_);
    if (bytes < huge_page) return;
    data_ += (huge_page - reinterpret_cast<std::uintptr_t>(data_) % huge_page) % huge_page;
    madvise(data_, bytes, MADV_HUGEPAGE);  // a wish: without it memory is only slower
  }
  ~Block() {
    if (data_) munmap(mapping_, mapped_);
  }
  Block(Block&& o) noexcept { swap(o); }
  Block& operator=(Block&& o) noexcept {
    swap(o);
    return *this;
  }
  std::size_t size() const { return bytes_; }
  std::byte* data() const { return data_; }

 private:
  void swap(Block& o) {
    std::swap(bytes_, o.bytes_);
    std::swap(mapped_, o.mapped_);
    std::swap(mapping_, o.mapping_);
    std::swap(data_, o.data_);
  }

  static constexpr std::size_t huge_page = std::size_t{2} << 20;
  std::size_t bytes_ = 0, mapped_ = 0;
  void* mapping_ = nullptr;
  std::byte* data_ = nullptr;
};

class CpuExecutor final : public Executor {
 public:
  explicit CpuExecutor(const ExecutorOptions& options)
      : backend_(choose_cpu_backend(options.isa)),
        threads_(options.threads ? options.threads : usable_cores()),
        traits_(cpu_traits(threads_)) {
    if (options.threads < 0 || options.threads > 4096)
      throw Error(ErrorKind::usage, "threads must lie in 1..4096, or be 0 for every core, got " + std::to_string(options.threads));
    pool_ = options.parallel_for ? std::make_unique<ThreadPool>(threads_, options.parallel_for) : std::make_unique<ThreadPool>(threads_);
    taken_ = std::vector<Counter>(static_cast<std::size_t>(threads_));
    workers_ = std::vector<Worker>(static_cast<std::size_t>(threads_));
  }

  std::string description() const override {
    return std::string("cpu (") + backend_.isa + ", " + std::to_string(threads_) + (threads_ == 1 ? " thread)" : " threads)");
  }

  const DeviceTraits& traits() const override { return traits_; }

  // Allocates all memory before anything moves. If memory runs out, nothing is changed.
  void prepare(const Plan& plan) override {
    pool_->start();
    Prepared prepared(plan, threads_);
    const std::size_t whole = std::max(whole_scratch_, prepared.whole_scratch), pack = std::max(pack_scratch_, prepared.pack_scratch);
    std::array<Block, region_count> larger;
    std::array<std::byte*, region_count> begins{};
    for (std::size_t r = 0; r < region_count; ++r) {
      const Region region = static_cast<Region>(r);
      const std::size_t bytes = plan.region_bytes[r] * static_cast<std::size_t>(region == Region::pack ? threads_ : 1);
      if (bytes > regions_[r].size()) larger[r] = Block{bytes, purpose(plan, region)};
      begins[r] = (larger[r].size() ? larger[r] : regions_[r]).data();
    }
    Block scratch;
    if (const std::size_t bytes = whole + pack * static_cast<std::size_t>(threads_); bytes > scratch_.size())
      scratch = Block{bytes, "the scratch of batch size " + std::to_string(plan.samples)};
    std::vector<std::pair<Prepared*, std::vector<std::byte*>>> moved;
    for (auto& [known, of_known] : plans_) moved.emplace_back(&of_known, locate(*known, begins, bound_));
    prepared.addresses = locate(plan, begins, bound_);
    // Nothing is allocated on the threads, where running out of memory could not be told.
    for (Worker& w : workers_) {
      w.addresses.reserve(plan.values.size());
      for (const std::vector<std::size_t>& values : prepared.whole_values) w.pieces.reserve(values.size());
    }
    plans_.insert_or_assign(&plan, std::move(prepared));

    for (std::size_t r = 0; r < region_count; ++r) {
      if (!larger[r].size()) continue;
      const Region region = static_cast<Region>(r);
      if (regions_[r].size() && region != Region::activations && region != Region::pack)
        std::memcpy(larger[r].data(), regions_[r].data(), regions_[r].size());
      regions_[r] = std::move(larger[r]);
    }
    if (scratch.size()) scratch_ = std::move(scratch);
    whole_scratch_ = whole, pack_scratch_ = pack;
    for (auto& [known, addresses] : moved) known->addresses = std::move(addresses);
  }

  void bind(const Plan& plan, int value, const void* source, std::size_t, std::int64_t) override {
    check_bind(plan, value);
    const std::string& name = plan[ValueId{value}].name;
    std::byte* address = static_cast<std::byte*>(const_cast<void*>(source));  // Region::data is only read
    bound_[name] = address;
    for (auto& [known, prepared] : plans_)
      if (const auto it = known->names.find(name); it != known->names.end())
        prepared.addresses[static_cast<std::size_t>(it->second.index)] = address;
  }

  void write(const Plan& plan, int value, const void* source, std::size_t bytes, std::size_t offset) override {
    if (bytes) std::memcpy(address_of(plans_, plan, value, bytes, offset), source, bytes);
  }

  void read(const Plan& plan, int value, void* destination, std::size_t bytes, std::size_t offset) override {
    check_survives(plan, value);
    if (bytes) std::memcpy(destination, address_of(plans_, plan, value, bytes, offset), bytes);
  }

  void run(const Plan& plan, std::int64_t times, bool check_each) override {
    const Prepared& prepared = ready(plan);
    for (std::int64_t i = 0; i < times; ++i)
      run_stages(
          plan, prepared,
          [&](const Stage& stage, const Call& call, const kernels::Memory& memory) {
            backend_.run(call, stage.part, memory);
            if (check_each) check(plan, stage, memory);
          },
          check_each ? 1 : threads_);
  }

  void run_call(const Plan& plan, std::size_t call) override {
    check_whole(plan);
    check_call(plan, call);
    const Prepared& prepared = ready(plan);
    const kernels::cpu::TeamScope scope(&pool_->team());
    backend_.run(plan.calls[call].call, kernels::Part::whole, whole_memory(prepared));
  }

  std::vector<double> run_timed(const Plan& plan) override {
    using Clock = std::chrono::steady_clock;
    std::vector<std::vector<double>> of_thread(static_cast<std::size_t>(threads_), std::vector<double>(plan.calls.size(), 0.0));
    run_stages(
        plan, ready(plan),
        [&](const Stage& stage, const Call& call, const kernels::Memory& memory) {
          const Clock::time_point start = Clock::now();
          backend_.run(call, stage.part, memory);
          const bool alone = stage.part == kernels::Part::pack;  // else all threads share the work
          of_thread[static_cast<std::size_t>(kernels::cpu::place.part)][static_cast<std::size_t>(stage.call)] +=
              std::chrono::duration<double>(Clock::now() - start).count() / (alone ? threads_ : 1);
        },
        threads_);
    std::vector<double> seconds(plan.calls.size(), 0.0);
    for (const std::vector<double>& one : of_thread)
      for (std::size_t i = 0; i < seconds.size(); ++i) seconds[i] += one[i];
    return seconds;
  }

  void synchronize() override {}

 private:
  // Data that running a Plan needs in addition to it.
  struct Prepared {
    Prepared() = default;
    Prepared(const Plan& plan, int threads) {
      const std::int64_t last = plan.samples - (plan.packs() - 1) * plan.lanes;
      for (const PlanCall& c : plan.calls) {
        of_pack.push_back(cut(c.call, plan.lanes));
        of_last_pack.push_back(cut(c.call, last));
        whole_scratch = std::max(whole_scratch, kernels::cpu::scratch_bytes(c.call, threads));
        if (!std::visit([](const auto& call) { return kernels::on_host<std::decay_t<decltype(call)>>; }, c.call))  // those run whole
          pack_scratch = std::max(pack_scratch, kernels::cpu::scratch_bytes(of_pack.back(), 1));
      }
      for (const Phase& phase : plan.phases) {
        std::vector<std::size_t>& values = cut_values.emplace_back();
        for (const Stage& stage : phase.packs)
          for_each_operand(plan, stage, [&](const kernels::Operand& o) {
            if (plan[o.value].pack_bytes > 0) values.push_back(static_cast<std::size_t>(o.value.index));
          });
        whole_values.push_back(touched_whole(plan, values));
        std::sort(values.begin(), values.end());
        values.erase(std::unique(values.begin(), values.end()), values.end());
      }
    }
    // Selects, of the values a phase's packs touch, whole-batch values in that order. Together they leave half of a usual L2 to the pack
    // before.
    static std::vector<std::size_t> touched_whole(const Plan& plan, const std::vector<std::size_t>& values) {
      constexpr std::size_t most_bytes = std::size_t{512} << 10;
      std::vector<std::size_t> touched;
      std::size_t bytes = 0;
      for (std::size_t v : values) {
        const PlanValue& value = plan.values[v];
        if (value.region == Region::pack || std::find(touched.begin(), touched.end(), v) != touched.end()) continue;
        if ((bytes += value.pack_bytes) > most_bytes) break;
        touched.push_back(v);
      }
      return touched;
    }
    static Call cut(Call call, std::int64_t samples) {
      std::visit(
          [&](auto& c) {
            if constexpr (requires { c.cut(samples); }) c.cut(samples);
          },
          call);
      return call;
    }

    std::vector<std::byte*> addresses;                   // [values]
    std::vector<Call> of_pack, of_last_pack;             // the Plan's Calls, cut
    std::vector<std::vector<std::size_t>> cut_values;    // of each phase: values of which each pack touches its part only
    std::vector<std::vector<std::size_t>> whole_values;  // and of those, the values to fetch ahead for the next pack
    std::size_t whole_scratch = 0, pack_scratch = 0;     // bytes that a Call needs at most: of the whole batch, of a pack
  };

  // f(stage, Call, memory) for every stage of the Plan: the pack stages of a phase on `threads` threads, pack by pack.
  template <class F>
  void run_stages(const Plan& plan, const Prepared& prepared, F f, int threads) const {
    const kernels::cpu::TeamScope scope(&pool_->team());
    for (std::size_t p = 0; p < plan.phases.size(); ++p) {
      const Phase& phase = plan.phases[p];
      for (Counter& c : taken_) c.packs.store(0, std::memory_order_relaxed);
      if (!phase.packs.empty() && threads == 1) {
        const kernels::cpu::TeamScope alone(nullptr);  // a pack is one thread's
        run_packs(plan, prepared, p, 0, 1, f);
      } else if (!phase.packs.empty()) {
        pool_->run(threads, [&](int thread) { run_packs(plan, prepared, p, thread, threads, f); });
      }
      for (const Stage& stage : phase.whole) f(stage, plan.calls[static_cast<std::size_t>(stage.call)].call, whole_memory(prepared));
    }
  }

  // Runs one thread's part of a phase. The thread takes its own share of the packs, then packs that others have not begun, since cores are
  // rarely equally fast. Successive phases go over a share alternately forwards and backwards. Each begins with the packs that the phase
  // before left in the caches.
  template <class F>
  void run_packs(const Plan& plan, const Prepared& prepared, std::size_t phase, int thread, int threads, F f) const {
    std::vector<std::byte*>& addresses = workers_[static_cast<std::size_t>(thread)].addresses;
    std::vector<kernels::Upcoming::Piece>& pieces = workers_[static_cast<std::size_t>(thread)].pieces;
    addresses.assign(prepared.addresses.begin(), prepared.addresses.end());
    const std::size_t own = plan.region_bytes[static_cast<std::size_t>(Region::pack)] * static_cast<std::size_t>(thread);
    std::byte* const scratch = scratch_.data() + whole_scratch_ + pack_scratch_ * static_cast<std::size_t>(thread);
    const auto run_pack = [&](kernels::Range share, std::int64_t i) {
      const auto nth = [&](std::int64_t k) { return phase % 2 == 0 ? share.begin + k : share.end - 1 - k; };
      const std::int64_t pack = nth(i);
      for (std::size_t v : prepared.cut_values[phase]) {
        const PlanValue& value = plan.values[v];
        addresses[v] = prepared.addresses[v] + (value.region == Region::pack ? own : value.pack_bytes * static_cast<std::size_t>(pack));
      }
      pieces.clear();
      if (i + 1 < share.end - share.begin)
        for (std::size_t v : prepared.whole_values[phase]) {
          const std::size_t bytes = plan.values[v].pack_bytes;
          pieces.push_back({prepared.addresses[v] + bytes * static_cast<std::size_t>(nth(i + 1)), bytes / 64});
        }
      kernels::Upcoming upcoming{pieces.data(), pieces.data() + pieces.size()};
      const std::vector<Call>& calls = pack + 1 < plan.packs() ? prepared.of_pack : prepared.of_last_pack;
      for (const Stage& stage : plan.phases[phase].packs)
        f(stage, calls[static_cast<std::size_t>(stage.call)], kernels::Memory{addresses.data(), pack * plan.lanes, &upcoming, scratch});
    };
    for (int k = 0; k < threads; ++k) {
      const int owner = (thread + k) % threads;
      const kernels::Range share = kernels::chunk(plan.packs(), threads, owner);
      std::atomic<std::int64_t>& taken = taken_[static_cast<std::size_t>(owner)].packs;
      for (std::int64_t i; (i = taken.fetch_add(1, std::memory_order_relaxed)) < share.end - share.begin;) run_pack(share, i);
    }
  }

  kernels::Memory whole_memory(const Prepared& prepared) const {
    return {.address = prepared.addresses.data(), .scratch = scratch_.data()};
  }

  // To run it.
  const Prepared& ready(const Plan& plan) const {
    const Prepared& prepared = prepared_for(plans_, plan);
    check_bound(plan, prepared.addresses);
    return prepared;
  }

  // Throws if the stage wrote a float that is not finite.
  static void check(const Plan& plan, const Stage& stage, const kernels::Memory& memory) {
    const PlanCall& c = plan.calls[static_cast<std::size_t>(stage.call)];
    for_each_operand(plan, stage, [&](const kernels::Operand& o) {
      if (o.access == kernels::Access::read || plan[o.value].dtype != DType::f32) return;
      const PlanValue& v = plan[o.value];
      const float* values = memory.at<float>(o.value);
      const std::size_t bytes = stage.part == kernels::Part::pack && v.pack_bytes > 0 ? v.pack_bytes : v.bytes;
      for (std::size_t i = 0; i < bytes / sizeof(float); ++i)
        if (!std::isfinite(values[i]))
          throw Error(ErrorKind::diverged, "[" + printable(c.path) + "] " + name_of(c.call) + " wrote " + std::to_string(values[i]) +
                                               " to " + printable(v.name) + " " + to_string(v.shape));
    });
  }

  const kernels::cpu::Backend& backend_;
  int threads_;
  DeviceTraits traits_;
  struct alignas(64) Counter {
    std::atomic<std::int64_t> packs{0};
  };
  mutable std::vector<Counter> taken_;  // of each thread's share of the phase, by whomever
  struct alignas(64) Worker {
    std::vector<std::byte*> addresses;             // of its pack
    std::vector<kernels::Upcoming::Piece> pieces;  // of the pack after it
  };
  mutable std::vector<Worker> workers_;
  std::unique_ptr<ThreadPool> pool_;
  std::array<Block, region_count> regions_;
  Block scratch_;  // that of a Call of the whole batch, then of each thread for its pack
  std::size_t whole_scratch_ = 0, pack_scratch_ = 0;
  std::map<std::string, std::byte*> bound_;
  std::unordered_map<const Plan*, Prepared> plans_;
};

}  // namespace

const kernels::cpu::Backend& choose_cpu_backend(const std::string& isa) {
  const auto all = kernels::cpu::backends();
  if (all.empty()) throw Error(ErrorKind::device, "the CPU kernels of this build need AVX2 and FMA, which this processor lacks");
  if (isa == "auto") return all[0];
  std::string names;
  for (const auto& b : all) {
    if (isa == b.isa) return b;
    names += std::string(names.empty() ? "" : ", ") + b.isa;
  }
  throw Error(ErrorKind::usage, "instruction set \"" + printable(isa) + "\" is not available here; there is: auto, " + names);
}

std::unique_ptr<Executor> make_cpu_executor(const ExecutorOptions& options) { return std::make_unique<CpuExecutor>(options); }

}  // namespace norma
