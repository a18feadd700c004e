// Batch norm by cuDNN's graph API: one norm operation per graph.
#include "tests/cudnn/batch_norm.h"
#include "tests/cudnn/cudnn_graph.h"
#include "tests/cudnn/device.h"

namespace norma::test {
namespace {

using kernels::ValueId;

class Graph {
 public:
  Graph(const BatchNormInputs& in, Layout layout) : in_(in), layout_(layout) {
    x_ = v_.in("x", stored(layout_, shape(), in_.x));
    gamma_ = v_.in("gamma", in_.gamma);
    beta_ = v_.in("beta", in_.beta);
  }

  void training(BatchNormOutputs& out) {
    const ValueId y = v_.out("y", shape().count()), mean = v_.out("saved mean", shape().c), rstd = v_.out("saved rstd", shape().c);
    const ValueId none = v_.in("running mean", std::vector<float>(in_.gamma.size(), 0));
    const ValueId one_each = v_.in("running var", std::vector<float>(in_.gamma.size(), 1));
    const std::array<ValueId, 3> next_mean{next("mean"), next("mean"), next("mean")}, next_var{next("var"), next("var"), next("var")};

    GraphOperation op(CUDNN_BACKEND_OPERATION_NORM_FORWARD_DESCRIPTOR);
    op.set(CUDNN_ATTR_OPERATION_NORM_FWD_MODE, CUDNN_TYPE_NORM_MODE, CUDNN_BATCH_NORM);
    op.set(CUDNN_ATTR_OPERATION_NORM_FWD_PHASE, CUDNN_TYPE_NORM_FWD_PHASE, CUDNN_NORM_FWD_TRAINING);
    tensor(op, CUDNN_ATTR_OPERATION_NORM_FWD_XDESC, x_);
    channels(op, CUDNN_ATTR_OPERATION_NORM_FWD_MEAN_DESC, mean);
    channels(op, CUDNN_ATTR_OPERATION_NORM_FWD_INV_VARIANCE_DESC, rstd);
    channels(op, CUDNN_ATTR_OPERATION_NORM_FWD_SCALE_DESC, gamma_);
    channels(op, CUDNN_ATTR_OPERATION_NORM_FWD_BIAS_DESC, beta_);
    const auto mean_read = channels(op, CUDNN_ATTR_OPERATION_NORM_FWD_INPUT_RUNNING_MEAN_DESC, none);
    const auto var_read = channels(op, CUDNN_ATTR_OPERATION_NORM_FWD_INPUT_RUNNING_VAR_DESC, one_each);
    const auto mean_written = channels(op, CUDNN_ATTR_OPERATION_NORM_FWD_OUTPUT_RUNNING_MEAN_DESC, next_mean[0]);
    const auto var_written = channels(op, CUDNN_ATTR_OPERATION_NORM_FWD_OUTPUT_RUNNING_VAR_DESC, next_var[0]);
    const auto factor = op.scalar(CUDNN_ATTR_OPERATION_NORM_FWD_EXP_AVG_FACTOR_DESC, momentum);
    op.scalar(CUDNN_ATTR_OPERATION_NORM_FWD_EPSILON_DESC, static_cast<float>(in_.of.eps));
    tensor(op, CUDNN_ATTR_OPERATION_NORM_FWD_YDESC, y);

    op.run();
    for (std::size_t i = 1; i < 3; ++i) {
      op.move(mean_read, v_.address(next_mean[i - 1]));
      op.move(var_read, v_.address(next_var[i - 1]));
      op.move(mean_written, v_.address(next_mean[i]));
      op.move(var_written, v_.address(next_var[i]));
      if (i == 2) op.change(factor, 1);  // the variance itself, unbiased
      op.run();
    }
    for (std::size_t i = 0; i < 2; ++i) {
      out.running_mean[i] = v_.read(next_mean[i]);
      out.running_var[i] = v_.read(next_var[i]);
    }
    out.var = v_.read(next_var[2]);
    const float m = static_cast<float>(in_.of.channel_elements());
    for (float& var : out.var) var *= (m - 1) / m;
    out.y = logical(layout_, shape(), v_.read(y));
    out.mean = v_.read(mean);
    out.rstd = v_.read(rstd);
  }

