// CUB as a yardstick: norma_cub.so, loaded by `norma bench bn`. It does what a program does that has CUB and no kernels of its own.
//
// The statistics are sums of x and x*x in double. One segment has one block, so long channels are cut into parts. A second reduction adds
// up the parts.
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/tabulate_output_iterator.h>
#include <thrust/iterator/transform_iterator.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cub/device/device_reduce.cuh>
#include <cub/device/device_segmented_reduce.cuh>
#include <cub/device/device_transform.cuh>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>

#include "apps/yardsticks/cub.h"
#include "kernels/cuda/divisor.h"
#include "src/execute/cuda_memory.h"

namespace norma::bench {
namespace {

using cuda::Block;
using cuda::check;
using kernels::cuda::Divisor;

// Elements of a part: 16 for each of a block's 256 threads.
constexpr std::int64_t elements_per_part = 4096, most_parts = 1024, tensor_alignment = 256;

struct Sums {
  double x, squares;
};
struct AddSums {
  __host__ __device__ Sums operator()(const Sums& a, const Sums& b) const { return {a.x + b.x, a.squares + b.squares}; }
};

// Numbers elements by channel: channel << bits | number in the channel. So one division remains.
struct Numbering {
  std::int64_t channels, inner;
  Divisor by_inner;
  int bits = 0;

  explicit Numbering(const NormaCubTensor& t) : channels(t.channels), inner(t.inner), by_inner(t.inner) {
    while (std::int64_t{1} << bits < t.outer * t.inner) ++bits;
  }
  __device__ std::int64_t place(std::int64_t number) const {
    const Divisor::Result at = by_inner.divide(static_cast<std::uint32_t>(number & ((std::int64_t{1} << bits) - 1)));
    return (at.quotient * channels + (number >> bits)) * inner + at.remainder;
  }
};

// The Sums of the element of this number alone.
struct SumsOf {
  const float* x;
  Numbering numbering;
  __device__ Sums operator()(std::int64_t number) const {
    const double value = static_cast<double>(x[numbering.place(number)]);
    return {value, value * value};
  }
};

// Where segment s begins: part s % parts of the `count` numbers from s / parts * stride on. With `next` 1: where it ends.
struct SegmentEdge {
  std::int64_t parts, count, stride, next;
  __host__ __device__ std::int64_t operator()(std::int64_t s) const {
    const std::int64_t group = s / parts, part = s - group * parts + next;
    return group * stride + part * count / parts;
  }
};

// Stores what a channel's Sums come to: (C) means, (C) biased variances, (C) 1/deviations.
struct Finish {
  float* results;
  std::int64_t channels;
  double count;
  __device__ void operator()(std::int64_t channel, const Sums& sums) const {
    const double mean = sums.x / count, var = sums.squares / count - mean * mean, kept = var < 0 ? 0 : var;
    results[channel] = static_cast<float>(mean);
    results[channels + channel] = static_cast<float>(kept);
    results[2 * channels + channel] = static_cast<float>(1 / sqrt(kept + 1e-5));
  }
};

struct Same {
  __host__ __device__ float operator()(float x) const { return x; }
};

__global__ void fill(float* x, std::int64_t n) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) x[i] = norma_cub_value(i);
}

// Runs call(memory, bytes) of CUB with the temporary memory it needs. With null it only says how much.
template <class Call>
void run_with(Block& temporary, const Call& call, const char* what) {
  std::size_t bytes = 0;
  check(call(nullptr, bytes), what);
  bytes = std::max<std::size_t>(bytes, 1);
  if (bytes > temporary.size()) temporary = Block(bytes, "CUB's temporary memory");
  check(call(temporary.data(), bytes), what);
}

