// Batch norm by hand, in double, one operation after the other, with the results of norma's kernels for the same values.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "norma/shape.h"

namespace norma::app {

// Values in row-major order.
struct Tensor {
  Shape shape;
  std::vector<double> values;
};

// 0, 1, 2, ...
Tensor arange(const Shape& shape);
// The mean over one axis, which stays with size 1.
Tensor mean_over(const Tensor& x, int axis);

// One batch, (N,C) or (N,C,H,W), normalised.
struct NormalisedBatch {
  Tensor x;
  std::vector<Tensor> means;                       // after the mean over each axis but the channels', one after the other
  std::vector<double> mean, variance;              // (C); the biased variance
  Tensor centred, normalised;                      // x - mean; that / sqrt(variance + eps)
  std::vector<double> gamma, beta;                 // (C): 1, 2, ... and 0, 10, ...
  Tensor scaled;                                   // gamma * normalised + beta
  std::vector<double> norma_mean, norma_variance;  // nn::BatchNorm's of the batch
  Tensor norma_scaled;                             // nn::BatchNorm's y
  double difference = 0;                           // the largest of |scaled - norma_scaled|
};

// Running statistics of nn::BatchNorm after one step on arange(27) as (1,3,3,3), and evaluation with them.
struct RunningStatistics {
  double momentum = 0;
  std::vector<double> batch_mean, unbiased_variance, mean, variance;  // (C)
  double first_in_training = 0, first_in_evaluation = 0;              // the batch's first value, normalised
  double first_after_many = 0;                                        // in evaluation, after `many` steps on the same batch
  int many = 0;
};

// y = tanh(x) and its slope for two values, alone and behind a batch norm that has them as its batch.
struct Saturation {
  std::vector<double> x, tanh, slope, normalised, tanh_after, slope_after;  // (2)
};

// gamma = sqrt(variance + eps) and beta = mean give x back.
struct Undone {
  std::vector<double> gamma, beta;  // (C)
  Tensor x, y;
  double difference = 0;
};

// running_mean after a number of steps on batches of mean 4, for one meaning of momentum.
struct Momentum {
  std::optional<double> momentum;  // nn::BatchNorm's: the weight of the new value; none: the average of all
  std::vector<double> running_mean;
};

struct BatchNormExplained {
  double eps = 0;
  NormalisedBatch features, image, channels;  // arange(6) as (3,2), arange(18) as (1,2,3,3), arange(27) as (1,3,3,3)
  std::vector<Tensor> pooled;                 // the last one's means over height, then width, by nn::AvgPool2d
  RunningStatistics running;
  Saturation saturation;
  Undone undone;
  std::vector<int> steps;
  std::vector<Momentum> momenta;
};

// Runs all of it: on the CPU, in milliseconds.
BatchNormExplained explain_batch_norm();

// The explanation as text in 80 columns, and as JSON for programs.
std::string to_text(const BatchNormExplained& e);
std::string to_json(const BatchNormExplained& e);

}  // namespace norma::app
