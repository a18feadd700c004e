// Batch norm by cuDNN's legacy entry points, deprecated since cuDNN 9 and what most programs still call.
#include "tests/cudnn/batch_norm.h"
#include "tests/cudnn/batch_norm_calls.h"
#include "tests/cudnn/device.h"

namespace norma::test {
namespace {

using kernels::ValueId;

class Legacy {
 public:
  Legacy(const BatchNormInputs& in, Layout layout, cudnnBatchNormMode_t mode)
      : in_(in), layout_(layout), mode_(mode), calls_(in.of.shape, layout, mode), workspace_("workspace", calls_.workspace_bytes()) {
    x_ = v_.in("x", stored(layout_, shape(), in_.x));
    gamma_ = v_.in("gamma", in_.gamma);
    beta_ = v_.in("beta", in_.beta);
    if (calls_.reserve_bytes() != 0) reserve_ = v_.out("reserve", static_cast<std::int64_t>(calls_.reserve_bytes()), 1);
  }

  void training(BatchNormOutputs& out) {
    const ValueId y = v_.out("y", elements()), mean = v_.out("saved mean", channels()), rstd = v_.out("saved rstd", channels());
    Running running = fresh_running();
    const auto train = [&](double factor) {
      BatchNormArrays a = arrays();
      a.y = at(y), a.mean = at(mean), a.rstd = at(rstd), a.running_mean = at(running.mean), a.running_var = at(running.var);
      calls_.training(a, factor, in_.of.eps);
      check(cudaDeviceSynchronize(), "cuDNN's batch norm, training");
    };
    for (std::size_t i = 0; i < 2; ++i) {
      train(static_cast<double>(momentum));
      out.running_mean[i] = v_.read(running.mean);
      out.running_var[i] = v_.read(running.var);
    }
    out.y = logical(layout_, shape(), v_.read(y));
    out.mean = v_.read(mean);
    out.rstd = v_.read(rstd);
    running = fresh_running();
    train(1);  // the variance itself, unbiased
    out.var = v_.read(running.var);
    const float m = static_cast<float>(in_.of.channel_elements());
    for (float& var : out.var) var *= (m - 1) / m;
  }

  void inference(BatchNormOutputs& out) {
    const ValueId y = v_.out("inference y", elements());
    const ValueId mean = v_.in("given mean", in_.given_mean), var = v_.in("given var", in_.given_var);
    check(cudnnBatchNormalizationForwardInference(cudnn(), mode_, &one, &keep_none, calls_.tensor(), at(x_), calls_.tensor(), at(y),
                                                  calls_.channels(), at(gamma_), at(beta_), at(mean), at(var), in_.of.eps),
          "cudnnBatchNormalizationForwardInference");
    out.y_inference = logical(layout_, shape(), v_.read(y));
  }

  // After training(), whose reserve the Ex call reads.
  void backward(BatchNormOutputs& out) {
    const ValueId mean = v_.in("mean of backward", in_.saved_mean), rstd = v_.in("rstd of backward", in_.saved_rstd);
    const ValueId dy = v_.in("dy", stored(layout_, shape(), in_.dy, 0.0f)), dx = v_.out("dx", elements());
    const ValueId dgamma = v_.out("dgamma", channels()), dbeta = v_.out("dbeta", channels());
    BatchNormArrays a = arrays();
    a.mean = at(mean), a.rstd = at(rstd), a.dy = at(dy), a.dx = at(dx), a.dgamma = at(dgamma), a.dbeta = at(dbeta);
    calls_.backward(a, in_.of.eps);
    check(cudaDeviceSynchronize(), "cuDNN's batch norm, backward");
    out.dx = logical(layout_, shape(), v_.read(dx));
    out.dgamma = v_.read(dgamma);
    out.dbeta = v_.read(dbeta);
  }

 private:
  struct Running {
    ValueId mean, var;
  };

  const kernels::Dims& shape() const { return in_.of.shape; }
  std::int64_t elements() const { return shape().count(); }
  std::int64_t channels() const { return shape().c; }
  std::byte* at(ValueId id) const { return id ? v_.address(id) : nullptr; }

  BatchNormArrays arrays() const {
    BatchNormArrays a;
    a.x = at(x_), a.gamma = at(gamma_), a.beta = at(beta_), a.reserve = at(reserve_);
    if (workspace_.bytes() != 0) a.workspace = workspace_.data();
    return a;
  }
  Running fresh_running() {
    return {v_.in("running mean", std::vector<float>(in_.gamma.size(), 0)), v_.in("running var", std::vector<float>(in_.gamma.size(), 1))};
  }

  const BatchNormInputs& in_;
  Layout layout_;
  cudnnBatchNormMode_t mode_;
  LegacyBatchNorm calls_;
  DeviceBuffer workspace_;
  DeviceValues v_;
  ValueId x_, gamma_, beta_, reserve_;
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
