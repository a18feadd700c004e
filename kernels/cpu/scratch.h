// The scratch memory that a Call needs on the CPU: Memory::scratch, aligned to 64 bytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <variant>

#include "kernels/calls.h"
#include "kernels/cpu/buffers.h"
#include "kernels/cpu/sample_weights.h"

namespace norma::kernels::cpu {

template <class C>
concept Rounding = requires(const C& call) {
  call.precision;
  call.factors();
};

constexpr std::size_t whole_lines(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

// A table of addresses up to that of the Call's last operand.
template <Rounding C>
constexpr std::size_t address_bytes(const C& call) {
  std::int32_t last = 0;
  for (const Operand& o : call.operands()) last = o.value.index > last ? o.value.index : last;
  return whole_lines((static_cast<std::size_t>(last) + 1) * sizeof(std::byte*));
}
// A factor, rounded; kernels may load a vector from where it ends.
constexpr std::size_t factor_bytes(const Factor& f) { return whole_lines(static_cast<std::size_t>(f.elements) * sizeof(float)) + 64; }

// Returns the bytes of the rounded factors, then of the buffers of `threads` threads.
template <class C>
constexpr std::size_t scratch_bytes(const C& call, int threads) {
  std::size_t bytes = thread_bytes(call) * static_cast<std::size_t>(threads);
  if constexpr (Rounding<C>) {
    if (call.precision == Precision::fp32) return bytes;
    bytes += address_bytes(call);
    for (const Factor& f : call.factors()) bytes += factor_bytes(f);
  }
  return bytes;
}
// A function of the host finds its tensors there one after the other, outputs first.
constexpr std::size_t scratch_bytes(const HostFunction& call, int) {
  std::size_t floats = 0;
  for (std::size_t i = 0; i < HostFunction::most; ++i)
    floats +=
        static_cast<std::size_t>((call.outputs[i] ? call.output_dims[i].count() : 0) + (call.inputs[i] ? call.input_dims[i].count() : 0));
  return whole_lines(floats * sizeof(float));
}
// x, then target and dx.
constexpr std::size_t scratch_bytes(const HostLoss& call, int) {
  return whole_lines(3 * static_cast<std::size_t>(call.dims.count()) * sizeof(float));
}
// The filters of Resize along one side: the positions that each output reads, then their weights.
static constexpr std::int64_t filter_taps(std::int64_t inputs, std::int64_t outputs) {
  const std::int64_t support = inputs > outputs ? 2 * inputs / outputs : 2;
  return support + 2;
}
static constexpr std::size_t filter_bytes(std::int64_t inputs, std::int64_t outputs) {
  return whole_lines(static_cast<std::size_t>(outputs) *
                     (2 * sizeof(std::int64_t) + static_cast<std::size_t>(filter_taps(inputs, outputs)) * sizeof(float)));
}
constexpr std::size_t scratch_bytes(const Resize& call, int) {
  return filter_bytes(call.x_dims.h, call.y_dims.h) + filter_bytes(call.x_dims.w, call.y_dims.w);
}
template <class... C>
constexpr std::size_t scratch_bytes(const Together<C...>& together, int threads) {
  std::size_t most = 0;
  const auto count = [&](std::size_t bytes) { most = bytes > most ? bytes : most; };
  (count(scratch_bytes(std::get<C>(together.calls), threads)), ...);
  return most;
}
inline std::size_t scratch_bytes(const Call& call, int threads) {
  return std::visit([&](const auto& c) { return scratch_bytes(c, threads); }, call);
}

// Returns the bytes for a Call's kernel for samples one by one (sample/).
template <class C>
constexpr std::size_t sample_scratch_bytes(const C& call) {
  if constexpr (std::is_same_v<C, Conv2dForward>) {
    const ConvShape& s = call.shape;
    return padded(s.window) ? whole_lines(static_cast<std::size_t>(s.x.c * reached_rows(s) * reached_columns(s)) * sizeof(float)) + 64 : 0;
  } else if constexpr (std::is_same_v<C, Resize> || std::is_same_v<C, HostFunction>) {
    return scratch_bytes(call, 1);
  } else {
    return 0;
  }
}
inline std::size_t sample_scratch_bytes(const Call& call) {
  return std::visit([](const auto& c) { return sample_scratch_bytes(c); }, call);
}

}  // namespace norma::kernels::cpu
