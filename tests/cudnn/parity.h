// norma beside cuDNN, both against the same sums in double: what is compared, how, and the table of all that was.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace norma::test {

inline constexpr double ulp = 0x1p-23;  // of 1 in float

// One output in double, in NCHW order, and what float may cost it.
//
// An error is the largest |actual - expected| relative to `scale`: the largest magnitude of the output, or of the terms it is the sum
// of where those cancel. With scale 0 it is the largest relative error of an element (variances). NaN is an infinite error.
// norma may be off by `floor`, whatever cuDNN does.
struct Quantity {
  std::string name{};
  std::vector<double> expected{};
  double scale = 0, floor = 4 * ulp;

  // Whether 4 times cuDNN's own error is allowed where that is more than the floor; without it the floor is the bound.
  bool beside_cudnn = true;
};

// The scale of an output whose terms do not cancel, or cancel in few of its elements.
double largest(std::span<const double> values);

// The floor of sums of n floats whose signs are mixed: what a chain of them costs, and long chains are expected to be cut in parts.
double sum_floor(std::int64_t n);

double error_of(const Quantity& quantity, std::span<const float> actual);

// One of cuDNN's ways to the same result. Values are empty where it does not offer this one.
struct Yardstick {
  std::string name;
  std::span<const float> values;
};

// Compares, adds a row to the table and fails the running test unless
//   norma's error <= max(floor, min(4 * the smallest error among the yardsticks, yardstick_limit)), so that a bad yardstick allows nothing;
//   and, where `ordinary`, every yardstick's error <= yardstick_bound: cuDNN computes the same thing.
// That norma and cuDNN differ by no more than the sum of their errors follows and is not checked.
// `ordinary`: the data are such that any sound float algorithm is close.
inline constexpr double yardstick_limit = 1e-5, yardstick_bound = 1e-4;
void compare(const std::string& subject, const std::string& layout, const Quantity& quantity, std::span<const float> norma,
             std::span<const Yardstick> yardsticks, bool ordinary = true);

// What cuDNN did not offer: printed and counted, no failure.
void note_unsupported(const std::string& subject, const std::string& yardstick, const std::string& reason);

// Whether cuDNN's graph API, asked for an operation, had an engine; over all tests.
void count_graph(const std::string& operation, bool ran);

// Prints the table; writes it to the file that $NORMA_CUDNN_JSON names, if set. Fails if the graph API was asked for batch norm's
// training or backward, which cuDNN documents as supported in float, and never had an engine.
void finish_table();

}  // namespace norma::test
