// THE boundary: every kernel invocation a Plan can hold, with its contract (in calls/, by kind).
//
// A Call is plain data: value ids, shapes, scalars. Each backend is an overload set: the CPU's is run(const Call&, const Memory&), the
// GPU's enqueue(const Call&, const Memory&, const Queue&). A kernel that a backend lacks does not compile. Unless a line says otherwise a
// Call writes its outputs whole ("="), never adds to them, and reads none of them. N C H W are as in PyTorch; m is the number of elements
// of a channel, N*H*W.
//
// operands() lists the values a Call touches, outputs first. cost() gives the bytes that must move and the mathematics' floating-point
// operations (a multiply-add is two). It counts logical elements, not padding.
//
// cut(n) turns a Call into that of one pack of n <= L samples. Its per-sample operands are then addressed at the beginning of the pack's
// part (Memory::first_sample counts the samples before it). A Call without cut needs the whole batch at once. If `reduces` is set, the
// packs' Calls make only their part of `partial` and of per-sample outputs. The sums over the batch follow when all are done.
// A backend that cuts otherwise than into packs keeps its parts in memory of its own (kernels/cuda/backend.h: workspace).
#pragma once
#include <variant>

#include "kernels/calls/activation.h"
#include "kernels/calls/batch.h"
#include "kernels/calls/batch_norm.h"
#include "kernels/calls/conv2d.h"
#include "kernels/calls/group_norm.h"
#include "kernels/calls/host.h"
#include "kernels/calls/linear.h"
#include "kernels/calls/loss.h"
#include "kernels/calls/optimizer.h"
#include "kernels/calls/pool.h"
#include "kernels/calls/together.h"

namespace norma::kernels {

using Call =
    std::variant<Gather, Resize, Conv2dForward, Conv2dBackwardInput, Conv2dBackwardWeight, LinearForward, LinearBackwardInput,
                 LinearBackwardWeight, BatchNormStatistics, BatchNormRstd, BatchNormApply, BatchNormBackwardReduce, BatchNormBackwardApply,
                 BatchNormMaxPool, BatchNormMaxPoolBackwardApply, BatchNormRunningUpdate, GroupNormForward, GroupNormBackward,
                 GroupNormBackwardInput, InstanceNormAverage, ActivationForward, ActivationBackward, Add, Dropout, MaxPoolForward,
                 MaxPoolBackward, AvgPoolForward, AvgPoolBackward, SoftmaxCrossEntropy, MeanSquaredError, HostFunction, HostLoss,
                 CheckFinite, ClipGradients, Update, Advance, Fill, Conv2dForwardStatistics, LinearForwardStatistics,
                 Conv2dBackwardInputReduce, LinearBackwardInputReduce, BatchNormForward, BatchNormBackward, EndOfStep>;

// A Call of the host, for which a GPU's values travel: no capture can hold it.
template <class C>
inline constexpr bool on_host = requires {
  C::on_host;
};

template <class C>
inline constexpr bool reduces = requires {
  C::reduces;
};

// Part of a Call to run. whole: all of it. pack: of a Call that was cut, the work for which its pack needs no other pack. finish: of one
// that reduces, the rest, once all packs have done their part.
enum class Part : std::uint8_t { whole, pack, finish };

}  // namespace norma::kernels
