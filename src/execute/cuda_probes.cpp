// Times the probes of the CUDA kernels (kernels/cuda/roofline.cu, latency.cu).
#include "src/execute/cuda_probes.h"

#include <algorithm>
#include <memory>

#include "kernels/cuda/probes.h"
#include "norma/instruments.h"
#include "src/execute/cuda_executor.h"
#include "src/execute/cuda_memory.h"
#include "src/plan/plan.h"

namespace norma {
namespace {

using cuda::Block;
using cuda::check;
namespace probe = kernels::cuda::probe;

// A GPU that is idle except for the timed work.
class Bench {
 public:
  explicit Bench(int index) : index_(index) {
    const auto executor = make_cuda_executor(index, {});  // for its checks and its name
    description_ = executor->description();
    check(cudaGetDeviceProperties(&properties_, index), "reading the properties of the GPU");
    stream_ = std::make_unique<cuda::Stream>();
    begin_ = std::make_unique<cuda::Event>(), end_ = std::make_unique<cuda::Event>();
  }

  const std::string& description() const { return description_; }
  const cudaDeviceProp& properties() const { return properties_; }
  cudaStream_t stream() const { return *stream_; }

  // Returns the seconds that the GPU takes for the work f queues.
  template <class F>
  double time(F f) const {
    check(cudaSetDevice(index_), "choosing the GPU");
    check(cudaEventRecord(*begin_, stream()), "recording an event");
    f();
    check(cudaGetLastError(), "launching a probe");
    check(cudaEventRecord(*end_, stream()), "recording an event");
    check(cudaStreamSynchronize(stream()), "running a probe");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, *begin_, *end_), "reading an event");
    return 1e-3 * static_cast<double>(milliseconds);
  }

  // The shortest of as many as fit into the time, at least three; the first does not count.
  template <class F>
  double shortest(F f) const {
    constexpr double enough = 0.1;
    (void)time(f);
    double best = 0, spent = 0;
    for (int i = 0; i < 3 || spent < enough; ++i) {
      const double s = time(f);
      spent += s;
      if (i == 0 || s < best) best = s;
    }
    return best;
  }

  // Captures the work f queues as a graph. Its kernels have run before.
  template <class F>
  cuda::Graph capture(F f) const {
    check(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal), "capturing a probe");
    f();
    const cudaError_t launched = cudaGetLastError();
    cudaGraph_t recorded = nullptr;
    const cudaError_t ended = cudaStreamEndCapture(stream(), &recorded);
    if (launched != cudaSuccess && recorded) (void)cudaGraphDestroy(recorded);
    check(launched, "launching a probe");
    check(ended, "capturing a probe");
    return cuda::Graph(recorded);
  }
  void replay(const cuda::Graph& graph) const { check(cudaGraphLaunch(graph, stream()), "launching the graph of a probe"); }

 private:
  int index_;
  std::string description_;
  cudaDeviceProp properties_{};
  std::unique_ptr<cuda::Stream> stream_;
  std::unique_ptr<cuda::Event> begin_, end_;
};

constexpr std::size_t array_unit = 16;

float* floats(const Block& block) { return reinterpret_cast<float*>(block.data()); }

// Operations per second, in rounds that take a millisecond.
double arithmetic_rate(const Bench& bench, Precision precision) {
  const std::int64_t blocks = std::int64_t{8} * bench.properties().multiProcessorCount;  // 2048 threads each
  const Block y(static_cast<std::size_t>(probe::multiply_add_elements(blocks)) * sizeof(float), "what multiply-adds come to");
  const auto run = [&](std::int64_t rounds) {
    return [&, rounds] {
      if (precision == Precision::fp32) probe::multiply_add(floats(y), rounds, blocks, bench.stream());
      else probe::products(precision, floats(y), rounds, blocks, bench.stream());
    };
  };
  std::int64_t rounds = 64;
  (void)bench.time(run(rounds));
  while (bench.time(run(rounds)) < 1e-3) rounds *= 2;
  const double flops =
      precision == Precision::fp32 ? probe::multiply_add_flops(blocks, rounds) : probe::products_flops(precision, blocks, rounds);
  return flops / bench.shortest(run(rounds));
}

// Pairs of arrays that are copied one after the other, often enough for a time to be measured.
struct CopyProbe {
  CopyProbe(int index, std::size_t array_bytes, std::int64_t copies)
      : bench(index),
        stride((array_bytes + alignment - 1) / alignment * alignment),
        x(stride * static_cast<std::size_t>(copies), "the arrays that are copied"),
        y(x.size(), "the copies") {
    const std::size_t bytes = (array_bytes + array_unit - 1) / array_unit * array_unit;
    const auto queue = [&] {
      for (std::int64_t k = 0; k < copies; ++k) {
        const std::size_t at = stride / sizeof(float) * static_cast<std::size_t>(k);
        probe::copy(floats(y) + at, floats(x) + at, static_cast<std::int64_t>(bytes / sizeof(float)), bench.stream());
      }
    };
    moved = 2.0 * static_cast<double>(bytes) * static_cast<double>(copies);
    (void)bench.time(queue);
    graph = bench.capture(queue);
    (void)run();
    constexpr double enough = 5e-3;
    turns = static_cast<std::int64_t>(std::clamp(enough / std::max(run(), 1e-9), 1.0, 1000.0));
  }
  // Seconds of one turn.
  double run() const {
    return bench.time([&] {
      for (std::int64_t t = 0; t < turns; ++t) bench.replay(graph);
    }) / static_cast<double>(turns);
  }

  Bench bench;
  std::size_t stride;
  Block x, y;
  cuda::Graph graph;
  std::int64_t turns = 1;
  double moved = 0;  // bytes of one turn
};

}  // namespace

