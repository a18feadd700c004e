// The CPU kernels: one function per Call, in the namespace of the instruction-set level they are compiled for.
#pragma once
#include "kernels/calls.h"
#include "kernels/cpu/backend.h"

namespace norma::kernels::cpu::NORMA_ISA {

void run(const Gather& call, const Memory& memory);
void run(const Resize& call, const Memory& memory);
void run(const Conv2dForward& call, const Memory& memory);
void run(const Conv2dBackwardInput& call, const Memory& memory);
void run(const LinearForward& call, const Memory& memory);
void run(const LinearBackwardInput& call, const Memory& memory);
void run(const LinearBackwardWeight& call, const Memory& memory);
void run(const BatchNormRstd& call, const Memory& memory);
void run(const BatchNormApply& call, const Memory& memory);
void run(const BatchNormBackwardApply& call, const Memory& memory);
void run(const BatchNormMaxPool& call, const Memory& memory);
void run(const BatchNormMaxPoolBackwardApply& call, const Memory& memory);
void run(const BatchNormRunningUpdate& call, const Memory& memory);
void run(const GroupNormForward& call, const Memory& memory);
void run(const GroupNormBackwardInput& call, const Memory& memory);
void run(const ActivationForward& call, const Memory& memory);
void run(const ActivationBackward& call, const Memory& memory);
void run(const Add& call, const Memory& memory);
void run(const Dropout& call, const Memory& memory);
void run(const MaxPoolForward& call, const Memory& memory);
void run(const MaxPoolBackward& call, const Memory& memory);
void run(const AvgPoolForward& call, const Memory& memory);
void run(const AvgPoolBackward& call, const Memory& memory);
void run(const SoftmaxCrossEntropy& call, const Memory& memory);
void run(const MeanSquaredError& call, const Memory& memory);
void run(const HostFunction& call, const Memory& memory);
void run(const HostLoss& call, const Memory& memory);
void run(const CheckFinite& call, const Memory& memory);
void run(const ClipGradients& call, const Memory& memory);
void run(const Update& call, const Memory& memory);
void run(const Advance& call, const Memory& memory);
void run(const Fill& call, const Memory& memory);

// Calls that reduce over the batch: partial sums of every pack (or chunk) of the Call as it is, then the sum of those.
void run_partial(const Conv2dBackwardWeight& call, const Memory& memory);
void finish(const Conv2dBackwardWeight& call, const Memory& memory);
void run_partial(const BatchNormStatistics& call, const Memory& memory);
void finish(const BatchNormStatistics& call, const Memory& memory);
void run_partial(const BatchNormBackwardReduce& call, const Memory& memory);
void finish(const BatchNormBackwardReduce& call, const Memory& memory);
void run_partial(const GroupNormBackward& call, const Memory& memory);
void finish(const GroupNormBackward& call, const Memory& memory);
void run_partial(const InstanceNormAverage& call, const Memory& memory);
void finish(const InstanceNormAverage& call, const Memory& memory);

// Runs the alternative that the variant holds: all of it, or one part.
void run_call(const Call& call, Part part, const Memory& memory);

}  // namespace norma::kernels::cpu::NORMA_ISA
