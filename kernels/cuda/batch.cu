// From stored samples to a batch, and resampling of one.
#include "kernels/batch_order.h"
#include "kernels/cuda/calls.h"
#include "kernels/cuda/flat.cuh"
#include "kernels/cuda/reduce.cuh"

namespace norma::kernels::cuda {
namespace {

constexpr int gather_threads = 256, tile_features = 64, tile_samples = warp;

// Samples' features, from where the set holds them [population][features] to [packs][features][lanes]; and their labels.
template <class T>
struct GatherParameters {
  float* y = nullptr;
  const T* source = nullptr;
  const StepState* state = nullptr;
  const float *scale = nullptr, *offset = nullptr;  // (C), or null: 1 and 0
  std::int64_t n = 0, features = 0, plane = 0, sample_tiles = 0;
  std::int32_t lanes = 1;
  bool shuffle = false;
  std::int32_t* labels_out = nullptr;  // (N), or null
  const std::int32_t* labels = nullptr;
};

// Block: 64 features of 32 samples, read along features and written along samples, or features where a pack is one sample.
template <class T>
__global__ void __launch_bounds__(gather_threads) gather(GatherParameters<T> p) {
  struct Tile {
    float of[tile_samples][tile_features + 1];  // the odd row keeps columns out of one bank
  };
  Tile& tile = shared<Tile>();
  const std::int64_t feature_tile = blockIdx.x / p.sample_tiles, first_sample = (blockIdx.x - feature_tile * p.sample_tiles) * tile_samples;
  const std::int64_t first_feature = feature_tile * tile_features;
  // Lane l finds sample l for its warp.
  const std::int64_t of_lane = first_sample + lane_index();
  const int found = of_lane < p.n ? static_cast<int>(BatchOrder(*p.state, p.shuffle)[of_lane]) : 0;
  if (p.labels_out && feature_tile == 0 && warp_index() == 0 && of_lane < p.n) p.labels_out[of_lane] = p.labels[found];
  for (int k = static_cast<int>(threadIdx.x); k < tile_samples * tile_features; k += gather_threads) {
    const int sample = k / tile_features, feature = k % tile_features;
    const std::int64_t n = first_sample + sample, f = first_feature + feature, at = __shfl_sync(all_lanes, found, sample);
    float v = 0;
    if (n < p.n && f < p.features) {
      const std::int64_t c = f / p.plane;
      v = fmaf(p.scale ? p.scale[c] : 1.0f, static_cast<float>(p.source[at * p.features + f]), p.offset ? p.offset[c] : 0.0f);
    }
    tile.of[sample][feature] = v;
  }
  __syncthreads();
  const std::int64_t stored = (p.n + p.lanes - 1) / p.lanes * p.lanes;
  for (int k = static_cast<int>(threadIdx.x); k < tile_samples * tile_features; k += gather_threads) {
    const int sample = p.lanes > 1 ? k % tile_samples : k / tile_features, feature = p.lanes > 1 ? k / tile_samples : k % tile_features;
    const std::int64_t n = first_sample + sample, f = first_feature + feature;
    if (n < stored && f < p.features) p.y[(n / p.lanes * p.features + f) * p.lanes + n % p.lanes] = tile.of[sample][feature];
  }
}

// Sets the parameters that follow from the gathered value's dims, and launches. The caller sets the rest.
template <class T>
void launch_gather(const Dims& dims, GatherParameters<T> p, const Queue& queue) {
  p.n = dims.n, p.features = dims.features(), p.plane = dims.plane(), p.lanes = dims.lanes;
  p.sample_tiles = ceil_div(dims.packs() * dims.lanes, tile_samples);
  launch(named<gather<T>>(), p.sample_tiles * ceil_div(dims.features(), tile_features), gather_threads, queue.stream, p);
}

template <class T>
void launch_samples(const Gather& call, const Memory& memory, const Queue& queue) {
  launch_gather(call.dims,
                GatherParameters<T>{.y = memory.at<float>(call.y),
                                    .source = memory.at<T>(call.source),
                                    .state = memory.at<StepState>(call.state),
                                    .scale = memory.at<float>(call.scale),
                                    .offset = memory.at<float>(call.offset),
                                    .shuffle = call.shuffle,
                                    .labels_out = memory.at<std::int32_t>(call.labels_out),
                                    .labels = memory.at<std::int32_t>(call.labels)},
                queue);
}

}  // namespace

void enqueue(const Gather& call, const Memory& memory, const Queue& queue) {
  if (call.source_type == DType::u8) launch_samples<std::uint8_t>(call, memory, queue);
  else launch_samples<float>(call, memory, queue);
  if (call.targets_out)
    launch_gather(call.target_dims,
                  GatherParameters<float>{.y = memory.at<float>(call.targets_out),
                                          .source = memory.at<float>(call.targets),
                                          .state = memory.at<StepState>(call.state),
                                          .shuffle = call.shuffle},
                  queue);
}

namespace {

// The triangle filter of every output position along one side, as PIL's precompute_coeffs makes it: y[i] = sum over k < count of
// weight[i*taps + k] * x[begin + k]. Memory holds spans [outputs], then weights [outputs][taps].
struct FilterShape {
  std::int64_t inputs = 0, outputs = 0;

