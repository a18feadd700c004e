// Compares norma and cuDNN, both with sums in double, and keeps the table of all comparisons.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace norma::test {

inline constexpr double ulp = 0x1p-23;  // of 1 in float

// One output in double, in NCHW order, and its allowed error in float.
//
// An error is the largest |actual - expected| relative to `scale`. `scale` is the largest magnitude of the output, or of the terms of its
// sum where those cancel. With scale 0 it is the largest relative error of an element (variances). NaN is an infinite error. norma's error
// may be `floor`, whatever cuDNN's is.
struct Quantity {
  std::string name{};
  std::vector<double> expected{};
  double scale = 0, floor = 4 * ulp;

  // Allows 4 times cuDNN's own error, if that is more than the floor. Otherwise the floor is the bound.
  bool beside_cudnn = true;
};

// The scale of an output whose terms do not cancel, or cancel in few of its elements.
double largest(std::span<const double> values);

// The floor of sums of n floats with mixed signs: the error of a chain of them. Long chains are expected to be cut in parts.
double sum_floor(std::int64_t n);

double error_of(const Quantity& quantity, std::span<const float> actual);

// One of cuDNN's ways to the same result. Values are empty where it does not offer this one.
struct Yardstick {
  std::string name;
  std::span<const float> values;
};

// Compares and adds a row to the table. Fails the running test unless
//   norma's error <= max(floor, min(4 * the smallest error among the yardsticks, yardstick_limit)), so that a bad yardstick allows nothing;
//   and, if `ordinary`, every yardstick's error <= yardstick_bound: cuDNN computes the same thing.
// norma and cuDNN then differ by no more than the sum of their errors, which is not checked.
// `ordinary`: any sound float algorithm is close on these data.
inline constexpr double yardstick_limit = 1e-5, yardstick_bound = 1e-4;
void compare(const std::string& subject, const std::string& layout, const Quantity& quantity, std::span<const float> norma,
             std::span<const Yardstick> yardsticks, bool ordinary = true);

// Prints and counts an operation that cuDNN did not offer; no failure.
void note_unsupported(const std::string& subject, const std::string& yardstick, const std::string& reason);

// Counts, over all tests, the operations for which cuDNN's graph API had an engine and those for which it had none.
void count_graph(const std::string& operation, bool ran);

// Prints the table; writes it to the file that $NORMA_CUDNN_JSON names, if set. Fails if the graph API was asked for batch norm's
// training or backward and never had an engine. cuDNN documents both as supported in float.
void finish_table();

}  // namespace norma::test
