// The larger of two numbers that come from data.
#pragma once
#include <cmath>

namespace norma::app {

// NaN is larger than any number, so that no maximum over differences loses one, as std::max does.
inline double larger(double a, double b) { return a > b || std::isnan(a) ? a : b; }

}  // namespace norma::app
