// Functions of the host: the stream is waited for, and values travel. An error of a copy is left for cudaGetLastError().
#include <vector>

#include "device.cuh"
#include "kernels/cuda/calls.h"

namespace norma::kernels::cuda {
namespace {

// A tensor in the host's memory.
class OnHost {
 public:
  OnHost() = default;
  explicit OnHost(const Dims& dims) : dims_(dims), values_(static_cast<std::size_t>(dims.count())) {}
  void read(const float* device, cudaStream_t stream) {
    std::vector<float> stored(static_cast<std::size_t>(dims_.stored()));
    (void)cudaMemcpyAsync(stored.data(), device, stored.size() * sizeof(float), cudaMemcpyDefault, stream);
    (void)cudaStreamSynchronize(stream);
    to_nchw(dims_, stored.data(), values_.data());
  }
  void write(float* device, cudaStream_t stream) const {
    std::vector<float> stored(static_cast<std::size_t>(dims_.stored()));
    from_nchw(dims_, values_.data(), stored.data());
    (void)cudaMemcpyAsync(device, stored.data(), stored.size() * sizeof(float), cudaMemcpyDefault, stream);
    (void)cudaStreamSynchronize(stream);
  }
  HostTensor tensor() { return {values_.data(), static_cast<std::int64_t>(values_.size())}; }

 private:
  Dims dims_{};
  std::vector<float> values_;
};

}  // namespace

void enqueue(const HostFunction& call, const Memory& memory, const Queue& queue) {
  if (is_noting()) return;
  std::array<OnHost, HostFunction::most> outputs, inputs;
  HostFunction::Tensors out{}, in{};
  for (std::size_t i = 0; i < call.most; ++i) {
    if (call.outputs[i]) outputs[i] = OnHost(call.output_dims[i]), out[i] = outputs[i].tensor();
    if (!call.inputs[i]) continue;
    inputs[i] = OnHost(call.input_dims[i]);
    inputs[i].read(memory.at<float>(call.inputs[i]), queue.stream);
    in[i] = inputs[i].tensor();
  }
  call.function(call.context, out, in);
  for (std::size_t i = 0; i < call.most; ++i)
    if (call.outputs[i]) outputs[i].write(memory.at<float>(call.outputs[i]), queue.stream);
}

void enqueue(const HostLoss& call, const Memory& memory, const Queue& queue) {
  if (is_noting()) return;
  OnHost x(call.dims), target, dx;
  x.read(memory.at<float>(call.x), queue.stream);
  if (call.target) target = OnHost(call.dims), target.read(memory.at<float>(call.target), queue.stream);
  if (call.dx) dx = OnHost(call.dims);
  std::vector<std::int32_t> labels;
  if (call.labels) {
    labels.resize(static_cast<std::size_t>(call.dims.n));
    (void)cudaMemcpyAsync(labels.data(), memory.at<std::int32_t>(call.labels), labels.size() * sizeof(std::int32_t), cudaMemcpyDefault,
                          queue.stream);
    (void)cudaStreamSynchronize(queue.stream);
  }
  LossResult r;
  r.loss = call.function(call.context, call.dims.n, x.tensor(), target.tensor(), call.labels ? labels.data() : nullptr, dx.tensor());
  r.loss_sum = r.loss * static_cast<double>(call.dims.n);
  r.correct = call.labels ? count_correct(call.dims, x.tensor().values, labels.data()) : 0;
  r.counted = call.dims.n;
  if (call.dx) dx.write(memory.at<float>(call.dx), queue.stream);
  (void)cudaMemcpyAsync(memory.at<LossResult>(call.loss), &r, sizeof r, cudaMemcpyDefault, queue.stream);
  (void)cudaStreamSynchronize(queue.stream);
}

}  // namespace norma::kernels::cuda
