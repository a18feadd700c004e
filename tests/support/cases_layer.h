// Cases: what those of convolutions and of linear layers share.
#pragma once
#include <cmath>
#include <utility>

#include "tests/support/cases.h"

namespace norma::test {

// PyTorch's initialisation keeps sums of any length near 1.
inline Generator weights(std::int64_t fan_in) {
  const double bound = 1 / std::sqrt(static_cast<double>(fan_in));
  return uniform(-bound, bound);
}

// A convolution or linear layer's forward pass and the statistics of what it makes.
template <class C>
CallCase with_statistics(CallCase c, const Dims& y) {
  const C forward = std::get<C>(c.plan.calls[0].call);
  kernels::BatchNormStatistics statistics{.x = forward.y, .dims = y};
  statistics.mean = c.flat("mean", y.c);
  statistics.var = c.flat("var", y.c);
  statistics.rstd = c.flat("rstd", y.c);
  statistics.partial = c.scratch("partial", statistics.partial_bytes());
  c.plan.calls.clear();
  return c.call(kernels::Together<C, kernels::BatchNormStatistics>{{forward, statistics}});
}

// The gradient of its input, and the sums over that of a batch norm of these dims.
template <class C>
CallCase with_reduce(CallCase c, const Dims& d, Activation act) {
  const C backward = std::get<C>(c.plan.calls[0].call);
  kernels::BatchNormBackwardReduce reduce{.dy = backward.dx, .dims = d, .act = act};
  reduce.dgamma = c.flat("dgamma", d.c);
  reduce.dbeta = c.flat("dbeta", d.c);
  if (act != Activation::none) reduce.y = c.in("y", d, activated(act));
  reduce.x = c.in("x", d, normal());
  reduce.mean = c.flat("mean", d.c, normal(0, 0.1));
  reduce.rstd = c.flat("rstd", d.c, uniform(0.8, 1.2));
  reduce.partial = c.scratch("partial", reduce.partial_bytes());
  c.plan.calls.clear();
  return c.call(kernels::Together<C, kernels::BatchNormBackwardReduce>{{backward, reduce}});
}

}  // namespace norma::test
