// Batch norm by cuDNN's legacy entry points, deprecated since cuDNN 9 and what most programs still call.
#include "tests/cudnn/batch_norm.h"
#include "tests/cudnn/cudnn_handle.h"
#include "tests/cudnn/device.h"

namespace norma::test {
namespace {

using kernels::ValueId;

constexpr cudnnBatchNormOps_t ops = CUDNN_BATCHNORM_OPS_BN;

class Legacy {
 public:
  Legacy(const BatchNormInputs& in, Layout layout, cudnnBatchNormMode_t mode)
      : in_(in),
        layout_(layout),
        mode_(mode),
        tensor_(tensor_descriptor(in.of.shape, layout)),
        channels_(channels_descriptor(tensor_, mode)) {
    x_ = v_.in("x", stored(layout_, shape(), in_.x));
    gamma_ = v_.in("gamma", in_.gamma);
    beta_ = v_.in("beta", in_.beta);
    if (persistent()) {
      std::size_t bytes = 0;
      check(cudnnGetBatchNormalizationTrainingExReserveSpaceSize(cudnn(), mode_, ops, nullptr, tensor_, &bytes),
            "cudnnGetBatchNormalizationTrainingExReserveSpaceSize");
      reserve_bytes_ = bytes;
      if (bytes != 0) reserve_ = v_.out("reserve", static_cast<std::int64_t>(bytes), 1);
    }
  }

  void training(BatchNormOutputs& out) {
    const ValueId y = v_.out("y", elements()), mean = v_.out("saved mean", channels()), rstd = v_.out("saved rstd", channels());
    Running running = fresh_running();
    for (std::size_t i = 0; i < 2; ++i) {
      train(y, mean, rstd, running, static_cast<double>(momentum));
      out.running_mean[i] = v_.read(running.mean);
      out.running_var[i] = v_.read(running.var);
    }
    out.y = logical(layout_, shape(), v_.read(y));
    out.mean = v_.read(mean);
    out.rstd = v_.read(rstd);
    running = fresh_running();
    train(y, mean, rstd, running, 1);  // the variance itself, unbiased
    out.var = v_.read(running.var);
    const float m = static_cast<float>(in_.of.channel_elements());
    for (float& var : out.var) var *= (m - 1) / m;
  }

  void inference(BatchNormOutputs& out) {
    const ValueId y = v_.out("inference y", elements());
    const ValueId mean = v_.in("given mean", in_.given_mean), var = v_.in("given var", in_.given_var);
    check(cudnnBatchNormalizationForwardInference(cudnn(), mode_, &one, &zero, tensor_, at(x_), tensor_, at(y), channels_, at(gamma_),
                                                  at(beta_), at(mean), at(var), in_.of.eps),
          "cudnnBatchNormalizationForwardInference");
    out.y_inference = logical(layout_, shape(), v_.read(y));
  }

  // After training(), whose reserve the Ex call reads.
  void backward(BatchNormOutputs& out) {
    const ValueId mean = v_.in("mean of backward", in_.saved_mean), rstd = v_.in("rstd of backward", in_.saved_rstd);
    const ValueId dy = v_.in("dy", stored(layout_, shape(), in_.dy, 0.0f)), dx = v_.out("dx", elements());
    const ValueId dgamma = v_.out("dgamma", channels()), dbeta = v_.out("dbeta", channels());
    if (persistent()) {
      std::size_t bytes = 0;
      check(cudnnGetBatchNormalizationBackwardExWorkspaceSize(cudnn(), mode_, ops, tensor_, nullptr, tensor_, nullptr, tensor_, channels_,
                                                              nullptr, &bytes),
            "cudnnGetBatchNormalizationBackwardExWorkspaceSize");
      const DeviceBuffer workspace("workspace", bytes);
      check(cudnnBatchNormalizationBackwardEx(cudnn(), mode_, ops, &one, &zero, &one, &zero, tensor_, at(x_), nullptr, nullptr, tensor_,
                                              at(dy), nullptr, nullptr, tensor_, at(dx), channels_, at(gamma_), at(beta_), at(dgamma),
                                              at(dbeta), in_.of.eps, at(mean), at(rstd), nullptr, bytes != 0 ? workspace.data() : nullptr,
                                              bytes, at(reserve_), reserve_bytes_),
            "cudnnBatchNormalizationBackwardEx");
      check(cudaDeviceSynchronize(), "cudnnBatchNormalizationBackwardEx");
    } else {
      check(cudnnBatchNormalizationBackward(cudnn(), mode_, &one, &zero, &one, &zero, tensor_, at(x_), tensor_, at(dy), tensor_, at(dx),
                                            channels_, at(gamma_), at(dgamma), at(dbeta), in_.of.eps, at(mean), at(rstd)),
            "cudnnBatchNormalizationBackward");
    }
    out.dx = logical(layout_, shape(), v_.read(dx));
    out.dgamma = v_.read(dgamma);
    out.dbeta = v_.read(dbeta);
  }

