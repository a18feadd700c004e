// The CUDA kernels: one function per Call.
#pragma once
#include "kernels/calls.h"
#include "kernels/cuda/backend.h"

namespace norma::kernels::cuda {

void enqueue(const Gather& call, const Memory& memory, const Queue& queue);
void enqueue(const Resize& call, const Memory& memory, const Queue& queue);
void enqueue(const Conv2dForward& call, const Memory& memory, const Queue& queue);
void enqueue(const Conv2dBackwardInput& call, const Memory& memory, const Queue& queue);
void enqueue(const Conv2dBackwardWeight& call, const Memory& memory, const Queue& queue);
void enqueue(const LinearForward& call, const Memory& memory, const Queue& queue);
void enqueue(const LinearBackwardInput& call, const Memory& memory, const Queue& queue);
void enqueue(const LinearBackwardWeight& call, const Memory& memory, const Queue& queue);
void enqueue(const BatchNormStatistics& call, const Memory& memory, const Queue& queue);
void enqueue(const BatchNormRstd& call, const Memory& memory, const Queue& queue);
void enqueue(const BatchNormApply& call, const Memory& memory, const Queue& queue);
void enqueue(const BatchNormBackwardReduce& call, const Memory& memory, const Queue& queue);
void enqueue(const BatchNormBackwardApply& call, const Memory& memory, const Queue& queue);
void enqueue(const BatchNormMaxPool& call, const Memory& memory, const Queue& queue);
void enqueue(const BatchNormMaxPoolBackwardApply& call, const Memory& memory, const Queue& queue);
void enqueue(const BatchNormRunningUpdate& call, const Memory& memory, const Queue& queue);
void enqueue(const GroupNormForward& call, const Memory& memory, const Queue& queue);
void enqueue(const GroupNormBackward& call, const Memory& memory, const Queue& queue);
void enqueue(const GroupNormBackwardInput& call, const Memory& memory, const Queue& queue);
void enqueue(const InstanceNormAverage& call, const Memory& memory, const Queue& queue);
void enqueue(const ActivationForward& call, const Memory& memory, const Queue& queue);
void enqueue(const ActivationBackward& call, const Memory& memory, const Queue& queue);
void enqueue(const Add& call, const Memory& memory, const Queue& queue);
void enqueue(const Dropout& call, const Memory& memory, const Queue& queue);
void enqueue(const MaxPoolForward& call, const Memory& memory, const Queue& queue);
void enqueue(const MaxPoolBackward& call, const Memory& memory, const Queue& queue);
void enqueue(const AvgPoolForward& call, const Memory& memory, const Queue& queue);
void enqueue(const AvgPoolBackward& call, const Memory& memory, const Queue& queue);
void enqueue(const SoftmaxCrossEntropy& call, const Memory& memory, const Queue& queue);
void enqueue(const MeanSquaredError& call, const Memory& memory, const Queue& queue);
void enqueue(const HostFunction& call, const Memory& memory, const Queue& queue);
void enqueue(const HostLoss& call, const Memory& memory, const Queue& queue);
void enqueue(const CheckFinite& call, const Memory& memory, const Queue& queue);
void enqueue(const ClipGradients& call, const Memory& memory, const Queue& queue);
void enqueue(const Update& call, const Memory& memory, const Queue& queue);
void enqueue(const Advance& call, const Memory& memory, const Queue& queue);
void enqueue(const Fill& call, const Memory& memory, const Queue& queue);
void enqueue(const Conv2dForwardStatistics& call, const Memory& memory, const Queue& queue);
void enqueue(const LinearForwardStatistics& call, const Memory& memory, const Queue& queue);
void enqueue(const Conv2dBackwardInputReduce& call, const Memory& memory, const Queue& queue);
void enqueue(const LinearBackwardInputReduce& call, const Memory& memory, const Queue& queue);
void enqueue(const BatchNormForward& call, const Memory& memory, const Queue& queue);
void enqueue(const BatchNormBackward& call, const Memory& memory, const Queue& queue);
void enqueue(const EndOfStep& call, const Memory& memory, const Queue& queue);

// Memory needed by the Calls that sum in parts, and by others that prepare something for their own kernel.
Needs needs(const Resize& call);
Needs needs(const Conv2dBackwardWeight& call);
Needs needs(const LinearBackwardWeight& call);
Needs needs(const BatchNormStatistics& call);
Needs needs(const BatchNormBackwardReduce& call);
Needs needs(const GroupNormBackward& call);
Needs needs(const SoftmaxCrossEntropy& call);
Needs needs(const MeanSquaredError& call);
Needs needs(const Conv2dForwardStatistics& call);
Needs needs(const LinearForwardStatistics& call);
Needs needs(const Conv2dBackwardInputReduce& call);
Needs needs(const LinearBackwardInputReduce& call);
Needs needs(const BatchNormForward& call);
Needs needs(const BatchNormBackward& call);
Needs needs(const EndOfStep& call);

}  // namespace norma::kernels::cuda
