// cuDNN's batch norms, training and backward, on arrays that lie on the GPU: for the tests, and for their speed.
#pragma once
#include "tests/cudnn/cudnn_graph.h"
#include "tests/cudnn/cudnn_handle.h"

namespace norma::test {

// Addresses of all arrays.
struct BatchNormArrays {
  void *x = nullptr, *y = nullptr, *dy = nullptr, *dx = nullptr;             // (N,C,H,W), in the layout
  void *gamma = nullptr, *beta = nullptr, *mean = nullptr, *rstd = nullptr;  // (C)
  void *running_mean = nullptr, *running_var = nullptr, *next_running_mean = nullptr, *next_running_var = nullptr;  // (C)
  void *dgamma = nullptr, *dbeta = nullptr;                                                                         // (C)
  void *workspace = nullptr, *reserve = nullptr;                                                                    // (bytes)
};

// The legacy entry points: plain calls for CUDNN_BATCHNORM_SPATIAL, the Ex ones for CUDNN_BATCHNORM_SPATIAL_PERSISTENT. Running statistics
// are updated in place. Every call throws Unsupported where cuDNN does not offer it.
class LegacyBatchNorm {
 public:
  LegacyBatchNorm(const kernels::Dims& shape, Layout layout, cudnnBatchNormMode_t mode);

  const TensorDescriptor& tensor() const { return tensor_; }
  const TensorDescriptor& channels() const { return channels_; }
  std::size_t workspace_bytes() const { return workspace_bytes_; }  // of either pass
  std::size_t reserve_bytes() const { return reserve_bytes_; }      // from a training pass to its backward pass

  void training(const BatchNormArrays& a, double factor, double eps) const;
  void backward(const BatchNormArrays& a, double eps) const;

 private:
  cudnnBatchNormMode_t mode_;
  TensorDescriptor tensor_, channels_;
  std::size_t workspace_bytes_ = 0, reserve_bytes_ = 0;
};

// The graph API: one norm operation per graph, and the tensors that may be moved.
struct GraphTraining {
  GraphTraining(const kernels::Dims& shape, Layout layout, const BatchNormArrays& a, float factor, float eps);

  GraphOperation operation{CUDNN_BACKEND_OPERATION_NORM_FORWARD_DESCRIPTOR};
  GraphOperation::Slot x, y, running_mean, running_var, next_running_mean, next_running_var, factor;
};
struct GraphBackward {
  GraphBackward(const kernels::Dims& shape, Layout layout, const BatchNormArrays& a);

  GraphOperation operation{CUDNN_BACKEND_OPERATION_NORM_BACKWARD_DESCRIPTOR};
  GraphOperation::Slot x, dy, dx;
};

// The roles of an operation's tensors.
GraphOperation::Slot add_tensor(GraphOperation& op, cudnnBackendAttributeName_t role, const kernels::Dims& shape, Layout layout,
                                void* data);
GraphOperation::Slot add_channels(GraphOperation& op, cudnnBackendAttributeName_t role, std::int64_t c, void* data);

}  // namespace norma::test
