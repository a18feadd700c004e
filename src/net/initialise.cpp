#include "src/net/initialise.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/philox.h"
#include "norma/error.h"
#include "norma/text.h"

namespace norma {
namespace {

kernels::Philox4 draw(std::uint64_t seed, std::int64_t number, std::int64_t element) {
  const auto e = static_cast<std::uint64_t>(element);
  return kernels::philox(seed, {static_cast<std::uint32_t>(e), static_cast<std::uint32_t>(e >> 32), static_cast<std::uint32_t>(number),
                                static_cast<std::uint32_t>(kernels::Stream::initialise)});
}

// 53 bits in [0, 1).
double unit(std::uint32_t high, std::uint32_t low) { return static_cast<double>((std::uint64_t{high} << 32 | low) >> 11) * 0x1p-53; }

double standard_normal(const kernels::Philox4& r) {  // Box and Muller 1958
  const double u = 1 - unit(r[0], r[1]), v = unit(r[2], r[3]);
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
}

}  // namespace

std::vector<float> initial_values(const ParameterInfo& p, std::uint64_t seed, std::int64_t number) {
  enum { constant, uniform, normal } distribution = constant;
  double a = p.init.a, b = p.init.b;  // value; or low, high; or mean, standard deviation
  const auto fan_in = static_cast<double>(p.fan_in), fan_out = static_cast<double>(p.fan_out);
  const auto need_fan = [&] {
    if (p.fan_in == 0 || p.shape.rank() < 2)
      throw Error(ErrorKind::usage, "[" + printable(p.name) +
                                        "] Xavier and He initialisers need a weight of two or more dimensions, this one is " +
                                        to_string(p.shape));
  };
  const auto symmetric = [&](double bound) {
    distribution = uniform;
    a = -bound;
    b = bound;
  };
  const auto centred = [&](double deviation) {
    distribution = normal;
    a = 0;
    b = deviation;
  };
  switch (p.init.kind) {
    case Init::Kind::standard:
      if (p.fan_in == 0) a = p.standard_value;
      else symmetric(1 / std::sqrt(fan_in));
      break;
    case Init::Kind::constant: break;
    case Init::Kind::uniform: distribution = uniform; break;
    case Init::Kind::normal:
      distribution = normal;
      if (b < 0)
        throw Error(ErrorKind::usage, "[" + printable(p.name) + "] a standard deviation must not be negative, got " + std::to_string(b));
      break;
    case Init::Kind::xavier_uniform: need_fan(), symmetric(p.init.a * std::sqrt(6 / (fan_in + fan_out))); break;
    case Init::Kind::xavier_normal: need_fan(), centred(p.init.a * std::sqrt(2 / (fan_in + fan_out))); break;
    case Init::Kind::he_uniform: need_fan(), symmetric(p.init.a * std::sqrt(3 / fan_in)); break;
    case Init::Kind::he_normal: need_fan(), centred(p.init.a / std::sqrt(fan_in)); break;
  }
  std::vector<float> values(static_cast<std::size_t>(p.shape.elements()));
  for (std::size_t e = 0; e < values.size(); ++e) {
    if (distribution == constant) {
      values[e] = static_cast<float>(a);
      continue;
    }
    const kernels::Philox4 r = draw(seed, number, static_cast<std::int64_t>(e));
    values[e] = static_cast<float>(distribution == uniform ? a + (b - a) * unit(r[0], r[1]) : a + b * standard_normal(r));
  }
  if (std::any_of(values.begin(), values.end(), [](float v) { return !std::isfinite(v); }))
    throw Error(ErrorKind::usage, "[" + printable(p.name) + "] its initialiser gives values beyond float");
  return values;
}

}  // namespace norma