class Tensors {
 public:
  Tensors(int gpu, const NormaCubTensor& t, std::int64_t copies)
      : gpu_(on(gpu)),
        tensor_(t),
        count_(checked(t).outer * t.inner),
        n_(count_ * t.channels),
        parts_(std::clamp<std::int64_t>(count_ / elements_per_part, 1, most_parts)),
        stride_((n_ * 4 + tensor_alignment - 1) / tensor_alignment * tensor_alignment),
        tensors_(2 * copies),
        numbering_(t),
        memory_(static_cast<std::size_t>(stride_ * tensors_), "the tensors that CUB reads"),
        partial_(static_cast<std::size_t>(t.channels * parts_) * sizeof(Sums), "CUB's partial sums"),
        statistics_(static_cast<std::size_t>(3 * t.channels) * sizeof(float), "CUB's statistics"),
        sum_(sizeof(float), "CUB's sum") {
    constexpr int threads = 256;
    fill<<<static_cast<unsigned>((n_ + threads - 1) / threads), threads, 0, stream_>>>(array(0), n_);
    check(cudaGetLastError(), "filling the tensors");
    for (std::int64_t k = 2; k < tensors_; k += 2)
      check(cudaMemcpyAsync(array(k), array(0), bytes(), cudaMemcpyDeviceToDevice, stream_), "filling the tensors");
    for (std::int64_t k = 0; k < tensors_ / 2; ++k) queue(norma_cub_copy, k);  // the others
    check(cudaStreamSynchronize(stream_), "filling the tensors");
  }

  double seconds(NormaCubWork work) {
    check(cudaSetDevice(gpu_), "choosing the GPU");
    Replay& replay = replay_of(work);
    const std::int64_t calls = work == norma_cub_copy ? tensors_ / 2 : tensors_;
    if (!replay.graph) {
      queue(work, 0);  // the first call allocates, which no capture allows
      replay.graph = capture([&] {
        for (std::int64_t k = 0; k < calls; ++k) queue(work, k);
      });
      for (int i = 0; i < 2; ++i) (void)time(replay);
      replay.turns = static_cast<std::int64_t>(std::clamp(5e-3 / std::max(time(replay), 1e-9), 1.0, 1000.0));
    }
    return time(replay) / static_cast<double>(replay.turns * calls);
  }

  void read(NormaCubWork work, float* results) const {
    check(cudaSetDevice(gpu_), "choosing the GPU");
    const auto get = [](void* to, const void* from, std::size_t size) {
      check(cudaMemcpy(to, from, size, cudaMemcpyDeviceToHost), "copying from the GPU");
    };
    switch (work) {
      case norma_cub_read: return get(results, sum_.data(), sizeof(float));
      case norma_cub_copy: return get(results, array(1), bytes());
      case norma_cub_statistics: return get(results, statistics_.data(), statistics_.size());
    }
  }

 private:
  // One kind of work. Its graph keeps the address of its temporary memory.
  struct Replay {
    Block temporary;
    cuda::Graph graph;
    std::int64_t turns = 1;
  };

  static int on(int gpu) {
    check(cudaSetDevice(gpu), "choosing the GPU");
    return gpu;
  }
  static const NormaCubTensor& checked(const NormaCubTensor& t) {
    if (t.outer < 1 || t.channels < 1 || t.inner < 1 || t.outer > (std::int64_t{1} << 31) / t.inner)
      throw std::invalid_argument("a channel must have 1 to 2^31 elements");
    return t;
  }

  Replay& replay_of(NormaCubWork work) { return replays_.at(static_cast<std::size_t>(work)); }
  std::size_t bytes() const { return static_cast<std::size_t>(n_) * sizeof(float); }
  float* array(std::int64_t k) const { return reinterpret_cast<float*>(memory_.data() + k * stride_); }

  // The segments begin and end at edges(0) and edges(1).
  template <class In, class Out>
  void reduce_segments(In in, Out out, std::int64_t segments, SegmentEdge edge) {
    const auto begin = thrust::make_transform_iterator(thrust::make_counting_iterator(std::int64_t{0}), edge);
    edge.next = 1;
    const auto end = thrust::make_transform_iterator(thrust::make_counting_iterator(std::int64_t{0}), edge);
    run_with(
        replay_of(norma_cub_statistics).temporary,
        [&](void* memory, std::size_t& size) {
          return cub::DeviceSegmentedReduce::Reduce(memory, size, in, out, segments, begin, end, AddSums{}, Sums{0, 0}, stream_);
        },
        "cub::DeviceSegmentedReduce");
  }

