#include "src/execute/tensor_io.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "norma/error.h"
#include "norma/text.h"

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

// f with a zero of the type that the elements have.
template <class F>
void with_type(DType type, F f) {
  switch (type) {
    case DType::f32: return f(0.0f);
    case DType::u8: return f(std::uint8_t{});
    case DType::i32: return f(std::int32_t{});
    case DType::i64: return f(std::int64_t{});
    case DType::bytes: return;
  }
}

// Those of the first samples, some packs of them at a time.
std::vector<float> read_floats(Executor& executor, const Plan& plan, ValueId id, std::int64_t samples) {
  constexpr std::size_t most_bytes = std::size_t{1} << 20;
  const Dims& d = plan[id].dims;
  const std::size_t features = static_cast<std::size_t>(d.features()), lanes = static_cast<std::size_t>(d.lanes);
  const std::size_t count = static_cast<std::size_t>(samples), pack_bytes = plan[id].pack_bytes;
  const std::size_t all = (count + lanes - 1) / lanes, at_once = std::clamp<std::size_t>(most_bytes / pack_bytes, 1, all);
  std::vector<float> nchw(count * features), stored(at_once * features * lanes);
  for (std::size_t g = 0; g < all; ++g) {
    if (g % at_once == 0) executor.read(plan, id.index, stored.data(), std::min(at_once, all - g) * pack_bytes, g * pack_bytes);
    const float* pack = &stored[g % at_once * features * lanes];
    for (std::size_t l = 0; l < std::min(lanes, count - g * lanes); ++l) {
      float* sample = &nchw[(g * lanes + l) * features];
      for (std::size_t e = 0; e < features; ++e) sample[e] = pack[e * lanes + l];
    }
  }
  return nchw;
}

// Parameters are, and may be the largest values of a net: no copy of them is made.
bool as_it_lies(const PlanValue& v) {
  return v.dtype == DType::f32 && !v.in_lanes() && v.bytes == static_cast<std::size_t>(v.shape.elements()) * sizeof(float);
}

}  // namespace

std::vector<double> elements(const PlanValue& v, std::span<const std::byte> stored) {
  std::vector<double> nchw;
  with_type(v.dtype, [&]<class T>(T) {
    const T* from = reinterpret_cast<const T*>(stored.data());
    nchw.resize(static_cast<std::size_t>(v.shape.elements()));
    for_each_element(v, [&](std::int64_t i, std::int64_t k) { nchw[static_cast<std::size_t>(i)] = static_cast<double>(from[k]); });
  });
  return nchw;
}

void set_elements(const PlanValue& v, std::span<const double> nchw, std::span<std::byte> stored) {
  with_type(v.dtype, [&]<class T>(T) {
    T* to = reinterpret_cast<T*>(stored.data());
    for_each_element(v, [&](std::int64_t i, std::int64_t k) {
      const double x = nchw[static_cast<std::size_t>(i)];
      if constexpr (std::is_same_v<T, float>) to[k] = static_cast<T>(x);
      else to[k] = static_cast<T>(std::llround(x));
    });
  });
}

int lanes_for(const Executor& executor, const Device& device, int wanted) {
  const int own = executor.traits().lanes;
  if (wanted == 0 || wanted == own || (wanted == 1 && device.kind == Device::Kind::cuda)) return wanted ? wanted : own;
  throw Error(ErrorKind::usage, (device.kind == Device::Kind::cpu ? "the CPU's kernels take " : "a GPU's kernels take 1 or ") +
                                    std::to_string(own) + " lanes, not " + std::to_string(wanted));
}

void write_tensor(Executor& executor, const Plan& plan, ValueId id, std::span<const float> nchw) {
  const PlanValue& v = plan[id];
  if (static_cast<std::int64_t>(nchw.size()) != v.shape.elements())
    throw Error(ErrorKind::usage, "value \"" + printable(v.name) + "\" is " + to_string(v.shape) + ", " +
                                      std::to_string(v.shape.elements()) + " elements, got " + std::to_string(nchw.size()));
  if (v.dtype == DType::bytes) throw Error(ErrorKind::usage, "value \"" + printable(v.name) + "\" is no tensor");
  if (as_it_lies(v)) return executor.write(plan, id.index, nchw.data(), nchw.size_bytes());
  std::vector<std::byte> stored(v.bytes);
  set_elements(v, std::vector<double>(nchw.begin(), nchw.end()), stored);
  executor.write(plan, id.index, stored.data(), stored.size());
}

std::vector<float> read_tensor(Executor& executor, const Plan& plan, ValueId id, std::int64_t samples) {
  const PlanValue& v = plan[id];
  if (v.dtype == DType::bytes) throw Error(ErrorKind::usage, "value \"" + printable(v.name) + "\" is no tensor");
  if (v.dtype == DType::f32 && v.in_lanes()) return read_floats(executor, plan, id, samples ? samples : v.dims.n);
  if (as_it_lies(v)) {
    std::vector<float> values(static_cast<std::size_t>(v.shape.elements()));
    executor.read(plan, id.index, values.data(), values.size() * sizeof(float));
    return values;
  }
  std::vector<std::byte> stored(v.bytes);
  executor.read(plan, id.index, stored.data(), stored.size());
  const std::vector<double> nchw = elements(v, stored);
  return {nchw.begin(), nchw.end()};
}

}  // namespace norma