  constexpr double scale() const { return static_cast<double>(inputs) / static_cast<double>(outputs); }
  constexpr double support() const { return scale() > 1 ? scale() : 1; }
  constexpr std::int64_t taps() const { return static_cast<std::int64_t>(2 * support()) + 2; }
  constexpr std::int64_t bytes() const { return outputs * static_cast<std::int64_t>(sizeof(Range)) + (outputs * taps() + 1) / 2 * 8; }
};

struct Filter {
  FilterShape shape;
  Range* spans;
  float* weights;

  Filter(FilterShape s, std::byte* memory)
      : shape(s), spans(reinterpret_cast<Range*>(memory)), weights(reinterpret_cast<float*>(spans + s.outputs)) {}
};

__global__ void __launch_bounds__(flat_threads) make_filter(Filter filter) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * flat_threads + threadIdx.x, inputs = filter.shape.inputs;
  if (i >= filter.shape.outputs) return;
  const double scale = filter.shape.scale(), support = filter.shape.support();
  const double centre = (static_cast<double>(i) + 0.5) * scale;
  const std::int64_t low = static_cast<std::int64_t>(centre - support + 0.5), high = static_cast<std::int64_t>(centre + support + 0.5);
  const Range span{low > 0 ? low : 0, high < inputs ? high : inputs};
  const auto triangle = [&](std::int64_t at) {
    const double d = (static_cast<double>(at) + 0.5 - centre) / support;
    return d < -1 || d > 1 ? 0.0 : 1 - (d < 0 ? -d : d);
  };
  double sum = 0;
  for (std::int64_t at = span.begin; at < span.end; ++at) sum += triangle(at);
  for (std::int64_t at = span.begin; at < span.end; ++at)
    filter.weights[i * filter.shape.taps() + at - span.begin] = static_cast<float>(triangle(at) / sum);
  filter.spans[i] = span;
}

// Thread: one output element. A row is weighted across before rows are weighted down.
__global__ void __launch_bounds__(flat_threads) resize(Dims out, Dims in, Filter down, Filter across, float* y, const float* x) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * flat_threads + threadIdx.x;
  if (i >= out.stored()) return;
  const std::int64_t pixel = i / out.lanes, lane = i % out.lanes, q = pixel % out.w, p = pixel / out.w % out.h, plane = pixel / out.plane();
  const Range rows = down.spans[p], columns = across.spans[q];
  const float *const by_row = down.weights + p * down.shape.taps(), *const by_column = across.weights + q * across.shape.taps();
  float sum = 0;
  for (std::int64_t r = rows.begin; r < rows.end; ++r) {
    float part = 0;
    for (std::int64_t s = columns.begin; s < columns.end; ++s)
      part = fmaf(by_column[s - columns.begin], x[((plane * in.h + r) * in.w + s) * in.lanes + lane], part);
    sum = fmaf(by_row[r - rows.begin], part, sum);
  }
  y[i] = sum;
}

FilterShape down_of(const Resize& call) { return {call.x_dims.h, call.y_dims.h}; }
FilterShape across_of(const Resize& call) { return {call.x_dims.w, call.y_dims.w}; }

}  // namespace

Needs needs(const Resize& call) { return {static_cast<std::size_t>(down_of(call).bytes() + across_of(call).bytes()), 0}; }

void enqueue(const Resize& call, const Memory& memory, const Queue& queue) {
  const Filter down(down_of(call), queue.workspace), across(across_of(call), queue.workspace + down.shape.bytes());
  for (const Filter& filter : {down, across})
    launch(named<make_filter>(), ceil_div(filter.shape.outputs, flat_threads), flat_threads, queue.stream, filter);
  launch(named<resize>(), ceil_div(call.y_dims.stored(), flat_threads), flat_threads, queue.stream, call.y_dims, call.x_dims, down, across,
         memory.at<float>(call.y), memory.at<float>(call.x));
}

}  // namespace norma::kernels::cuda
