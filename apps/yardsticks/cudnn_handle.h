// cuDNN's objects with an end: each is destroyed with the value that holds it.
#pragma once
#include <cudnn.h>

#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>

#include "kernels/shapes.h"
#include "norma/types.h"

namespace norma::bench {

// cuDNN says that it has no kernel for what was asked: CUDNN_STATUS_NOT_SUPPORTED and its kind. Every other status is an error.
class Unsupported : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The status' name, and what cuDNN has to say about the last call that failed.
std::string describe(cudnnStatus_t status);

// Throws Unsupported, or std::runtime_error, that names the call.
void check(cudnnStatus_t status, const char* call);

// The one handle, of the GPU that was current when it was first asked for; it works on the default stream.
cudnnHandle_t cudnn();

template <class T, cudnnStatus_t (*create)(T*), cudnnStatus_t (*destroy)(T)>
class CudnnObject {
 public:
  CudnnObject() { check(create(&object_), "the creation of a cuDNN descriptor"); }
  CudnnObject(CudnnObject&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  CudnnObject& operator=(CudnnObject&&) = delete;
  ~CudnnObject() {
    if (object_) destroy(object_);
  }
  operator T() const { return object_; }

 private:
  T object_ = nullptr;
};

using TensorDescriptor = CudnnObject<cudnnTensorDescriptor_t, cudnnCreateTensorDescriptor, cudnnDestroyTensorDescriptor>;
using FilterDescriptor = CudnnObject<cudnnFilterDescriptor_t, cudnnCreateFilterDescriptor, cudnnDestroyFilterDescriptor>;
using ConvolutionDescriptor =
    CudnnObject<cudnnConvolutionDescriptor_t, cudnnCreateConvolutionDescriptor, cudnnDestroyConvolutionDescriptor>;
using PoolingDescriptor = CudnnObject<cudnnPoolingDescriptor_t, cudnnCreatePoolingDescriptor, cudnnDestroyPoolingDescriptor>;
using ActivationDescriptor = CudnnObject<cudnnActivationDescriptor_t, cudnnCreateActivationDescriptor, cudnnDestroyActivationDescriptor>;

// A float tensor (N,C,H,W).
TensorDescriptor tensor_descriptor(const kernels::Dims& d, cudnnTensorFormat_t format = CUDNN_TENSOR_NCHW);
// Descriptor of a BatchNorm's parameters and statistics, for an input like x.
TensorDescriptor channels_descriptor(const TensorDescriptor& x, cudnnBatchNormMode_t mode);
// Throws Unsupported where cuDNN would pool to another size, or cannot say what the window is.
PoolingDescriptor pooling_descriptor(const kernels::PoolShape& s, cudnnPoolingMode_t mode);
// act is not none.
ActivationDescriptor activation_descriptor(Activation act);

// cuDNN's blending factors, on the host: out = one * result + keep_none * out, where out is not read.
inline constexpr float one = 1, keep_none = 0;

}  // namespace norma::bench
