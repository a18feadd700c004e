// Times the probes of a level of CPU kernels (kernels/cpu/roofline.cpp).
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <memory>
#include <new>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/chunks.h"
#include "norma/device.h"
#include "norma/error.h"
#include "norma/executor.h"
#include "norma/instruments.h"
#include "src/execute/cpu_executor.h"
#include "src/execute/cuda_probes.h"
#include "src/execute/thread_pool.h"
#include "src/plan/plan.h"

namespace norma {
namespace {

using Clock = std::chrono::steady_clock;

// The shortest of as many calls of f as fit into the time, at least three.
template <class F>
double shortest(double seconds, F f) {
  double best = 0, spent = 0;
  for (int i = 0; i < 3 || spent < seconds; ++i) {
    const Clock::time_point start = Clock::now();
    f();
    const double s = std::chrono::duration<double>(Clock::now() - start).count();
    spent += s;
    if (i == 0 || s < best) best = s;
  }
  return best;
}

// Size of the largest cache that core 0 reaches. sysconf(_SC_LEVEL3_CACHE_SIZE) adds up caches that a virtual AMD machine does not have.
std::size_t cpu_cache_bytes() {
  std::size_t largest = 0;
  for (int index = 0; index < 8; ++index) {
    std::ifstream in("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/size");
    std::size_t size = 0;
    char unit = 0;  // "32768K"
    if (in >> size >> unit) largest = std::max(largest, size << (unit == 'K' ? 10 : unit == 'M' ? 20 : 0));
  }
  return largest;
}

constexpr std::size_t array_unit = kernels::flat_chunk * sizeof(float);  // the probes take whole chunks

// Four times the last-level cache, as far as the system tells; at least 64 MB, at most a sixteenth of the machine's memory.
std::size_t array_bytes() {
  const std::size_t memory = static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t wanted = std::max(4 * cpu_cache_bytes(), std::size_t{64} << 20);
  return std::max(array_unit, std::min(wanted, memory / 16) / array_unit * array_unit);
}

struct Release {
  void operator()(float* p) const { ::operator delete (p, std::align_val_t{alignment}); }
};

constexpr double seconds_per_figure = 0.25;

// Operations a second of all threads at once: each thread's best half millisecond while the others run too, added up. A barrier after every
// try would measure how the system shares its cores with other programs.
double multiply_add_rate(const kernels::cpu::Probes& probes, ThreadPool& pool) {
  constexpr std::int64_t rounds = 80'000;
  std::vector<double> rates(static_cast<std::size_t>(pool.team().threads));
  pool.run(pool.team().threads, [&](int thread) {
    rates[static_cast<std::size_t>(thread)] =
        probes.multiply_add_flops() * static_cast<double>(rounds) / shortest(seconds_per_figure, [&] { probes.multiply_add(rounds); });
  });
  return std::accumulate(rates.begin(), rates.end(), 0.0);
}

// The probes of the CPU these options choose.
const kernels::cpu::Probes& probes_of(const ExecutorOptions& options, Roofline& r) {
  const std::unique_ptr<Executor> executor = make_executor(Device::cpu(), options);  // for its checks and its name
  r.device = executor->description();
  r.threads = options.threads ? options.threads : usable_cores();
  return choose_cpu_backend(options.isa).probes;
}

using Array = std::unique_ptr<float, Release>;

Array zeroed_array(std::size_t bytes) {
  try {
    Array a(static_cast<float*>(::operator new (bytes, std::align_val_t{alignment})));
    std::memset(a.get(), 0, bytes);
    return a;
  } catch (const std::bad_alloc&) {
    throw Error(ErrorKind::failure, "out of memory: " + std::to_string(bytes) + " bytes for an array that is copied");
  }
}

}  // namespace

Roofline measure_roofline(const Device& device, const ExecutorOptions& options) {
  if (device.kind == Device::Kind::cuda) return cuda_roofline(device.index);
  Roofline r;
  const kernels::cpu::Probes& probes = probes_of(options, r);
  ThreadPool pool(r.threads);
  const kernels::cpu::TeamScope scope(&pool.team());
  r.flops = multiply_add_rate(probes, pool);

  r.array_bytes = array_bytes();
  const Array x = zeroed_array(r.array_bytes), y = zeroed_array(r.array_bytes);
  const auto n = static_cast<std::int64_t>(r.array_bytes / sizeof(float));
  const double bytes = static_cast<double>(r.array_bytes);
  r.copy = 2 * bytes / shortest(seconds_per_figure, [&] { probes.copy(y.get(), x.get(), n); });
  r.copy_streaming = 2 * bytes / shortest(seconds_per_figure, [&] { probes.copy_streaming(y.get(), x.get(), n); });
  r.read = bytes / shortest(seconds_per_figure, [&] { probes.read(x.get(), n); });
  return r;
}

std::function<double()> copy_probe(const Device& device, const ExecutorOptions& options, std::size_t array_bytes, std::int64_t copies) {
  constexpr std::size_t most_bytes = std::size_t{1} << 48;
  if (array_bytes == 0 || copies < 1)
    throw Error(ErrorKind::usage,
                "a copy is of at least one array of one byte, got " + std::to_string(copies) + " of " + std::to_string(array_bytes));
  if (array_bytes > most_bytes / static_cast<std::size_t>(copies))
    throw Error(ErrorKind::usage,
                "a copy is of at most 2^48 bytes, got " + std::to_string(copies) + " arrays of " + std::to_string(array_bytes));
  if (device.kind == Device::Kind::cuda) return cuda_copy_probe(device.index, array_bytes, copies);
  Roofline r;
  const kernels::cpu::Probes& probes = probes_of(options, r);
  const std::size_t bytes = (array_bytes + array_unit - 1) / array_unit * array_unit;
  const std::size_t all = bytes * static_cast<std::size_t>(copies);
  return [&probes, pool = std::make_shared<ThreadPool>(r.threads), bytes, all, x = std::shared_ptr<float>(zeroed_array(all)),
          y = std::shared_ptr<float>(zeroed_array(all))] {
    const kernels::cpu::TeamScope scope(&pool->team());
    const auto n = static_cast<std::int64_t>(bytes / sizeof(float)), end = static_cast<std::int64_t>(all / sizeof(float));
    const Clock::time_point start = Clock::now();
    for (std::int64_t at = 0; at < end; at += n) probes.copy_streaming(y.get() + at, x.get() + at, n);
    return 2 * static_cast<double>(all) / std::chrono::duration<double>(Clock::now() - start).count();
  };
}

std::size_t cache_bytes(const Device& device) {
  return device.kind == Device::Kind::cuda ? cuda_cache_bytes(device.index) : cpu_cache_bytes();
}

std::vector<Latency> measure_latencies(const Device& device, std::int64_t rounds) {
  if (device.kind != Device::Kind::cuda)
    throw Error(ErrorKind::usage, "launches and barriers are a GPU's; " + to_string(device) + " has none to measure");
  if (rounds < 1) throw Error(ErrorKind::usage, "rounds must be at least 1, got " + std::to_string(rounds));
  return cuda_latencies(device.index, rounds);
}

}  // namespace norma
