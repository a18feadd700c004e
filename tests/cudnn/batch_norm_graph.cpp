// Batch norm by cuDNN's graph API: one norm operation per graph.
#include "tests/cudnn/batch_norm.h"
#include "tests/cudnn/batch_norm_calls.h"
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

    GraphTraining graph(shape(), layout_,
                        {.x = at(x_),
                         .y = at(y),
                         .gamma = at(gamma_),
                         .beta = at(beta_),
                         .mean = at(mean),
                         .rstd = at(rstd),
                         .running_mean = at(none),
                         .running_var = at(one_each),
                         .next_running_mean = at(next_mean[0]),
                         .next_running_var = at(next_var[0])},
                        momentum, static_cast<float>(in_.of.eps));
    GraphOperation& op = graph.operation;
    op.run();
    for (std::size_t i = 1; i < 3; ++i) {
      op.move(graph.running_mean, at(next_mean[i - 1]));
      op.move(graph.running_var, at(next_var[i - 1]));
      op.move(graph.next_running_mean, at(next_mean[i]));
      op.move(graph.next_running_var, at(next_var[i]));
      if (i == 2) op.change(graph.factor, 1);  // the variance itself, unbiased
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
    GraphBackward graph(shape(), layout_,
                        {.x = at(x_),
                         .dy = at(dy),
                         .dx = at(dx),
                         .gamma = at(gamma_),
                         .mean = at(mean),
                         .rstd = at(rstd),
                         .dgamma = at(dgamma),
                         .dbeta = at(dbeta)});
    graph.operation.run();
    out.dx = logical(layout_, shape(), v_.read(dx));
    out.dgamma = v_.read(dgamma);
    out.dbeta = v_.read(dbeta);
  }

 private:
  const kernels::Dims& shape() const { return in_.of.shape; }

  ValueId next(const char* what) { return v_.out(std::string("next running ") + what, shape().c); }

  void tensor(GraphOperation& op, cudnnBackendAttributeName_t role, ValueId id) const { add_tensor(op, role, shape(), layout_, at(id)); }
  void channels(GraphOperation& op, cudnnBackendAttributeName_t role, ValueId id) const { add_channels(op, role, shape().c, at(id)); }
  std::byte* at(ValueId id) const { return v_.address(id); }

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