 private:
  struct Running {
    ValueId mean, var;
  };

  bool persistent() const { return mode_ == CUDNN_BATCHNORM_SPATIAL_PERSISTENT; }
  const kernels::Dims& shape() const { return in_.of.shape; }
  std::int64_t elements() const { return shape().count(); }
  std::int64_t channels() const { return shape().c; }
  std::byte* at(ValueId id) const { return id ? v_.address(id) : nullptr; }

  Running fresh_running() {
    return {v_.in("running mean", std::vector<float>(in_.gamma.size(), 0)), v_.in("running var", std::vector<float>(in_.gamma.size(), 1))};
  }

  void train(ValueId y, ValueId mean, ValueId rstd, const Running& running, double factor) {
    if (persistent()) {
      std::size_t bytes = 0;
      check(cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(cudnn(), mode_, ops, tensor_, nullptr, tensor_, channels_, nullptr,
                                                                     &bytes),
            "cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize");
      const DeviceBuffer workspace("workspace", bytes);
      check(cudnnBatchNormalizationForwardTrainingEx(cudnn(), mode_, ops, &one, &zero, tensor_, at(x_), nullptr, nullptr, tensor_, at(y),
                                                     channels_, at(gamma_), at(beta_), factor, at(running.mean), at(running.var),
                                                     in_.of.eps, at(mean), at(rstd), nullptr, bytes != 0 ? workspace.data() : nullptr,
                                                     bytes, at(reserve_), reserve_bytes_),
            "cudnnBatchNormalizationForwardTrainingEx");
      check(cudaDeviceSynchronize(), "cudnnBatchNormalizationForwardTrainingEx");
    } else {
      check(cudnnBatchNormalizationForwardTraining(cudnn(), mode_, &one, &zero, tensor_, at(x_), tensor_, at(y), channels_, at(gamma_),
                                                   at(beta_), factor, at(running.mean), at(running.var), in_.of.eps, at(mean), at(rstd)),
            "cudnnBatchNormalizationForwardTraining");
    }
  }

  const BatchNormInputs& in_;
  Layout layout_;
  cudnnBatchNormMode_t mode_;
  TensorDescriptor tensor_, channels_;
  DeviceValues v_;
  ValueId x_, gamma_, beta_, reserve_;
  std::size_t reserve_bytes_ = 0;
};

}  // namespace

BatchNormOutputs legacy_batch_norm(const BatchNormInputs& in, Layout layout, cudnnBatchNormMode_t mode) {
  BatchNormOutputs out;
  const std::string name = std::string(mode == CUDNN_BATCHNORM_SPATIAL ? "spatial, " : "persistent, ") + name_of(layout);
  try {
    Legacy legacy(in, layout, mode);
    legacy.training(out);
    legacy.backward(out);
    legacy.inference(out);
  } catch (const Unsupported& e) {
    note_unsupported(in.of.name, name, e.what());
  }
  return out;
}

}  // namespace norma::test
