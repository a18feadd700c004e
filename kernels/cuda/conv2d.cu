// Convolutions, by the engines of correlate.cu and outer_sum.cu.
#include "kernels/cuda/calls.h"
#include "kernels/cuda/correlate.cuh"
#include "kernels/cuda/outer_sum.cuh"

namespace norma::kernels::cuda {
namespace {

Correlation correlation_of(const Conv2dForward& call) {
  const ConvShape& s = call.shape;
  const Window& k = s.window;
  Correlation g = correlation(s.y, s.x, s.groups, call.precision);
  g.set_window(k, 1);
  g.weight_in = k.area(), g.weight_out = g.ins * k.area(), g.weight_group = g.outs * g.weight_out;
  g.stride_h = k.stride_h, g.stride_w = k.stride_w, g.first_h = -k.pad_h, g.first_w = -k.pad_w;
  return g;
}

Correlation correlation_of(const Conv2dBackwardInput& call) {
  const ConvShape& s = call.shape;
  const Window& k = s.window;
  Correlation g = correlation(s.x, s.y, s.groups, call.precision);
  g.set_window(k, -1);
  g.weight_out = k.area(), g.weight_in = g.outs * k.area(), g.weight_group = g.ins * g.weight_in;
  g.first_h = k.pad_h, g.first_w = k.pad_w;
  g.by_stride_h = Divisor(k.stride_h), g.by_stride_w = Divisor(k.stride_w);
  return g;
}

void place(Correlation& g, const Conv2dForward& call, const Memory& memory) {
  g.out = memory.at<float>(call.y), g.in = memory.at<float>(call.x);
  g.weights = memory.at<float>(call.w), g.bias = memory.at<float>(call.b);
}
void place(Correlation& g, const Conv2dBackwardInput& call, const Memory& memory) {
  g.out = memory.at<float>(call.dx), g.in = memory.at<float>(call.dy);
  g.weights = memory.at<float>(call.w), g.bias = memory.at<float>(call.b);
}

OuterSum outer_sum_of(const Conv2dBackwardWeight& call) {
  return outer_sum_over(call.shape.x, call.shape.y, call.shape.window, call.shape.groups, static_cast<bool>(call.db), call.precision);
}

}  // namespace

void enqueue(const Conv2dForward& call, const Memory& memory, const Queue& queue) {
  Correlation g = correlation_of(call);
  place(g, call, memory);
  launch_correlation(g, queue);
}

void enqueue(const Conv2dBackwardInput& call, const Memory& memory, const Queue& queue) {
  Correlation g = correlation_of(call);
  place(g, call, memory);
  launch_correlation(g, queue);
}

Needs needs(const Conv2dBackwardWeight& call) { return needs(outer_sum_of(call)); }
void enqueue(const Conv2dBackwardWeight& call, const Memory& memory, const Queue& queue) {
  OuterSum g = outer_sum_of(call);
  g.dw = memory.at<float>(call.dw), g.db = memory.at<float>(call.db);
  g.dy = memory.at<float>(call.dy), g.x = memory.at<float>(call.x);
  launch_outer_sum(g, queue);
}

Needs needs(const Conv2dForwardStatistics& joined) { return needs_of_statistics(correlation_of(std::get<Conv2dForward>(joined.calls))); }
void enqueue(const Conv2dForwardStatistics& joined, const Memory& memory, const Queue& queue) {
  const auto& [call, statistics] = joined.calls;
  Correlation g = correlation_of(call);
  place(g, call, memory);
  launch_correlation(g, statistics, memory, queue);
}

Needs needs(const Conv2dBackwardInputReduce& joined) {
  const auto& [call, reduce] = joined.calls;
  return needs_of_reduce(correlation_of(call), 1);
}
void enqueue(const Conv2dBackwardInputReduce& joined, const Memory& memory, const Queue& queue) {
  const auto& [call, reduce] = joined.calls;
  Correlation g = correlation_of(call);
  place(g, call, memory);
  launch_correlation(g, reduce, 1, memory, queue);
}

}  // namespace norma::kernels::cuda
