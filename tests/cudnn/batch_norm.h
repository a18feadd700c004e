// Batch norm three times over: norma's Calls, cuDNN's legacy entry points and cuDNN's graph API, and what double says.
#pragma once
#include <cudnn.h>

#include <array>
#include <cmath>
#include <ostream>
#include <string>
#include <vector>

#include "tests/cudnn/layout.h"
#include "tests/cudnn/parity.h"

namespace norma::test {

struct BatchNormCase {
  std::string name;
  kernels::Dims shape;             // lanes 1
  double mean = 0, deviation = 1;  // of x
  double eps = 1e-5;
  bool offset = false;  // channel means are mean itself; otherwise normal numbers about it

  std::int64_t channel_elements() const { return shape.n * shape.h * shape.w; }  // m
  // True if every sound float algorithm gets close: enough elements in a channel, not far from 0.
  bool ordinary() const { return channel_elements() >= 8 && std::abs(mean) < 10 * deviation; }
};

// GoogleTest's text for a parameter.
inline void PrintTo(const BatchNormCase& c, std::ostream* out) { *out << c.name; }

// All inputs, in NCHW order. Each operation gets float inputs of its own, so that its error is its own. Backward starts from saved_mean and
// saved_rstd, the statistics of x in double rounded to float. Inference starts from given_mean and given_var.
struct BatchNormInputs {
  BatchNormCase of;
  std::vector<float> x, dy;                              // (N,C,H,W)
  std::vector<float> gamma, beta;                        // (C)
  std::vector<float> saved_mean, saved_rstd;             // (C)
  std::vector<float> given_mean, given_var, given_rstd;  // (C); rstd = 1/sqrt(var + eps), for cuDNN's graph
};

inline constexpr float momentum = 0.1f;

// The outputs of one algorithm, in NCHW order; empty where it does not offer that.
struct BatchNormOutputs {
  std::vector<float> y, mean, rstd;                             // training
  std::vector<float> var;                                       // biased
  std::array<std::vector<float>, 2> running_mean, running_var;  // after one update from (0, 1), and after another with the same batch
  std::vector<float> y_inference;
  std::vector<float> dx, dgamma, dbeta;
};

BatchNormInputs make_inputs(const BatchNormCase& c);

// The outputs in double, by two passes, each with what float may cost it. `member` says which output it is.
struct BatchNormQuantity {
  Quantity quantity;
  const std::vector<float>& (*member)(const BatchNormOutputs& o);
};
std::vector<BatchNormQuantity> expected_outputs(const BatchNormInputs& in);

BatchNormOutputs norma_batch_norm(const BatchNormInputs& in, Layout layout);

// Plain calls (ForwardTraining, ForwardInference, Backward) for `mode` CUDNN_BATCHNORM_SPATIAL, the Ex ones for
// CUDNN_BATCHNORM_SPATIAL_PERSISTENT. Operations that are not offered are noted.
BatchNormOutputs legacy_batch_norm(const BatchNormInputs& in, Layout layout, cudnnBatchNormMode_t mode);

// Operations without an engine are noted.
BatchNormOutputs graph_batch_norm(const BatchNormInputs& in, Layout layout);

}  // namespace norma::test
