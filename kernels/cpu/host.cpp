// Functions of the host: their tensors lie in the Call's scratch memory (scratch.h).
#include "kernels/cpu/calls.h"

namespace norma::kernels::cpu::NORMA_ISA {
namespace {

// Gives the next elements of scratch memory.
class Tensors {
 public:
  explicit Tensors(const Memory& memory) : next_(reinterpret_cast<float*>(memory.scratch)) {}
  HostTensor zero(std::int64_t elements) {
    const HostTensor t{next_, elements};
    for (std::int64_t i = 0; i < elements; ++i) t.values[i] = 0;
    next_ += elements;
    return t;
  }
  HostTensor copy(const Dims& dims, const float* stored) {
    const HostTensor t{next_, dims.count()};
    to_nchw(dims, stored, t.values);
    next_ += t.elements;
    return t;
  }

 private:
  float* next_;
};

}  // namespace

void run(const HostFunction& call, const Memory& memory) {
  Tensors tensors(memory);
  HostFunction::Tensors outputs{}, inputs{};
  for (std::size_t i = 0; i < call.most; ++i)
    if (call.outputs[i]) outputs[i] = tensors.zero(call.output_dims[i].count());
  for (std::size_t i = 0; i < call.most; ++i)
    if (call.inputs[i]) inputs[i] = tensors.copy(call.input_dims[i], memory.at<float>(call.inputs[i]));
  call.function(call.context, outputs, inputs);
  for (std::size_t i = 0; i < call.most; ++i)
    if (call.outputs[i]) from_nchw(call.output_dims[i], outputs[i].values, memory.at<float>(call.outputs[i]));
}

void run(const HostLoss& call, const Memory& memory) {
  Tensors tensors(memory);
  HostTensor target{}, dx{};
  const HostTensor x = tensors.copy(call.dims, memory.at<float>(call.x));
  if (call.target) target = tensors.copy(call.dims, memory.at<float>(call.target));
  if (call.dx) dx = tensors.zero(call.dims.count());
  const std::int32_t* const labels = memory.at<std::int32_t>(call.labels);
  LossResult r;
  r.loss = call.function(call.context, call.dims.n, x, target, labels, dx);
  r.loss_sum = r.loss * static_cast<double>(call.dims.n);
  r.correct = labels ? count_correct(call.dims, x.values, labels) : 0;
  r.counted = call.dims.n;
  if (call.dx) from_nchw(call.dims, dx.values, memory.at<float>(call.dx));
  *memory.at<LossResult>(call.loss) = r;
}

}  // namespace norma::kernels::cpu::NORMA_ISA
