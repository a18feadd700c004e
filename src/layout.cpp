#include "src/layout.h"

#include <cmath>

#include "norma/error.h"

namespace norma {
namespace {

// Calls f(logical index, stored index) for every element of a value.
template <class F>
void for_each_element(const PlanValue& v, F f) {
  if (!v.in_lanes()) {
    for (std::int64_t i = 0; i < v.shape.elements(); ++i) f(i, i);
    return;
  }
  const Dims& d = v.dims;
  std::int64_t i = 0;
  for (std::int64_t n = 0; n < d.n; ++n)
    for (std::int64_t c = 0; c < d.c; ++c)
      for (std::int64_t h = 0; h < d.h; ++h)
        for (std::int64_t w = 0; w < d.w; ++w) f(i++, d.index(n, c, h, w));
}

template <class T>
std::vector<float> read_as(Executor& executor, const Plan& plan, ValueId id) {
  const PlanValue& v = plan[id];
  std::vector<T> stored(v.bytes / sizeof(T));
  executor.read(plan, id.index, stored.data(), stored.size() * sizeof(T));
  std::vector<float> out(static_cast<std::size_t>(v.shape.elements()));
  for_each_element(v, [&](std::int64_t i, std::int64_t k) {
    out[static_cast<std::size_t>(i)] = static_cast<float>(stored[static_cast<std::size_t>(k)]);
  });
  return out;
}

}  // namespace

void write_tensor(Executor& executor, const Plan& plan, ValueId id, std::span<const float> nchw) {
  const PlanValue& v = plan[id];
  if (static_cast<std::int64_t>(nchw.size()) != v.shape.elements())
    throw Error(ErrorKind::usage, "value \"" + v.name + "\" is " + to_string(v.shape) + ", " + std::to_string(v.shape.elements()) +
                                      " elements, got " + std::to_string(nchw.size()));
  if (v.dtype == DType::i64) {
    std::vector<std::int64_t> stored;
    for (float x : nchw) stored.push_back(std::llround(x));
    executor.write(plan, id.index, stored.data(), stored.size() * sizeof(std::int64_t));
    return;
  }
  if (v.dtype == DType::i32) {
    std::vector<std::int32_t> stored;
    for (float x : nchw) stored.push_back(static_cast<std::int32_t>(std::lround(x)));
    executor.write(plan, id.index, stored.data(), stored.size() * sizeof(std::int32_t));
    return;
  }
  if (v.dtype != DType::f32)
    throw Error(ErrorKind::usage, "value \"" + v.name + "\" is " + name_of(v.dtype) + " and cannot be written as floats");
  std::vector<float> stored(v.bytes / sizeof(float), 0.0f);
  for_each_element(v, [&](std::int64_t i, std::int64_t k) { stored[static_cast<std::size_t>(k)] = nchw[static_cast<std::size_t>(i)]; });
  executor.write(plan, id.index, stored.data(), stored.size() * sizeof(float));
}

std::vector<float> read_tensor(Executor& executor, const Plan& plan, ValueId id) {
  const PlanValue& v = plan[id];
  switch (v.dtype) {
    case DType::f32: return read_as<float>(executor, plan, id);
    case DType::u8: return read_as<std::uint8_t>(executor, plan, id);
    case DType::i32: return read_as<std::int32_t>(executor, plan, id);
    case DType::i64: return read_as<std::int64_t>(executor, plan, id);
    case DType::bytes: break;
  }
  throw Error(ErrorKind::usage, "value \"" + v.name + "\" is no tensor");
}

}  // namespace norma
