// Batch norm by norma's Calls.
#include "tests/cudnn/batch_norm.h"
#include "tests/cudnn/device.h"

namespace norma::test {

using namespace kernels;

BatchNormOutputs norma_batch_norm(const BatchNormInputs& in, Layout layout) {
  const Dims &shape = in.of.shape, dims = dims_in(layout, shape);
  const std::int64_t channels = shape.c, m = in.of.channel_elements();
  BatchNormOutputs out;

  DeviceValues v;
  const ValueId x = v.in("x", stored(layout, shape, in.x));
  const ValueId gamma = v.in("gamma", in.gamma), beta = v.in("beta", in.beta);
  {
    BatchNormStatistics statistics{.x = x, .dims = dims, .eps = in.of.eps};
    statistics.mean = v.out("mean", channels);
    statistics.var = v.out("var", channels);
    statistics.rstd = v.out("rstd", channels);
    statistics.partial = v.out("partial", statistics.partial_bytes(), 1);
    v.run(statistics);
    const ValueId y = v.out("y", dims.stored());
    v.run(BatchNormApply{.y = y, .x = x, .mean = statistics.mean, .rstd = statistics.rstd, .gamma = gamma, .beta = beta, .dims = dims});
    BatchNormRunningUpdate::Layer layer{
        .mean = statistics.mean, .var = statistics.var, .channels = channels, .count = m, .momentum = static_cast<double>(momentum)};
    layer.running_mean = v.in("running_mean", std::vector<float>(in.gamma.size(), 0));
    layer.running_var = v.in("running_var", std::vector<float>(in.gamma.size(), 1));
    layer.tracked = v.in("tracked", std::vector<std::int64_t>{0});
    for (std::size_t i = 0; i < 2; ++i) {
      v.run(BatchNormRunningUpdate{.layers = {layer}, .used = 1});
      out.running_mean[i] = v.read(layer.running_mean);
      out.running_var[i] = v.read(layer.running_var);
    }
    out.y = logical(layout, shape, v.read(y));
    out.mean = v.read(statistics.mean);
    out.var = v.read(statistics.var);
    out.rstd = v.read(statistics.rstd);
  }
  {
    const ValueId mean = v.in("given mean", in.given_mean), var = v.in("given var", in.given_var);
    const ValueId rstd = v.out("inference rstd", channels), y = v.out("inference y", dims.stored());
    v.run(BatchNormRstd{.rstd = rstd, .var = var, .channels = channels, .eps = in.of.eps});
    v.run(BatchNormApply{.y = y, .x = x, .mean = mean, .rstd = rstd, .gamma = gamma, .beta = beta, .dims = dims});
    out.y_inference = logical(layout, shape, v.read(y));
  }
  const ValueId mean = v.in("saved mean", in.saved_mean), rstd = v.in("saved rstd", in.saved_rstd);
  BatchNormBackwardReduce reduce{.x = x, .mean = mean, .rstd = rstd, .dims = dims};
  reduce.dy = v.in("dy", stored(layout, shape, in.dy, 0.0f));
  reduce.dgamma = v.out("dgamma", channels);
  reduce.dbeta = v.out("dbeta", channels);
  reduce.partial = v.out("backward partial", reduce.partial_bytes(), 1);
  v.run(reduce);
  BatchNormBackwardApply apply{.dy = reduce.dy,
                               .x = x,
                               .mean = mean,
                               .rstd = rstd,
                               .gamma = gamma,
                               .dgamma = reduce.dgamma,
                               .dbeta = reduce.dbeta,
                               .dims = dims,
                               .count = m};
  apply.dx = v.out("dx", dims.stored());
  v.run(apply);
  out.dx = logical(layout, shape, v.read(apply.dx));
  out.dgamma = v.read(reduce.dgamma);
  out.dbeta = v.read(reduce.dbeta);
  return out;
}

}  // namespace norma::test
