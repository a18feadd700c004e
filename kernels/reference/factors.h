// The two factors of a product, rounded as its precision says: of conv2d.cpp and linear.cpp.
#pragma once
#include <array>
#include <vector>

#include "kernels/reference/reference.h"
#include "kernels/round.h"

namespace norma::reference {

using kernels::round_to;

inline double rounded(double x, Precision p) { return round_to(static_cast<float>(x), p); }
// The error of x may round it to the next number of the precision.
inline Tracked rounded(const Tracked& x, Precision p) {
  const double to = rounded(x.v, p), step = to * (p == Precision::tf32 ? 0x1p-11 : 0x1p-8);
  return {to, x.e2 > 0 ? x.e2 + step * step : 0};
}

// The two factors of a Call as they are multiplied, in the order of factors().
template <class T>
class Factors {
 public:
  template <class C>
  Factors(const C& call, const Memory<T>& m) {
    const auto factors = call.factors();
    for (std::size_t i = 0; i < 2; ++i) {
      at_[i] = m.floats(factors[i].value);
      if (call.precision == Precision::fp32) continue;
      rounded_[i].assign(at_[i], at_[i] + factors[i].elements);
      for (T& x : rounded_[i]) x = rounded(x, call.precision);
      at_[i] = rounded_[i].data();
    }
  }
  const T* operator[](std::size_t i) const { return at_[i]; }

 private:
  std::array<const T*, 2> at_;
  std::array<std::vector<T>, 2> rounded_;
};

}  // namespace norma::reference
