// Kernels for samples one by one: what a Plan of one lane runs on the CPU. Values lie as in PyTorch, (N,C,H,W); lanes are filters or
// positions. Each element goes through the operations of the kernel for packs, in their order, and so has its bits (a zero's sign
// excepted). They run on the calling thread alone. Memory may be read up to 64 bytes past the end of a value.
#pragma once
#include "kernels/calls.h"
#include "kernels/cpu/sample_weights.h"

namespace norma::kernels::cpu::NORMA_ISA {

void run_sample(const Gather& call, const Memory& memory);
void run_sample(const Resize& call, const Memory& memory);
void run_sample(const Conv2dForward& call, const Memory& memory);        // w: sample_weights.h
void run_sample(const Conv2dBackwardInput& call, const Memory& memory);  // as a transposed convolution
void run_sample(const LinearForward& call, const Memory& memory);        // w: sample_weights.h
void run_sample(const BatchNormRstd& call, const Memory& memory);
void run_sample(const BatchNormApply& call, const Memory& memory);
void run_sample(const BatchNormMaxPool& call, const Memory& memory);  // argmax and largest absent
void run_sample(const GroupNormForward& call, const Memory& memory);
void run_sample(const ActivationForward& call, const Memory& memory);
void run_sample(const Add& call, const Memory& memory);
void run_sample(const MaxPoolForward& call, const Memory& memory);  // argmax absent
void run_sample(const AvgPoolForward& call, const Memory& memory);
void run_sample(const HostFunction& call, const Memory& memory);

// Runs the alternative that the variant holds, which serves_samples (kernels/cpu/backend.h).
void run_sample_call(const Call& call, const Memory& memory);

}  // namespace norma::kernels::cpu::NORMA_ISA
