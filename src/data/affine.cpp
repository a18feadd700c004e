// Samples as they are stored, and the Transform that the kernels apply to them.
#include "src/data/affine.h"

#include <cmath>
#include <exception>
#include <string>

#include "norma/error.h"
#include "norma/text.h"

namespace norma {

DType stored_type(const Shape& sample, const std::optional<DType>& type) {
  if (sample.rank() != 1 && sample.rank() != 3) throw Error(ErrorKind::usage, "input must be (C, H, W) or (F), got " + to_string(sample));
  const DType stored = type.value_or(sample.rank() == 3 ? DType::u8 : DType::f32);
  if (stored != DType::u8 && stored != DType::f32)
    throw Error(ErrorKind::usage, std::string("sample_type must be u8 or f32, got ") + name_of(stored));
  return stored;
}

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
        throw Error(ErrorKind::usage, "transform: (x - mean) / stddev has no floats for mean " + in_short(mean) + " and stddev " +
                                          in_short(deviation) + (unit > 1 ? " of bytes in [0, 1]" : ""));
    if (stored == DType::u8 && static_cast<float>(255 * factor + shift) == static_cast<float>(shift))
      throw Error(ErrorKind::usage, "transform: the mean " + in_short(mean) + " is so large that bytes 0 and 255 become the same float");
    scale.push_back(static_cast<float>(factor));
    offset.push_back(static_cast<float>(shift));
  }
}

}  // namespace norma
