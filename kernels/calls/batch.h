// Calls: from the resident data set to a batch.
#pragma once
#include "kernels/calls/operand.h"

namespace norma::kernels {

// i < N counts the batch's samples; j is the index in the set of the sample position + first_sample + i. Shuffling takes the epoch's order
// (kernels/batch_order.h), else samples are taken as stored.
// y[i,c,h,w] = scale[c] * source[j,c,h,w] + offset[c]; padding lanes get 0
//   labels_out[i] = labels[j]                               (when given)
//   targets_out[i,:] = targets[j,:]                         (when given: float targets)
struct Gather {
  static constexpr const char* name = "gather";
  ValueId y{}, labels_out{}, targets_out{};  // (N,C,H,W) in lanes; i32 (N); (N,T) in lanes
  ValueId source{}, labels{}, targets{};     // u8 or f32 [population][C][H][W]; i32 [population]; f32 [population][T]
  ValueId scale{}, offset{};                 // f32 (C), or absent: 1 and 0
  ValueId state{};                           // StepState: population, position; seed, epoch
  Dims dims{}, target_dims{};
  DType source_type = DType::u8;
  bool shuffle = false;

  constexpr void cut(std::int64_t n) { dims.n = target_dims.n = n; }
  constexpr std::array<Operand, 9> operands() const {
    return {{{y, Access::write, "y"},
             {labels_out, Access::write, "labels_out"},
             {targets_out, Access::write, "targets_out"},
             {source, Access::read, "source"},
             {labels, Access::read, "labels"},
             {targets, Access::read, "targets"},
             {scale, Access::read, "scale"},
             {offset, Access::read, "offset"},
             {state, Access::read, "state"}}};
  }
  constexpr Cost cost() const { return {dims.count() * (f32_bytes + size_of(source_type)), 2.0 * dims.count()}; }
};

// y = x resampled to (y.h, y.w): bilinear, pixel centres at (i + 0.5). If a side shrinks by s > 1 the triangle filter is widened by s
// (PIL's and torchvision's antialias=True). Weights of each output position are normalised to sum 1.
struct Resize {
  static constexpr const char* name = "resize";
  ValueId y{}, x{};
  Dims y_dims{}, x_dims{};

  constexpr void cut(std::int64_t n) { y_dims.n = x_dims.n = n; }
  constexpr std::array<Operand, 2> operands() const { return {{{y, Access::write, "y"}, {x, Access::read, "x"}}}; }
  constexpr Cost cost() const { return {(x_dims.count() + y_dims.count()) * f32_bytes, 8.0 * y_dims.count()}; }
};

}  // namespace norma::kernels
