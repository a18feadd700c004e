#include "tests/cudnn/cudnn_handle.h"

namespace norma::test {

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

TensorDescriptor tensor_descriptor(const kernels::Dims& d, Layout layout) {
  TensorDescriptor descriptor;
  check(cudnnSetTensor4dDescriptor(descriptor, layout == Layout::nhwc ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT,
                                   static_cast<int>(d.n), static_cast<int>(d.c), static_cast<int>(d.h), static_cast<int>(d.w)),
        "cudnnSetTensor4dDescriptor");
  return descriptor;
}

}  // namespace norma::test
