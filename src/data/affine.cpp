#include "src/data/affine.h"

#include <cmath>
#include <exception>
#include <sstream>
#include <string>

#include "norma/error.h"

namespace norma {
namespace {

std::string briefly(double v) {
  std::ostringstream text;
  text << v;
  return text.str();
}

}  // namespace

Affine::Affine(const Transform& t, std::int64_t channels, DType stored) {
  const auto per_channel = [&](const std::vector<double>& v, double otherwise, std::int64_t c, const char* what) {
    if (v.empty()) return otherwise;
    if (v.size() != 1 && static_cast<std::int64_t>(v.size()) != channels)
      throw Error(ErrorKind::usage, std::string("transform: ") + what + " has " + std::to_string(v.size()) + " values for " +
                                        std::to_string(channels) + " channels");
    return v.size() == 1 ? v[0] : v[static_cast<std::size_t>(c)];
  };
  try {
    scale.reserve(static_cast<std::size_t>(channels)), offset.reserve(static_cast<std::size_t>(channels));
  } catch (const std::exception&) {  // bad_alloc or length_error
    throw Error(ErrorKind::failure, "out of memory: 2 x " + std::to_string(channels) + " floats for the transform of so many channels");
  }
  const double unit = t.to_unit && stored == DType::u8 ? 255.0 : 1.0;
  for (std::int64_t c = 0; c < channels; ++c) {
    const double mean = per_channel(t.mean, 0, c, "mean"), deviation = per_channel(t.stddev, 1, c, "stddev");
    if (!(deviation > 0) || !std::isfinite(deviation) || !std::isfinite(mean))
      throw Error(ErrorKind::usage, "transform: stddev must be above 0");
    const double factor = 1 / (unit * deviation), shift = -mean / deviation;
    for (const double v : {mean, deviation, factor, shift})
      if (!fits_float(v))
        throw Error(ErrorKind::usage, "transform: (x - mean) / stddev has no floats for mean " + briefly(mean) + " and stddev " +
                                          briefly(deviation) + (unit > 1 ? " of bytes in [0, 1]" : ""));
    if (stored == DType::u8 && static_cast<float>(255 * factor + shift) == static_cast<float>(shift))
      throw Error(ErrorKind::usage, "transform: the mean " + briefly(mean) + " is so large that bytes 0 and 255 become the same float");
    scale.push_back(static_cast<float>(factor));
    offset.push_back(static_cast<float>(shift));
  }
}

}  // namespace norma
