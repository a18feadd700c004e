#include "apps/yardsticks/cudnn_handle.h"

#include <algorithm>
#include <utility>

namespace norma::bench {

std::string describe(cudnnStatus_t status) {
  char last[512] = {};
  cudnnGetLastErrorString(last, sizeof last);
  const std::string name = cudnnGetErrorString(status), detail = last;
  return detail.empty() || detail == name ? name : name + " (" + detail + ")";
}

void check(cudnnStatus_t status, const char* call) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  const std::string message = std::string(call) + ": " + describe(status);
  if (CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED) throw Unsupported(message);
  throw std::runtime_error(message);
}

cudnnHandle_t cudnn() {
  static const cudnnHandle_t handle = [] {  // lives as long as the process: at its end CUDA may be gone before
    cudnnHandle_t h = nullptr;
    check(cudnnCreate(&h), "cudnnCreate");
    return h;
  }();
  return handle;
}

TensorDescriptor tensor_descriptor(const kernels::Dims& d, cudnnTensorFormat_t format) {
  TensorDescriptor descriptor;
  check(cudnnSetTensor4dDescriptor(descriptor, format, CUDNN_DATA_FLOAT, static_cast<int>(d.n), static_cast<int>(d.c),
                                   static_cast<int>(d.h), static_cast<int>(d.w)),
        "cudnnSetTensor4dDescriptor");
  return descriptor;
}

TensorDescriptor channels_descriptor(const TensorDescriptor& x, cudnnBatchNormMode_t mode) {
  TensorDescriptor channels;
  check(cudnnDeriveBNTensorDescriptor(channels, x, mode), "cudnnDeriveBNTensorDescriptor");
  return channels;
}

PoolingDescriptor pooling_descriptor(const kernels::PoolShape& s, cudnnPoolingMode_t mode) {
  const kernels::Window& v = s.window;
  if (v.dilation_h != 1 || v.dilation_w != 1) throw Unsupported("cuDNN has no dilated pooling");
  PoolingDescriptor pooling;
  check(cudnnSetPooling2dDescriptor(pooling, mode, CUDNN_PROPAGATE_NAN, v.kernel_h, v.kernel_w, v.pad_h, v.pad_w, v.stride_h, v.stride_w),
        "cudnnSetPooling2dDescriptor");
  int n = 0, c = 0, h = 0, w = 0;
  check(cudnnGetPooling2dForwardOutputDim(pooling, tensor_descriptor(s.x), &n, &c, &h, &w), "cudnnGetPooling2dForwardOutputDim");
  if (h != s.y.h || w != s.y.w) throw Unsupported("cuDNN pools to another size");
  return pooling;
}

ActivationDescriptor activation_descriptor(Activation act) {
  constexpr std::pair<Activation, cudnnActivationMode_t> modes[] = {{Activation::relu, CUDNN_ACTIVATION_RELU},
                                                                    {Activation::sigmoid, CUDNN_ACTIVATION_SIGMOID},
                                                                    {Activation::tanh, CUDNN_ACTIVATION_TANH}};
  const auto mode = std::find_if(std::begin(modes), std::end(modes), [&](const auto& m) { return m.first == act; });
  if (mode == std::end(modes)) throw Unsupported(std::string("cuDNN has no activation ") + name_of(act));
  ActivationDescriptor activation;
  check(cudnnSetActivationDescriptor(activation, mode->second, CUDNN_PROPAGATE_NAN, 0), "cudnnSetActivationDescriptor");
  return activation;
}

}  // namespace norma::bench
