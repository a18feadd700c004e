#include "src/verify/tolerance.h"

#include <algorithm>
#include <sstream>

namespace norma::reference {
namespace {

std::string position(const PlanValue& v, std::size_t element) {
  const auto i = static_cast<std::int64_t>(element);
  if (!v.in_lanes()) return std::to_string(i);
  const Dims& d = v.dims;
  std::ostringstream s;
  s << "(" << i / d.features() << ", " << i / d.plane() % d.c << ", " << i / d.w % d.h << ", " << i % d.w << ")";
  return s.str();
}

}  // namespace

double tensor_core_share(const Call& call) {
  return std::visit(
      [](const auto& c) {
        if constexpr (requires { c.precision; }) return c.precision == Precision::fp32 ? 0.0 : 0x1p-14;
        return 0.0;
      },
      call);
}

Agreement compare(DType type, std::span<const double> actual, std::span<const Tracked> expected, const Allowance& allowance) {
  Agreement a;
  a.elements = actual.size();
  for (const Tracked& t : expected)
    if (std::isfinite(t.v)) a.largest = std::max(a.largest, std::abs(t.v));
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double allowed = type == DType::f32 ? std::max(allowance.times * bound(expected[i]), allowance.of_largest * a.largest) : 0;
    const double share = share_of_bound(actual[i], expected[i].v, allowed);
    a.rounding = std::max(a.rounding, allowed);
    if (share == 0) continue;
    const double error = std::abs(actual[i] - expected[i].v);
    a.error = std::max(a.error, std::isfinite(error) ? error : std::numeric_limits<double>::infinity());
    a.wrong += share > 1;
    if (share <= a.share) continue;
    a.share = share, a.worst = i;
    a.actual = actual[i], a.expected = expected[i].v, a.allowed = allowed;
  }
  return a;
}

std::string describe(const PlanValue& v, const Agreement& a) {
  std::ostringstream s;
  s.precision(9);
  s << a.wrong << " of " << a.elements << " elements differ, worst at " << position(v, a.worst) << ": " << a.actual << " instead of "
    << a.expected;
  if (a.allowed > 0) s << ", " << a.share << " times the bound of " << a.allowed;
  return s.str();
}

}  // namespace norma::reference
