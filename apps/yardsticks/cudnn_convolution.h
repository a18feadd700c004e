// One convolution by cuDNN, on memory of the GPU in NCHW; in float without tensor cores (CUDNN_FMA_MATH: no TF32).
#pragma once
#include <string>

#include "apps/yardsticks/cudnn_handle.h"

namespace norma::bench {

class CudnnConvolution {
 public:
  explicit CudnnConvolution(const kernels::ConvShape& s);

  // Each runs the first algorithm that cuDNN can run, best first by its heuristics. Returns the algorithm's name, "algo1". Throws
  // Unsupported if none runs. b may be null.
  std::string forward(const void* x, const void* w, const void* b, void* y) const;
  std::string backward_input(const void* dy, const void* w, void* dx) const;
  std::string backward_weight(const void* dy, const void* x, void* dw) const;
  void backward_bias(const void* dy, void* db) const;

 private:
  TensorDescriptor x_, y_, bias_;
  FilterDescriptor w_;
  ConvolutionDescriptor convolution_;
};

}  // namespace norma::bench