  void inference(BatchNormOutputs& out) {
    const ValueId y = v_.out("inference y", shape().count());
    const ValueId mean = v_.in("given mean", in_.given_mean), rstd = v_.in("given rstd", in_.given_rstd);
    GraphOperation op(CUDNN_BACKEND_OPERATION_NORM_FORWARD_DESCRIPTOR);
    op.set(CUDNN_ATTR_OPERATION_NORM_FWD_MODE, CUDNN_TYPE_NORM_MODE, CUDNN_BATCH_NORM);
    op.set(CUDNN_ATTR_OPERATION_NORM_FWD_PHASE, CUDNN_TYPE_NORM_FWD_PHASE, CUDNN_NORM_FWD_INFERENCE);
    tensor(op, CUDNN_ATTR_OPERATION_NORM_FWD_XDESC, x_);
    channels(op, CUDNN_ATTR_OPERATION_NORM_FWD_MEAN_DESC, mean);
    channels(op, CUDNN_ATTR_OPERATION_NORM_FWD_INV_VARIANCE_DESC, rstd);
    channels(op, CUDNN_ATTR_OPERATION_NORM_FWD_SCALE_DESC, gamma_);
    channels(op, CUDNN_ATTR_OPERATION_NORM_FWD_BIAS_DESC, beta_);
    tensor(op, CUDNN_ATTR_OPERATION_NORM_FWD_YDESC, y);
    op.run();
    out.y_inference = logical(layout_, shape(), v_.read(y));
  }

  void backward(BatchNormOutputs& out) {
    const ValueId mean = v_.in("mean of backward", in_.saved_mean), rstd = v_.in("rstd of backward", in_.saved_rstd);
    const ValueId dy = v_.in("dy", stored(layout_, shape(), in_.dy, 0.0f)), dx = v_.out("dx", shape().count());
    const ValueId dgamma = v_.out("dgamma", shape().c), dbeta = v_.out("dbeta", shape().c);
    GraphOperation op(CUDNN_BACKEND_OPERATION_NORM_BACKWARD_DESCRIPTOR);
    op.set(CUDNN_ATTR_OPERATION_NORM_BWD_MODE, CUDNN_TYPE_NORM_MODE, CUDNN_BATCH_NORM);
    tensor(op, CUDNN_ATTR_OPERATION_NORM_BWD_XDESC, x_);
    channels(op, CUDNN_ATTR_OPERATION_NORM_BWD_MEAN_DESC, mean);
    channels(op, CUDNN_ATTR_OPERATION_NORM_BWD_INV_VARIANCE_DESC, rstd);
    tensor(op, CUDNN_ATTR_OPERATION_NORM_BWD_DYDESC, dy);
    channels(op, CUDNN_ATTR_OPERATION_NORM_BWD_SCALE_DESC, gamma_);
    channels(op, CUDNN_ATTR_OPERATION_NORM_BWD_DSCALE_DESC, dgamma);
    channels(op, CUDNN_ATTR_OPERATION_NORM_BWD_DBIAS_DESC, dbeta);
    tensor(op, CUDNN_ATTR_OPERATION_NORM_BWD_DXDESC, dx);
    op.run();
    out.dx = logical(layout_, shape(), v_.read(dx));
    out.dgamma = v_.read(dgamma);
    out.dbeta = v_.read(dbeta);
  }

 private:
  const kernels::Dims& shape() const { return in_.of.shape; }

  ValueId next(const char* what) { return v_.out(std::string("next running ") + what, shape().c); }

  void tensor(GraphOperation& op, cudnnBackendAttributeName_t role, ValueId id) const {
    const kernels::Dims& d = shape();
    op.tensor(role, {d.n, d.c, d.h, d.w},
              layout_ == Layout::nhwc ? TensorExtents{d.features(), 1, d.w * d.c, d.c} : TensorExtents{d.features(), d.plane(), d.w, 1},
              v_.address(id));
  }
  GraphOperation::Slot channels(GraphOperation& op, cudnnBackendAttributeName_t role, ValueId id) const {
    const std::int64_t c = shape().c;
    return op.tensor(role, {1, c, 1, 1}, {c, 1, c, c}, v_.address(id));
  }

  const BatchNormInputs& in_;
  Layout layout_;
  DeviceValues v_;
  ValueId x_, gamma_, beta_;
};

}  // namespace

BatchNormOutputs graph_batch_norm(const BatchNormInputs& in, Layout layout) {
  BatchNormOutputs out;
  Graph graph(in, layout);
  const auto attempt = [&](const char* operation, void (Graph::*run)(BatchNormOutputs&)) {
    try {
      (graph.*run)(out);
      count_graph(operation, true);
    } catch (const Unsupported& e) {
      count_graph(operation, false);
      note_unsupported(in.of.name, std::string("graph ") + operation + ", " + name_of(layout), e.what());
    }
  };
  attempt("training", &Graph::training);
  attempt("inference", &Graph::inference);
  attempt("backward", &Graph::backward);
  return out;
}

}  // namespace norma::test
