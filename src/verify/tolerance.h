// Compares a backend's results with the reference's. Floats may be off by the error that their arithmetic must cost (tracked.h), integers
// not at all.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>

#include "kernels/reference/reference.h"
#include "src/plan/plan.h"

namespace norma::reference {

// 4 times what float must cost, and never less than one subnormal step, since results may underflow.
inline double bound(const Tracked& t) { return 4 * std::sqrt(t.e2) + static_cast<double>(std::numeric_limits<float>::min()); }

// |actual - expected| as a share of the bound: above 1 is wrong. 0 for equal numbers and for two NaN, infinite for one NaN.
inline double share_of_bound(double actual, double expected, double allowed) {
  if (actual == expected || (std::isnan(expected) && std::isnan(actual))) return 0;
  const double share = std::abs(actual - expected) / allowed;
  return std::isnan(share) ? std::numeric_limits<double>::infinity() : share;
}
inline double share_of_bound(double actual, const Tracked& expected) { return share_of_bound(actual, expected.v, bound(expected)); }
// This overload is for exact values.
template <class T>
double share_of_bound(const T& actual, const T& expected) {
  return actual == expected ? 0 : std::numeric_limits<double>::infinity();
}

// The elements of one value.
struct Agreement {
  std::size_t elements = 0, wrong = 0;
  double error = 0, largest = 0;  // the largest |actual - expected|, infinite where that is not finite; the largest finite |expected|
  double rounding = 0;            // the largest bound
  double share = 0;               // the largest share_of_bound
  std::size_t worst = 0;          // the element that has it
  double actual = 0, expected = 0, allowed = 0;  // there

  // As a share of the largest element; of a tensor that is 0 but for rounding, as it is.
  double relative_error() const { return largest > rounding ? error / largest : error; }
};

// Allowed error of floats: `times` times their bound or, if larger, this share of the tensor's largest value.
struct Allowance {
  double times = 1, of_largest = 0;
};
// Share allowed for sums that tensor cores may have made: they add with few bits to spare, and towards 0.
double tensor_core_share(const Call& call);
// Elements in NCHW order.
Agreement compare(DType type, std::span<const double> actual, std::span<const Tracked> expected, const Allowance& allowance = {});

// "3 of 102 elements differ, worst at (0, 1, 2, 0): 0.5 instead of 0.25, 3e4 times the bound of 8e-06"
std::string describe(const PlanValue& v, const Agreement& a);

// Calls f(name, actual, expected) for every member: Tracked ones may be off, the others are exact.
template <class F>
void for_each_member(const kernels::LossResult& actual, const Loss<Tracked>& expected, F f) {
  f("loss", actual.loss, expected.loss);
  f("loss_sum", actual.loss_sum, expected.loss_sum);
  f("correct", actual.correct, expected.correct);
  f("counted", actual.counted, expected.counted);
}
template <class F>
void for_each_member(const kernels::StepState& actual, const kernels::StepState& expected, F f) {
  f("seed", actual.seed, expected.seed);
  f("step", actual.step, expected.step);
  f("optimizer_from", actual.optimizer_from, expected.optimizer_from);
  f("population", actual.population, expected.population);
  f("epoch", actual.epoch, expected.epoch);
  f("position", actual.position, expected.position);
  f("batch", actual.batch, expected.batch);
  f("status", actual.status, expected.status);
  f("samples", actual.samples, expected.samples);
  f("correct", actual.correct, expected.correct);
  f("counted", actual.counted, expected.counted);
  f("loss_sum", actual.loss_sum, expected.loss_sum);  // one sum of two doubles: no error is due
}

}  // namespace norma::reference
