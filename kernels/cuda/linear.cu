// Linear layers, by the engines of correlate.cu and outer_sum.cu: a convolution whose window is one pixel.
#include "kernels/cuda/calls.h"
#include "kernels/cuda/correlate.cuh"
#include "kernels/cuda/outer_sum.cuh"

namespace norma::kernels::cuda {
namespace {

Correlation linear(const Dims& out, const Dims& in, std::int64_t weight_out, std::int64_t weight_in, Precision precision) {
  Correlation g = correlation(out, in, 1, precision);
  g.weight_out = weight_out, g.weight_in = weight_in;
  return g;
}

Correlation correlation_of(const LinearForward& call) { return linear(call.y_dims, call.x_dims, call.x_dims.c, 1, call.precision); }
Correlation correlation_of(const LinearBackwardInput& call) { return linear(call.x_dims, call.y_dims, 1, call.x_dims.c, call.precision); }

void place(Correlation& g, const LinearForward& call, const Memory& memory) {
  g.out = memory.at<float>(call.y), g.in = memory.at<float>(call.x);
  g.weights = memory.at<float>(call.w), g.bias = memory.at<float>(call.b);
}
void place(Correlation& g, const LinearBackwardInput& call, const Memory& memory) {
  g.out = memory.at<float>(call.dx), g.in = memory.at<float>(call.dy), g.weights = memory.at<float>(call.w);
}

OuterSum outer_sum_of(const LinearBackwardWeight& call) {
  return outer_sum_over(call.x_dims, call.y_dims, Window{}, 1, static_cast<bool>(call.db), call.precision);
}

}  // namespace

void enqueue(const LinearForward& call, const Memory& memory, const Queue& queue) {
  Correlation g = correlation_of(call);
  place(g, call, memory);
  launch_correlation(g, queue);
}

void enqueue(const LinearBackwardInput& call, const Memory& memory, const Queue& queue) {
  Correlation g = correlation_of(call);
  place(g, call, memory);
  launch_correlation(g, queue);
}

Needs needs(const LinearBackwardWeight& call) { return needs(outer_sum_of(call)); }
void enqueue(const LinearBackwardWeight& call, const Memory& memory, const Queue& queue) {
  OuterSum g = outer_sum_of(call);
  g.dw = memory.at<float>(call.dw), g.db = memory.at<float>(call.db);
  g.dy = memory.at<float>(call.dy), g.x = memory.at<float>(call.x);
  launch_outer_sum(g, queue);
}

Needs needs(const LinearForwardStatistics& joined) { return needs_of_statistics(correlation_of(std::get<LinearForward>(joined.calls))); }
void enqueue(const LinearForwardStatistics& joined, const Memory& memory, const Queue& queue) {
  const auto& [call, statistics] = joined.calls;
  Correlation g = correlation_of(call);
  place(g, call, memory);
  launch_correlation(g, statistics, memory, queue);
}

Needs needs(const LinearBackwardInputReduce& joined) {
  const auto& [call, reduce] = joined.calls;
  return needs_of_reduce(correlation_of(call), reduce.dims.plane());
}
void enqueue(const LinearBackwardInputReduce& joined, const Memory& memory, const Queue& queue) {
  const auto& [call, reduce] = joined.calls;
  Correlation g = correlation_of(call);
  place(g, call, memory);
  launch_correlation(g, reduce, reduce.dims.plane(), memory, queue);
}

}  // namespace norma::kernels::cuda
