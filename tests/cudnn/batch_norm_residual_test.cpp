// Batch norm with a residual block's addition and relu, forward and backward, compared with cuDNN's fused operation.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/cudnn/batch_norm.h"
#include "tests/cudnn/call_values.h"
#include "tests/cudnn/cudnn_handle.h"
#include "tests/support/cases.h"

namespace norma::test {

using namespace kernels;

namespace {

// Outputs in NCHW order; empty where an operation is not offered.
struct ResidualOutputs {
  std::vector<float> y, dx, dr, dgamma, dbeta;
};

// The added tensor. It keeps every sum away from 0, where rounding would decide whether relu lets it pass.
std::vector<float> residual_of(const BatchNormInputs& in) {
  Random random(20261124);
  std::vector<float> r(in.x.size());
  for (std::size_t i = 0; i < r.size(); ++i) {
    const std::size_t c = i / static_cast<std::size_t>(in.of.shape.plane()) % in.gamma.size();
    const double z = static_cast<double>(in.gamma[c]) * (static_cast<double>(in.x[i]) - static_cast<double>(in.saved_mean[c])) *
                         static_cast<double>(in.saved_rstd[c]) +
                     static_cast<double>(in.beta[c]);
    const double drawn = random.normal(), sum = z + drawn;
    r[i] = static_cast<float>(std::abs(sum) < 0.01 ? drawn + std::copysign(0.1, sum) : drawn);
  }
  return r;
}

ResidualOutputs cudnn_residual(const BatchNormInputs& in, const std::vector<float>& r) {
  constexpr cudnnBatchNormMode_t mode = CUDNN_BATCHNORM_SPATIAL_PERSISTENT;
  constexpr cudnnBatchNormOps_t fused = CUDNN_BATCHNORM_OPS_BN_ADD_ACTIVATION;
  constexpr Layout layout = Layout::nhwc;
  const Dims& shape = in.of.shape;
  const TensorDescriptor tensor = tensor_descriptor(shape, layout), channels = channels_descriptor(tensor, mode);
  const auto relu = activation_descriptor(Activation::relu);
  std::size_t reserve_bytes = 0, forward_bytes = 0, backward_bytes = 0;
  check(cudnnGetBatchNormalizationTrainingExReserveSpaceSize(cudnn(), mode, fused, relu, tensor, &reserve_bytes),
        "cudnnGetBatchNormalizationTrainingExReserveSpaceSize");
  check(cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(cudnn(), mode, fused, tensor, tensor, tensor, channels, relu,
                                                                 &forward_bytes),
        "cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize");
  check(cudnnGetBatchNormalizationBackwardExWorkspaceSize(cudnn(), mode, fused, tensor, tensor, tensor, tensor, tensor, channels, relu,
                                                          &backward_bytes),
        "cudnnGetBatchNormalizationBackwardExWorkspaceSize");
  const DeviceBuffer reserve("reserve", reserve_bytes), workspace("workspace", std::max(forward_bytes, backward_bytes));

  DeviceValues v;
  const auto at = [&](ValueId id) { return v.address(id); };
  const ValueId x = v.in("x", stored(layout, shape, in.x)), z = v.in("z", stored(layout, shape, r));
  const ValueId dy = v.in("dy", stored(layout, shape, in.dy, 0.0f)), gamma = v.in("gamma", in.gamma), beta = v.in("beta", in.beta);
  const ValueId y = v.out("y", shape.count()), mean = v.out("mean", shape.c), rstd = v.out("rstd", shape.c);
  const ValueId dx = v.out("dx", shape.count()), dz = v.out("dz", shape.count());
  const ValueId dgamma = v.out("dgamma", shape.c), dbeta = v.out("dbeta", shape.c);
  check(cudnnBatchNormalizationForwardTrainingEx(cudnn(), mode, fused, &one, &keep_none, tensor, at(x), tensor, at(z), tensor, at(y),
                                                 channels, at(gamma), at(beta), 1, nullptr, nullptr, in.of.eps, at(mean), at(rstd), relu,
                                                 workspace.data(), forward_bytes, reserve.data(), reserve_bytes),
        "cudnnBatchNormalizationForwardTrainingEx");
  check(cudnnBatchNormalizationBackwardEx(cudnn(), mode, fused, &one, &keep_none, &one, &keep_none, tensor, at(x), tensor, at(y), tensor,
                                          at(dy), tensor, at(dz), tensor, at(dx), channels, at(gamma), at(beta), at(dgamma), at(dbeta),
                                          in.of.eps, at(mean), at(rstd), relu, workspace.data(), backward_bytes, reserve.data(),
                                          reserve_bytes),
        "cudnnBatchNormalizationBackwardEx");
  check(cudaDeviceSynchronize(), "cudnnBatchNormalizationBackwardEx");
  const auto nchw = [&](ValueId id) { return logical(layout, shape, v.read(id)); };
  return {nchw(y), nchw(dx), nchw(dz), v.read(dgamma), v.read(dbeta)};
}

// Compares norma's Calls as lower emits them, each output with the double reference and cuDNN.
void compare_residual(const BatchNormInputs& in, const std::vector<float>& r, Layout layout, const ResidualOutputs& cudnn) {
  const Dims &shape = in.of.shape, d = dims_in(layout, shape), channels = flat(shape.c);
  // CallValues takes the values in the order of d: of channels last as they lie in memory.
  const auto ordered = [&](const std::vector<float>& values) { return layout == Layout::nhwc ? stored(layout, shape, values) : values; };
  CallValues v;
  BatchNormStatistics statistics{.x = v.in("x", d, ordered(in.x)), .dims = d, .eps = in.of.eps};
  statistics.mean = v.out("mean", channels), statistics.var = v.out("var", channels), statistics.rstd = v.out("rstd", channels);
  statistics.partial = v.scratch("partial", statistics.partial_bytes());
  BatchNormApply apply{.x = statistics.x, .mean = statistics.mean, .rstd = statistics.rstd, .dims = d, .act = Activation::relu};
  apply.y = v.out("y", d);
  apply.gamma = v.in("gamma", channels, in.gamma), apply.beta = v.in("beta", channels, in.beta);
  apply.r = v.in("r", d, ordered(r));
  BatchNormBackwardReduce reduce{.y = apply.y, .x = apply.x, .mean = apply.mean, .rstd = apply.rstd, .dims = d, .act = apply.act};
  reduce.dgamma = v.out("dgamma", channels), reduce.dbeta = v.out("dbeta", channels), reduce.dr = v.out("dr", d);
  reduce.dy = v.in_gradient("dy", d, ordered(in.dy));
  reduce.partial = v.scratch("backward partial", reduce.partial_bytes());
  BatchNormBackwardApply backward{.dy = reduce.dr, .x = apply.x, .mean = apply.mean, .rstd = apply.rstd, .gamma = apply.gamma, .dims = d};
  backward.dgamma = reduce.dgamma, backward.dbeta = reduce.dbeta, backward.count = in.of.channel_elements();
  backward.dx = v.out("dx", d);
  v.run(statistics);
  v.run(apply);
  v.run(reduce);
  v.run(backward);

  const auto check_output = [&](const char* name, ValueId id, bool of_channels, double scale, double floor,
                                const std::vector<float>& theirs) {
    const auto nchw = [&]<class T>(std::vector<T> values) {
      return layout == Layout::nhwc && !of_channels ? logical(layout, shape, values) : values;
    };
    Quantity q{.name = name, .expected = nchw(v.expected(id)), .floor = floor};
    q.scale = std::max(largest(q.expected), scale);
    const Yardstick yardstick{"persistent", theirs};
    compare("bn + add + relu " + in.of.name, name_of(layout), q, nchw(v.norma(id)), {&yardstick, 1});
  };
  const double of_sums = std::sqrt(static_cast<double>(in.of.channel_elements()));  // their terms are of order 1
  check_output("y", apply.y, false, 0, 8 * ulp, cudnn.y);
  check_output("dr", reduce.dr, false, 0, 0, cudnn.dr);
  check_output("dx", backward.dx, false, 0, 16 * ulp, cudnn.dx);
  check_output("dgamma", reduce.dgamma, true, of_sums, 16 * ulp, cudnn.dgamma);
  check_output("dbeta", reduce.dbeta, true, of_sums, 16 * ulp, cudnn.dbeta);
}

class ResidualBatchNorm : public ::testing::TestWithParam<BatchNormCase> {
 protected:
  void SetUp() override {
    if (!unavailable().empty()) GTEST_SKIP() << unavailable();
  }
};

TEST_P(ResidualBatchNorm, IsAsCloseToDoubleAsCudnn) {
  const BatchNormInputs in = make_inputs(GetParam());
  const std::vector<float> r = residual_of(in);
  ResidualOutputs cudnn;
  try {
    cudnn = cudnn_residual(in, r);
  } catch (const Unsupported& e) {
    note_unsupported(in.of.name, "persistent add and relu, nhwc", e.what());
  }
  for (Layout layout : {Layout::nchw, Layout::nhwc, Layout::lanes}) compare_residual(in, r, layout, cudnn);
}

// The last two: channels in no multiple of 4, rows too short to be summed along.
INSTANTIATE_TEST_SUITE_P(Shapes, ResidualBatchNorm,
                         ::testing::Values(BatchNormCase{"resnet_56", {8, 64, 56, 56}}, BatchNormCase{"resnet_7", {32, 512, 7, 7}},
                                           BatchNormCase{"lenet2", {256, 16, 8, 8}}, BatchNormCase{"n17", {17, 17, 2, 3}},
                                           BatchNormCase{"n81_1d", {81, 40}}),
                         [](const auto& p) { return p.param.name; });

}  // namespace
}  // namespace norma::test
