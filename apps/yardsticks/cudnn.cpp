// cuDNN for comparison with norma's kernels: norma_cudnn.so, loaded by `norma verify`. In float without tensor cores, on arrays in NCHW.
//
// cuDNN and norma split batch norm differently. So each Call is compared with the part of an entry point that computes the same:
//   BatchNormStatistics      mean, 1/deviation and (as the running variance after one update of weight 1) variance of a training pass
//   BatchNormApply           inference from that mean and the variance 1/rstd^2 with eps 0: one rounding more
//   BatchNormBackwardReduce  dgamma and dbeta of the backward pass with gamma 1; its dx is thrown away
//   BatchNormBackwardApply   dx of the backward pass, which sums dgamma and dbeta itself instead of taking the Call's
// Activations fused into a Call are cuDNN's own, before or after. SoftmaxCrossEntropy uses cuDNN's softmax and makes dlogits of its
// probabilities in double. Not offered: MaxPool's gradient, which takes no argmax there, and linear layers, which have no entry point here.
#include "apps/yardsticks/cudnn.h"

#include <cmath>
#include <cstdio>
#include <exception>
#include <list>
#include <optional>
#include <string_view>
#include <vector>

#include "apps/yardsticks/cudnn_convolution.h"
#include "src/execute/cuda_memory.h"
#include "src/plan/plan.h"

namespace norma::bench {
namespace {

using namespace kernels;

constexpr cudnnBatchNormMode_t spatial = CUDNN_BATCHNORM_SPATIAL;

// One Call's operands by role, on the host, and copies on the GPU of those that are asked for.
template <class C>
class Operands {
 public:
  Operands(const C& call, void* const* host) : operands_(call.operands()), host_(host) {}

  template <class T = float>
  T* host(std::string_view role) const {
    for (std::size_t i = 0; i < operands_.size(); ++i)
      if (role == operands_[i].name) return static_cast<T*>(host_[i]);
    return nullptr;
  }
  bool has(std::string_view role) const { return host<void>(role) != nullptr; }

  std::byte* array(std::int64_t floats) { return block(static_cast<std::size_t>(floats) * sizeof(float)); }
  std::byte* filled(std::int64_t floats, float value) {
    return copy(std::vector<float>(static_cast<std::size_t>(floats), value).data(), floats);
  }
  std::byte* in(std::string_view role, std::int64_t floats) { return copy(host(role), floats); }
  // An absent operand is filled with `floats` times `otherwise`.
  std::byte* in(std::string_view role, std::int64_t floats, float otherwise) {
    return has(role) ? in(role, floats) : filled(floats, otherwise);
  }

  // Brings an output back, if the Call has it, and sets its bit.
  void out(std::string_view role, const std::byte* from, std::int64_t floats) {
    for (std::size_t i = 0; i < operands_.size(); ++i)
      if (role == operands_[i].name && host_[i]) {
        cuda::check(cudaMemcpy(host_[i], from, static_cast<std::size_t>(floats) * sizeof(float), cudaMemcpyDeviceToHost),
                    "a kernel of cuDNN, or copying from the GPU");
        mark(role);
      }
  }
  void mark(std::string_view role) {
    for (std::size_t i = 0; i < operands_.size(); ++i)
      if (role == operands_[i].name && host_[i]) written_ |= 1u << i;
  }
  std::uint32_t written() const { return written_; }

 private:
  std::byte* block(std::size_t bytes) { return blocks_.emplace_back(bytes, "an operand").data(); }
  std::byte* copy(const float* values, std::int64_t floats) {
    const std::size_t bytes = static_cast<std::size_t>(floats) * sizeof(float);
    std::byte* to = block(bytes);
    cuda::check(cudaMemcpy(to, values, bytes, cudaMemcpyHostToDevice), "copying to the GPU");
    return to;
  }

