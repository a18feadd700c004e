// LinearForward, LinearBackwardInput and LinearBackwardWeight: register blocks over outputs and groups of samples.
#include <cassert>

#include "kernels/chunks.h"
#include "kernels/cpu/backend.h"
#include "kernels/cpu/calls.h"
#include "kernels/cpu/correlate.h"
#include "kernels/cpu/outer_sum.h"
#include "kernels/cpu/parallel.h"

namespace norma::kernels::cpu::NORMA_ISA {

namespace {

// y[g][o] = b[o] + sum over i of w[o*w_out + i*w_in] * x[g][i], for all groups of samples g.
// One index is one block of outputs of one block of groups.
inline void multiply(float* y, const float* x, const float* w, const float* b, std::int64_t groups, std::int64_t outs, std::int64_t ins,
                     std::int64_t w_out, std::int64_t w_in) {
  const std::int64_t group_blocks = ceil_div(groups, max_cols), out_blocks = ceil_div(outs, max_outs);
  parallel_for(group_blocks * out_blocks, [=](std::int64_t item) {
    const Range g = chunk(groups, group_blocks, item / out_blocks), o = chunk(outs, out_blocks, item % out_blocks);
    Correlation a{};
    a.x = x + g.begin * ins * lanes;
    a.x_column = ins * lanes;
    a.x_tap = lanes;
    a.w = w + o.begin * w_out;
    a.w_out = w_out;
    a.w_tap = w_in;
    a.b = b ? b + o.begin : nullptr;
    a.y = y + (g.begin * outs + o.begin) * lanes;
    a.y_out = lanes;
    a.y_column = outs * lanes;
    a.channels = a.rows = 1;
    a.taps = ins;
    correlate_row<0, 0, false>(a, o.end - o.begin, g.end - g.begin);
  });
}

}  // namespace

void run(const LinearForward& call, const Memory& memory) {
  assert(call.x_dims.lanes == lanes && call.y_dims.lanes == lanes);
  const std::int64_t features = call.x_dims.c, outs = call.y_dims.c;
  multiply(memory.at<float>(call.y), memory.at<const float>(call.x), memory.at<const float>(call.w), memory.at<const float>(call.b),
           call.x_dims.groups(), outs, features, features, 1);
}

void run(const LinearBackwardInput& call, const Memory& memory) {
  assert(call.x_dims.lanes == lanes && call.y_dims.lanes == lanes);
  const std::int64_t features = call.x_dims.c, outs = call.y_dims.c;
  multiply(memory.at<float>(call.dx), memory.at<const float>(call.dy), memory.at<const float>(call.w), nullptr, call.x_dims.groups(),
           features, outs, 1, features);
}

// One index is one block of outputs, with all features.
void run(const LinearBackwardWeight& call, const Memory& memory) {
  assert(call.x_dims.lanes == lanes && call.y_dims.lanes == lanes);
  const float* x = memory.at<const float>(call.x);
  const float* dy = memory.at<const float>(call.dy);
  float* dw = memory.at<float>(call.dw);
  float* db = memory.at<float>(call.db);
  const std::int64_t features = call.x_dims.c, outs = call.y_dims.c, groups = call.x_dims.groups();
  const std::int64_t feature_blocks = ceil_div(features, max_streams);
  const std::int64_t out_blocks = ceil_div(outs, max_outs_for(ceil_div(features, feature_blocks)));
  parallel_for(out_blocks, [=](std::int64_t block) {
    const Range o = chunk(outs, out_blocks, block);
    OuterSum a{};
    a.dy = dy + o.begin * lanes;
    a.dy_out = lanes;
    a.dy_column = outs * lanes;
    a.x_column = features * lanes;
    a.x_stream = lanes;
    a.samples = a.rows = 1;
    a.columns = a.inner_end = groups;
    a.out_out = features;
    a.out_stream = 1;
    for (std::int64_t f = 0; f < feature_blocks; ++f) {
      const Range t = chunk(features, feature_blocks, f);
      a.x = x + t.begin * lanes;
      a.out = dw + o.begin * features + t.begin;
      outer_sum(a, o.end - o.begin, t.end - t.begin);
    }
    if (!db) return;
    for (std::int64_t j = o.begin; j < o.end; ++j) {
      V sum = zero();
      for (std::int64_t g = 0; g < groups; ++g) sum = sum + load(dy + (g * outs + j) * lanes);
      db[j] = reduce_add(sum);
    }
  });
}

}  // namespace norma::kernels::cpu::NORMA_ISA