  void queue(NormaCubWork work, std::int64_t k) {
    switch (work) {
      case norma_cub_statistics: return queue_statistics(array(k));
      case norma_cub_read:
        return run_with(
            replay_of(work).temporary,
            [&](void* memory, std::size_t& size) {
              return cub::DeviceReduce::Sum(memory, size, static_cast<const float*>(array(k)), reinterpret_cast<float*>(sum_.data()), n_,
                                            stream_);
            },
            "cub::DeviceReduce");
      case norma_cub_copy:
        return check(cub::DeviceTransform::Transform(static_cast<const float*>(array(2 * k)), array(2 * k + 1), n_, Same{}, stream_),
                     "cub::DeviceTransform");
    }
  }

  void queue_statistics(const float* x) {
    const auto in = thrust::make_transform_iterator(thrust::make_counting_iterator(std::int64_t{0}), SumsOf{x, numbering_});
    const auto out = thrust::make_tabulate_output_iterator(
        Finish{reinterpret_cast<float*>(statistics_.data()), tensor_.channels, static_cast<double>(count_)});
    const SegmentEdge edge{parts_, count_, std::int64_t{1} << numbering_.bits, 0};
    if (parts_ == 1) return reduce_segments(in, out, tensor_.channels, edge);
    auto* const partial = reinterpret_cast<Sums*>(partial_.data());
    reduce_segments(in, partial, tensor_.channels * parts_, edge);
    reduce_segments(static_cast<const Sums*>(partial), out, tensor_.channels, SegmentEdge{1, parts_, parts_, 0});
  }

  // Captures the work f queues. It has run before.
  template <class F>
  cuda::Graph capture(F f) {
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "capturing");
    std::exception_ptr failure;
    try {
      f();
    } catch (...) {
      failure = std::current_exception();
    }
    cudaGraph_t recorded = nullptr;
    const cudaError_t ended = cudaStreamEndCapture(stream_, &recorded);
    if (failure) {
      if (recorded) (void)cudaGraphDestroy(recorded);
      std::rethrow_exception(failure);
    }
    check(ended, "capturing");
    return cuda::Graph(recorded);
  }

  double time(const Replay& replay) {
    check(cudaEventRecord(begin_, stream_), "recording an event");
    for (std::int64_t t = 0; t < replay.turns; ++t) check(cudaGraphLaunch(replay.graph, stream_), "launching a graph");
    check(cudaEventRecord(end_, stream_), "recording an event");
    check(cudaStreamSynchronize(stream_), "running CUB");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin_, end_), "reading an event");
    return 1e-3 * static_cast<double>(milliseconds);
  }

  int gpu_;
  NormaCubTensor tensor_;
  std::int64_t count_, n_, parts_, stride_, tensors_;  // elements of a channel, of the tensor; bytes from one tensor to the next
  Numbering numbering_;
  Block memory_, partial_, statistics_, sum_;
  cuda::Stream stream_;
  cuda::Event begin_, end_;
  std::array<Replay, 3> replays_;
};

void tell(const std::exception& e, char* error, std::size_t error_size) { std::snprintf(error, error_size, "%s", e.what()); }

void* create(std::int32_t gpu, const NormaCubTensor* tensor, std::int64_t copies, char* error, std::size_t error_size) {
  try {
    return std::make_unique<Tensors>(gpu, *tensor, copies).release();
  } catch (const std::exception& e) {
    tell(e, error, error_size);
    return nullptr;
  }
}

double run(void* tensors, std::int32_t work, char* error, std::size_t error_size) {
  try {
    return static_cast<Tensors*>(tensors)->seconds(static_cast<NormaCubWork>(work));
  } catch (const std::exception& e) {
    tell(e, error, error_size);
    return -1;
  }
}

std::int32_t read(void* tensors, std::int32_t work, float* results) {
  try {
    static_cast<Tensors*>(tensors)->read(static_cast<NormaCubWork>(work), results);
    return 1;
  } catch (const std::exception&) {
    return 0;
  }
}

void destroy(void* tensors) { delete static_cast<Tensors*>(tensors); }

}  // namespace
}  // namespace norma::bench

extern "C" const NormaCub* norma_cub() {
  static const std::string name =
      "CUB " + std::to_string(CUB_MAJOR_VERSION) + "." + std::to_string(CUB_MINOR_VERSION) + "." + std::to_string(CUB_SUBMINOR_VERSION);
  static const NormaCub table{norma_cub_version, name.c_str(),       norma::bench::create,
                              norma::bench::run, norma::bench::read, norma::bench::destroy};
  return &table;
}
