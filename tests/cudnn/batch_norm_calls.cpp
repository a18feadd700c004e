#include "tests/cudnn/batch_norm_calls.h"

#include <algorithm>

namespace norma::test {
namespace {

constexpr cudnnBatchNormOps_t ops = CUDNN_BATCHNORM_OPS_BN;

}  // namespace

LegacyBatchNorm::LegacyBatchNorm(const kernels::Dims& shape, Layout layout, cudnnBatchNormMode_t mode)
    : mode_(mode), tensor_(tensor_descriptor(shape, layout)), channels_(channels_descriptor(tensor_, mode)) {
  if (mode_ != CUDNN_BATCHNORM_SPATIAL_PERSISTENT) return;
  std::size_t backward_bytes = 0;
  check(cudnnGetBatchNormalizationTrainingExReserveSpaceSize(cudnn(), mode_, ops, nullptr, tensor_, &reserve_bytes_),
        "cudnnGetBatchNormalizationTrainingExReserveSpaceSize");
  check(cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(cudnn(), mode_, ops, tensor_, nullptr, tensor_, channels_, nullptr,
                                                                 &workspace_bytes_),
        "cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize");
  check(cudnnGetBatchNormalizationBackwardExWorkspaceSize(cudnn(), mode_, ops, tensor_, nullptr, tensor_, nullptr, tensor_, channels_,
                                                          nullptr, &backward_bytes),
        "cudnnGetBatchNormalizationBackwardExWorkspaceSize");
  workspace_bytes_ = std::max(workspace_bytes_, backward_bytes);
}

void LegacyBatchNorm::training(const BatchNormArrays& a, double factor, double eps) const {
  if (mode_ == CUDNN_BATCHNORM_SPATIAL_PERSISTENT)
    check(cudnnBatchNormalizationForwardTrainingEx(cudnn(), mode_, ops, &one, &keep_none, tensor_, a.x, nullptr, nullptr, tensor_, a.y,
                                                   channels_, a.gamma, a.beta, factor, a.running_mean, a.running_var, eps, a.mean, a.rstd,
                                                   nullptr, a.workspace, workspace_bytes_, a.reserve, reserve_bytes_),
          "cudnnBatchNormalizationForwardTrainingEx");
  else
    check(cudnnBatchNormalizationForwardTraining(cudnn(), mode_, &one, &keep_none, tensor_, a.x, tensor_, a.y, channels_, a.gamma, a.beta,
                                                 factor, a.running_mean, a.running_var, eps, a.mean, a.rstd),
          "cudnnBatchNormalizationForwardTraining");
}

void LegacyBatchNorm::backward(const BatchNormArrays& a, double eps) const {
  if (mode_ == CUDNN_BATCHNORM_SPATIAL_PERSISTENT)
    check(cudnnBatchNormalizationBackwardEx(cudnn(), mode_, ops, &one, &keep_none, &one, &keep_none, tensor_, a.x, nullptr, nullptr,
                                            tensor_, a.dy, nullptr, nullptr, tensor_, a.dx, channels_, a.gamma, a.beta, a.dgamma, a.dbeta,
                                            eps, a.mean, a.rstd, nullptr, a.workspace, workspace_bytes_, a.reserve, reserve_bytes_),
          "cudnnBatchNormalizationBackwardEx");
  else
    check(cudnnBatchNormalizationBackward(cudnn(), mode_, &one, &keep_none, &one, &keep_none, tensor_, a.x, tensor_, a.dy, tensor_, a.dx,
                                          channels_, a.gamma, a.dgamma, a.dbeta, eps, a.mean, a.rstd),
          "cudnnBatchNormalizationBackward");
}

GraphOperation::Slot add_tensor(GraphOperation& op, cudnnBackendAttributeName_t role, const kernels::Dims& d, Layout layout, void* data) {
  return op.tensor(role, {d.n, d.c, d.h, d.w},
                   layout == Layout::nhwc ? TensorExtents{d.features(), 1, d.w * d.c, d.c} : TensorExtents{d.features(), d.plane(), d.w, 1},
                   data);
}

GraphOperation::Slot add_channels(GraphOperation& op, cudnnBackendAttributeName_t role, std::int64_t c, void* data) {
  return op.tensor(role, {1, c, 1, 1}, {c, 1, c, c}, data);
}

GraphTraining::GraphTraining(const kernels::Dims& shape, Layout layout, const BatchNormArrays& a, float weight, float eps) {
  operation.set(CUDNN_ATTR_OPERATION_NORM_FWD_MODE, CUDNN_TYPE_NORM_MODE, CUDNN_BATCH_NORM);
  operation.set(CUDNN_ATTR_OPERATION_NORM_FWD_PHASE, CUDNN_TYPE_NORM_FWD_PHASE, CUDNN_NORM_FWD_TRAINING);
  const auto channels = [&](cudnnBackendAttributeName_t role, void* data) { return add_channels(operation, role, shape.c, data); };
  x = add_tensor(operation, CUDNN_ATTR_OPERATION_NORM_FWD_XDESC, shape, layout, a.x);
  channels(CUDNN_ATTR_OPERATION_NORM_FWD_MEAN_DESC, a.mean);
  channels(CUDNN_ATTR_OPERATION_NORM_FWD_INV_VARIANCE_DESC, a.rstd);
  channels(CUDNN_ATTR_OPERATION_NORM_FWD_SCALE_DESC, a.gamma);
  channels(CUDNN_ATTR_OPERATION_NORM_FWD_BIAS_DESC, a.beta);
  running_mean = channels(CUDNN_ATTR_OPERATION_NORM_FWD_INPUT_RUNNING_MEAN_DESC, a.running_mean);
  running_var = channels(CUDNN_ATTR_OPERATION_NORM_FWD_INPUT_RUNNING_VAR_DESC, a.running_var);
  next_running_mean = channels(CUDNN_ATTR_OPERATION_NORM_FWD_OUTPUT_RUNNING_MEAN_DESC, a.next_running_mean);
  next_running_var = channels(CUDNN_ATTR_OPERATION_NORM_FWD_OUTPUT_RUNNING_VAR_DESC, a.next_running_var);
  factor = operation.scalar(CUDNN_ATTR_OPERATION_NORM_FWD_EXP_AVG_FACTOR_DESC, weight);
  operation.scalar(CUDNN_ATTR_OPERATION_NORM_FWD_EPSILON_DESC, eps);
  y = add_tensor(operation, CUDNN_ATTR_OPERATION_NORM_FWD_YDESC, shape, layout, a.y);
}

GraphBackward::GraphBackward(const kernels::Dims& shape, Layout layout, const BatchNormArrays& a) {
  operation.set(CUDNN_ATTR_OPERATION_NORM_BWD_MODE, CUDNN_TYPE_NORM_MODE, CUDNN_BATCH_NORM);
  const auto channels = [&](cudnnBackendAttributeName_t role, void* data) { add_channels(operation, role, shape.c, data); };
  x = add_tensor(operation, CUDNN_ATTR_OPERATION_NORM_BWD_XDESC, shape, layout, a.x);
  channels(CUDNN_ATTR_OPERATION_NORM_BWD_MEAN_DESC, a.mean);
  channels(CUDNN_ATTR_OPERATION_NORM_BWD_INV_VARIANCE_DESC, a.rstd);
  dy = add_tensor(operation, CUDNN_ATTR_OPERATION_NORM_BWD_DYDESC, shape, layout, a.dy);
  channels(CUDNN_ATTR_OPERATION_NORM_BWD_SCALE_DESC, a.gamma);
  channels(CUDNN_ATTR_OPERATION_NORM_BWD_DSCALE_DESC, a.dgamma);
  channels(CUDNN_ATTR_OPERATION_NORM_BWD_DBIAS_DESC, a.dbeta);
  dx = add_tensor(operation, CUDNN_ATTR_OPERATION_NORM_BWD_DXDESC, shape, layout, a.dx);
}

}  // namespace norma::test