  decltype(std::declval<const C&>().operands()) operands_;
  void* const* host_;
  std::list<cuda::Block> blocks_;
  std::uint32_t written_ = 0;
};

// A Call for which cuDNN has no kernel.
template <class C>
void run(const C&, Operands<C>&) {}

void run(const Conv2dForward& call, Operands<Conv2dForward>& o) {
  const ConvShape& s = call.shape;
  std::byte* y = o.array(s.y.count());
  CudnnConvolution(s).forward(o.in("x", s.x.count()), o.in("w", s.weights()), o.has("b") ? o.in("b", s.y.c) : nullptr, y);
  o.out("y", y, s.y.count());
}

void run(const Conv2dBackwardInput& call, Operands<Conv2dBackwardInput>& o) {
  const ConvShape& s = call.shape;
  std::byte* dx = o.array(s.x.count());
  CudnnConvolution(s).backward_input(o.in("dy", s.y.count()), o.in("w", s.weights()), dx);
  if (o.has("b"))
    check(cudnnAddTensor(cudnn(), &one, tensor_descriptor({1, s.x.c}), o.in("b", s.x.c), &one, tensor_descriptor(s.x), dx),
          "cudnnAddTensor");
  o.out("dx", dx, s.x.count());
}

void run(const Conv2dBackwardWeight& call, Operands<Conv2dBackwardWeight>& o) {
  const ConvShape& s = call.shape;
  const CudnnConvolution convolution(s);
  std::byte *dy = o.in("dy", s.y.count()), *dw = o.array(s.weights()), *db = o.array(s.y.c);
  convolution.backward_weight(dy, o.in("x", s.x.count()), dw);
  o.out("dw", dw, s.weights());
  if (!o.has("db")) return;
  convolution.backward_bias(dy, db);
  o.out("db", db, s.y.c);
}

void run(const BatchNormStatistics& call, Operands<BatchNormStatistics>& o) {
  const Dims& d = call.dims;
  const TensorDescriptor tensor = tensor_descriptor(d), channels = channels_descriptor(tensor, spatial);
  std::byte *mean = o.array(d.c), *rstd = o.array(d.c), *running_mean = o.filled(d.c, 0), *running_var = o.filled(d.c, 1);
  check(cudnnBatchNormalizationForwardTraining(cudnn(), spatial, &one, &keep_none, tensor, o.in("x", d.count()), tensor, o.array(d.count()),
                                               channels, o.filled(d.c, 1), o.filled(d.c, 0), 1, running_mean, running_var, call.eps, mean,
                                               rstd),
        "cudnnBatchNormalizationForwardTraining");
  o.out("mean", mean, d.c);
  o.out("rstd", rstd, d.c);
  o.out("var", running_var, d.c);
  const double m = static_cast<double>(d.n * d.plane());
  for (std::int64_t c = 0; c < d.c; ++c) {  // which is the unbiased one
    float& var = o.host("var")[c];
    var = static_cast<float>(static_cast<double>(var) * ((m - 1) / m));
  }
}

void run(const BatchNormApply& call, Operands<BatchNormApply>& o) {
  const Dims& d = call.dims;
  const TensorDescriptor tensor = tensor_descriptor(d), channels = channels_descriptor(tensor, spatial);
  std::byte *y = o.array(d.count()), *var = o.array(d.c);
  std::vector<float> variances;
  for (std::int64_t c = 0; c < d.c; ++c) {
    const double rstd = static_cast<double>(o.host("rstd")[c]);
    variances.push_back(static_cast<float>(1 / (rstd * rstd)));
  }
  cuda::check(cudaMemcpy(var, variances.data(), variances.size() * sizeof(float), cudaMemcpyHostToDevice), "copying to the GPU");
  check(cudnnBatchNormalizationForwardInference(cudnn(), spatial, &one, &keep_none, tensor, o.in("x", d.count()), tensor, y, channels,
                                                o.in("gamma", d.c, 1), o.in("beta", d.c, 0), o.in("mean", d.c), var, 0),
        "cudnnBatchNormalizationForwardInference");
  if (o.has("r")) check(cudnnAddTensor(cudnn(), &one, tensor, o.in("r", d.count()), &one, tensor, y), "cudnnAddTensor");
  if (call.act != Activation::none)
    check(cudnnActivationForward(cudnn(), activation_descriptor(call.act), &one, tensor, y, &keep_none, tensor, y),
          "cudnnActivationForward");
  o.out("y", y, d.count());
}

// dy * act'(y); cuDNN asks for x, too, and reads it for none of these.
template <class C>
std::byte* gradient_before(Activation act, const Dims& d, Operands<C>& o) {
  std::byte* dy = o.in("dy", d.count());
  if (act == Activation::none) return dy;
  const TensorDescriptor tensor = tensor_descriptor(d);
  std::byte *y = o.in("y", d.count()), *g = o.array(d.count());
  check(cudnnActivationBackward(cudnn(), activation_descriptor(act), &one, tensor, y, tensor, dy, tensor, y, &keep_none, tensor, g),
        "cudnnActivationBackward");
  return g;
}

struct BackwardOutputs {
  std::byte *g, *dx, *dgamma, *dbeta;
};
// With the Call's mean and rstd; gamma where it has one.
template <class C>
BackwardOutputs batch_norm_backward(const C& call, Operands<C>& o) {
  const Dims& d = call.dims;
  const TensorDescriptor tensor = tensor_descriptor(d), channels = channels_descriptor(tensor, spatial);
  const BackwardOutputs out{gradient_before(call.act, d, o), o.array(d.count()), o.array(d.c), o.array(d.c)};
  check(cudnnBatchNormalizationBackward(cudnn(), spatial, &one, &keep_none, &one, &keep_none, tensor, o.in("x", d.count()), tensor, out.g,
                                        tensor, out.dx, channels, o.in("gamma", d.c, 1), out.dgamma, out.dbeta, 0, o.in("mean", d.c),
                                        o.in("rstd", d.c)),
        "cudnnBatchNormalizationBackward");
  return out;
}

void run(const BatchNormBackwardReduce& call, Operands<BatchNormBackwardReduce>& o) {
  const BackwardOutputs out = batch_norm_backward(call, o);
  o.out("dgamma", out.dgamma, call.dims.c);
  o.out("dbeta", out.dbeta, call.dims.c);
  o.out("dr", out.g, call.dims.count());
}

void run(const BatchNormBackwardApply& call, Operands<BatchNormBackwardApply>& o) {
  if (call.batch_statistics) o.out("dx", batch_norm_backward(call, o).dx, call.dims.count());
}

void run(const ActivationForward& call, Operands<ActivationForward>& o) {
  const TensorDescriptor tensor = tensor_descriptor(call.dims);
  std::byte* y = o.array(call.dims.count());
  check(cudnnActivationForward(cudnn(), activation_descriptor(call.act), &one, tensor, o.in("x", call.dims.count()), &keep_none, tensor, y),
        "cudnnActivationForward");
  o.out("y", y, call.dims.count());
}

void run(const ActivationBackward& call, Operands<ActivationBackward>& o) {
  o.out("dx", gradient_before(call.act, call.dims, o), call.dims.count());
}

void run(const Add& call, Operands<Add>& o) {
  const TensorDescriptor tensor = tensor_descriptor(call.dims);
  std::byte* sum = o.in("a", call.dims.count());
  check(cudnnAddTensor(cudnn(), &one, tensor, o.in("b", call.dims.count()), &one, tensor, sum), "cudnnAddTensor");
  o.out("y", sum, call.dims.count());
}

template <class C>
void pool(const C& call, cudnnPoolingMode_t mode, Operands<C>& o) {
  const PoolShape& s = call.shape;
  std::byte* y = o.array(s.y.count());
  check(cudnnPoolingForward(cudnn(), pooling_descriptor(s, mode), &one, tensor_descriptor(s.x), o.in("x", s.x.count()), &keep_none,
                            tensor_descriptor(s.y), y),
        "cudnnPoolingForward");
  o.out("y", y, s.y.count());
}

cudnnPoolingMode_t average(bool include_pad) {
  return include_pad ? CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING : CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING;
}

void run(const MaxPoolForward& call, Operands<MaxPoolForward>& o) { pool(call, CUDNN_POOLING_MAX_DETERMINISTIC, o); }
void run(const AvgPoolForward& call, Operands<AvgPoolForward>& o) { pool(call, average(call.include_pad), o); }

// The gradient of an average reads neither x nor y.
void run(const AvgPoolBackward& call, Operands<AvgPoolBackward>& o) {
  const PoolShape& s = call.shape;
  const TensorDescriptor xd = tensor_descriptor(s.x), yd = tensor_descriptor(s.y);
  std::byte* dx = o.array(s.x.count());
  check(cudnnPoolingBackward(cudnn(), pooling_descriptor(s, average(call.include_pad)), &one, yd, o.filled(s.y.count(), 0), yd,
                             o.in("dy", s.y.count()), xd, o.filled(s.x.count(), 0), &keep_none, xd, dx),
        "cudnnPoolingBackward");
  o.out("dx", dx, s.x.count());
}

void run(const SoftmaxCrossEntropy& call, Operands<SoftmaxCrossEntropy>& o) {
  const Dims& d = call.dims;
  float* dlogits = o.host("dlogits");
  if (!dlogits) return;
  const TensorDescriptor tensor = tensor_descriptor(d);
  std::byte* p = o.array(d.count());
  check(cudnnSoftmaxForward(cudnn(), CUDNN_SOFTMAX_ACCURATE, CUDNN_SOFTMAX_MODE_CHANNEL, &one, tensor, o.in("logits", d.count()),
                            &keep_none, tensor, p),
        "cudnnSoftmaxForward");
  o.out("dlogits", p, d.count());
  const auto* labels = o.template host<std::int32_t>("labels");
  double counted = 0;
  for (std::int64_t n = 0; n < d.n; ++n) counted += labels[n] != call.ignore_index;
  const double weight = call.reduction == Reduction::mean ? 1 / counted : 1;
  for (std::int64_t n = 0; n < d.n; ++n)
    for (std::int64_t c = 0; c < d.c; ++c) {
      float& g = dlogits[n * d.c + c];
      const double q = call.smoothing / static_cast<double>(d.c) + (c == labels[n] ? 1 - call.smoothing : 0);
      g = labels[n] == call.ignore_index ? 0 : static_cast<float>((static_cast<double>(g) - q) * weight);
    }
}

// One line, kept for the process: why a GPU cannot be used.
const char* unavailable(std::int32_t gpu) {
  static std::string reason;
  int devices = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&devices); status != cudaSuccess) {
    (void)cudaGetLastError();
    reason = "no CUDA device: " + cuda::text_of(status);
  } else if (gpu >= devices) {
    reason = "no CUDA device " + std::to_string(gpu) + ": there are " + std::to_string(devices);
  } else {
    try {
      cuda::check(cudaSetDevice(gpu), "choosing the GPU");
      cudnn();
      return nullptr;
    } catch (const std::exception& e) {
      reason = std::string("cuDNN cannot be used: ") + e.what();
    }
  }
  return reason.c_str();
}

std::int64_t run_call(std::int32_t gpu, const PlanCall* call, void* const* host, char* error, std::size_t error_size) {
  try {
    cuda::check(cudaSetDevice(gpu), "choosing the GPU");
    return std::visit(
        [&](const auto& c) -> std::int64_t {
          if constexpr (requires { c.precision; })
            if (c.precision != Precision::fp32) return 0;  // what is asked of cuDNN is fp32
          Operands operands(c, host);
          run(c, operands);
          return operands.written();
        },
        call->call);
  } catch (const Unsupported&) {
    return 0;
  } catch (const std::exception& e) {
    std::snprintf(error, error_size, "[%s] %s: %s", call->path.c_str(), name_of(call->call).c_str(), e.what());
    return -1;
  }
}

}  // namespace
}  // namespace norma::bench

extern "C" const NormaCudnn* norma_cudnn() {
  static const std::string name = [] {
    const std::size_t v = cudnnGetVersion();
    return "cuDNN " + std::to_string(v / 10000) + "." + std::to_string(v / 100 % 100) + "." + std::to_string(v % 100);
  }();
  static const NormaCudnn table{norma_cudnn_version, name.c_str(), norma::bench::unavailable, norma::bench::run_call};
  return &table;
}