std::size_t cuda_cache_bytes(int index) {
  (void)make_cuda_executor(index, {});
  int bytes = 0;
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, index), "reading the properties of the GPU");
  return static_cast<std::size_t>(bytes);
}

Roofline cuda_roofline(int index) {
  const Bench bench(index);
  Roofline r;
  r.device = bench.description();
  r.threads = 0;
  r.flops = arithmetic_rate(bench, Precision::fp32);
  if (bench.properties().major >= 8) {  // whose tensor cores have them
    r.tf32_flops = arithmetic_rate(bench, Precision::tf32);
    r.bf16_flops = arithmetic_rate(bench, Precision::bf16);
  }

  // Eight times the L2, which holds part of the array before last; at most a sixteenth of the memory.
  const std::size_t wanted = std::size_t{8} * static_cast<std::size_t>(std::max(bench.properties().l2CacheSize, 1 << 20));
  r.array_bytes = std::min(wanted, bench.properties().totalGlobalMem / 16) / array_unit * array_unit;
  const auto n = static_cast<std::int64_t>(r.array_bytes / sizeof(float));
  const double bytes = static_cast<double>(r.array_bytes);
  const Block x(r.array_bytes, "the array that is copied"), y(r.array_bytes, "the copy");
  r.copy = 2 * bytes / bench.shortest([&] { probe::copy(floats(y), floats(x), n, bench.stream()); });
  r.copy_streaming = 2 * bytes / bench.shortest([&] { probe::copy_streaming(floats(y), floats(x), n, bench.stream()); });
  r.read = bytes / bench.shortest([&] { probe::read(floats(y), floats(x), n, bench.stream()); });
  return r;
}

std::function<double()> cuda_copy_probe(int index, std::size_t array_bytes, std::int64_t copies) {
  const auto probe = std::make_shared<const CopyProbe>(index, array_bytes, copies);
  return [probe] { return probe->moved / probe->run(); };
}

std::vector<Latency> cuda_latencies(int index, std::int64_t rounds) {
  const Bench bench(index);
  const std::int64_t all = bench.properties().multiProcessorCount;
  const Block counter(sizeof(unsigned), "a counter");
  auto* const count = reinterpret_cast<unsigned*>(counter.data());
  std::uint64_t counted = 0;

  // Each is done a few times and many times: the difference is theirs alone, without what surrounds them.
  constexpr int few = 20, many = 220;
  std::vector<Latency> figures;
  const auto measure = [&](Latency figure, const std::function<void(int)>& few_times, const std::function<void(int)>& many_times) {
    for (const auto& f : {few_times, many_times}) f(0);  // the first launch loads its kernels
    for (std::int64_t r = 0; r < rounds; ++r) {
      const double shorter = bench.time([&] { few_times(few); }), longer = bench.time([&] { many_times(many); });
      figure.seconds.push_back((longer - shorter) / (many - few));
    }
    figures.push_back(std::move(figure));
  };
  const auto queue_nodes = [&](std::int64_t blocks, bool early, int n) {
    for (int i = 0; i < n; ++i) early ? probe::early_node(count, blocks, bench.stream()) : probe::node(count, blocks, bench.stream());
  };
  const bool has_clusters = bench.properties().major >= 9;
  const std::string too_old = "needs compute capability 9 or later";

  for (const std::int64_t blocks : {all, 2 * all}) {
    for (const bool early : {false, true}) {
      const char* const what = early ? "graph node, programmatic launch" : "graph node";
      if (early && !has_clusters) {
        figures.push_back({what, blocks, {}, too_old});
        continue;
      }
      (void)bench.time([&] { queue_nodes(blocks, early, 1); });
      ++counted;
      const cuda::Graph few_nodes = bench.capture([&] { queue_nodes(blocks, early, few); });
      const cuda::Graph many_nodes = bench.capture([&] { queue_nodes(blocks, early, many); });
      const auto replay = [&](const cuda::Graph& graph, int nodes) {
        return [&, nodes](int) {
          bench.replay(graph);
          counted += static_cast<std::uint64_t>(nodes);
        };
      };
      measure({what, blocks, {}, {}}, replay(few_nodes, few), replay(many_nodes, many));
    }
  }
  const auto repeat = [&](auto queue) {
    return [&, queue](int n) {
      queue(n);
      counted += static_cast<std::uint64_t>(n);
    };
  };
  for (const std::int64_t blocks : {all, 2 * all}) {
    const auto launches = repeat([&, blocks](int n) { queue_nodes(blocks, false, n); });
    measure({"stream launch", blocks, {}, {}}, launches, launches);
  }
  for (const std::int64_t blocks : {all, 2 * all}) {
    const auto meetings = repeat([&, blocks](int n) { probe::grid_barriers(count, blocks, n, bench.stream()); });
    measure({"grid barrier", blocks, {}, {}}, meetings, meetings);
  }
  for (const int blocks : {2, 8}) {
    if (!has_clusters) {
      figures.push_back({"cluster barrier", blocks, {}, too_old});
      continue;
    }
    const auto meetings = repeat([&, blocks](int n) { probe::cluster_barriers(count, blocks, n, bench.stream()); });
    measure({"cluster barrier", blocks, {}, {}}, meetings, meetings);
  }

  unsigned found = 0;
  check(cudaMemcpy(&found, count, sizeof found, cudaMemcpyDeviceToHost), "reading a counter");
  if (found != static_cast<unsigned>(counted))
    throw Error(ErrorKind::failure, "the latency probes ran " + std::to_string(found) + " times, not " + std::to_string(counted) +
                                        ": their times mean nothing");
  return figures;
}

}  // namespace norma
