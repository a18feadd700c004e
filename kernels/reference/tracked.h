// A number that knows the cost of float arithmetic: a double, and the variance of the rounding error that float would leave. Running a
// reference kernel on Tracked gives every output its own error bound.
//
// It is a first-order running error analysis with independent roundings. Each operation that rounds adds (u * |result|)^2, where u = 2^-24
// is half a unit in the last place of float. It passes on the operands' variances by its derivatives. Up to 16 operations four times the
// root of that is more than the worst case (4 sqrt(n) >= n). For long sums it is about 7 standard deviations of the random walk. Unlike
// K*u*sum|terms| it does not grow slack with K.
#pragma once
#include <cmath>

namespace norma::reference {

struct Tracked {
  static constexpr double u = 0x1p-24;
  double v = 0, e2 = 0;  // value; variance of its error

  constexpr Tracked() = default;
  constexpr Tracked(double exact) : v(exact) {}  // NOLINT: numbers convert
  constexpr Tracked(double value, double variance) : v(value), e2(variance) {}

  static Tracked rounded(double value, double variance = 0) { return {value, variance + (u * value) * (u * value)}; }
  bool is_exact(double value) const { return v == value && e2 == 0; }
  Tracked operator-() const { return {-v, e2}; }
};

inline Tracked operator+(const Tracked& a, const Tracked& b) {
  if (a.is_exact(0)) return b;  // no rounding
  if (b.is_exact(0)) return a;
  return Tracked::rounded(a.v + b.v, a.e2 + b.e2);
}
inline Tracked operator-(const Tracked& a, const Tracked& b) { return a + -b; }
inline Tracked operator*(const Tracked& a, const Tracked& b) {
  if (a.is_exact(1)) return b;
  if (b.is_exact(1)) return a;
  return Tracked::rounded(a.v * b.v, b.v * b.v * a.e2 + a.v * a.v * b.e2);
}
inline Tracked operator/(const Tracked& a, const Tracked& b) {
  if (b.is_exact(1)) return a;
  const double q = a.v / b.v;
  return Tracked::rounded(q, (a.e2 + q * q * b.e2) / (b.v * b.v));
}
// One more term of a sum, which a kernel may add in another order: where two terms cancel here, they need not there.
inline Tracked& operator+=(Tracked& a, const Tracked& b) {
  Tracked sum = a + b;
  const double larger = std::fmax(std::abs(a.v), std::abs(b.v));
  if (larger > std::abs(sum.v) && !a.is_exact(0) && !b.is_exact(0)) sum.e2 += Tracked::u * Tracked::u * (larger * larger - sum.v * sum.v);
  return a = sum;
}
inline Tracked& operator-=(Tracked& a, const Tracked& b) { return a = a - b; }
inline bool operator<(const Tracked& a, const Tracked& b) { return a.v < b.v; }
inline bool operator>(const Tracked& a, const Tracked& b) { return a.v > b.v; }

inline Tracked sqrt(const Tracked& a) {
  const double root = std::sqrt(a.v);
  return Tracked::rounded(root, root > 0 ? a.e2 / (4 * a.v) : a.e2);
}
inline Tracked exp(const Tracked& a) {
  const double e = std::exp(a.v);
  return Tracked::rounded(e, e * e * a.e2);
}
inline Tracked log(const Tracked& a) { return Tracked::rounded(std::log(a.v), a.e2 / (a.v * a.v)); }
inline Tracked tanh(const Tracked& a) {
  const double t = std::tanh(a.v), slope = 1 - t * t;
  return Tracked::rounded(t, slope * slope * a.e2);
}

inline double sigmoid(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }
// An exponential, a sum and a quotient.
inline Tracked sigmoid(const Tracked& a) {
  const double s = sigmoid(a.v), slope = s * (1 - s);
  const Tracked sum_rounded = Tracked::rounded(s, slope * slope * (a.e2 + Tracked::u * Tracked::u));
  return Tracked::rounded(s, sum_rounded.e2);
}

// Share of the standard normal distribution below x.
inline double normal_cdf(double x) { return 0.5 * std::erfc(-x * 0.70710678118654752); }
// An exponential of x^2/2, a quotient, a polynomial, a product: of the tail, which is then taken from 1 where x > 0.
inline Tracked normal_cdf(const Tracked& a) {
  const double p = normal_cdf(a.v), tail = a.v > 0 ? normal_cdf(-a.v) : p, half = a.v * a.v / 2;
  const double slope = std::exp(-half) * 0.3989422804014327, rounding = Tracked::u * tail;
  return Tracked::rounded(p, slope * slope * a.e2 + rounding * rounding * (4 + half * half));
}

inline double relu(double x) { return x > 0 || std::isnan(x) ? x : 0; }
// Below 0 but within its own error of it, float may still come out above.
inline Tracked relu(const Tracked& a) {
  if (!(a.v <= 0)) return a;
  return {0, 16 * a.e2 > a.v * a.v ? a.e2 : 0};
}

inline double where_positive(double x, double a, double b) { return x > 0 ? a : b; }
// Within its own error of 0, float may take the other one.
inline Tracked where_positive(const Tracked& x, const Tracked& a, const Tracked& b) {
  Tracked chosen = x.v > 0 ? a : b;
  if (16 * x.e2 > x.v * x.v) chosen.e2 += (a.v - b.v) * (a.v - b.v);
  return chosen;
}

inline double value(double x) { return x; }
inline double value(const Tracked& x) { return x.v; }

// A hyperparameter, held as double and rounded to float before use.
template <class T>
T scalar(double x);
template <>
inline double scalar<double>(double x) {
  return x;
}
template <>
inline Tracked scalar<Tracked>(double x) {
  return x == static_cast<float>(x) ? Tracked(x) : Tracked::rounded(x);
}

}  // namespace norma::reference
