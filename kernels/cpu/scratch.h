// The scratch memory that a Call needs on the CPU: Memory::scratch, aligned to 64 bytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <variant>

#include "kernels/calls.h"
#include "kernels/cpu/buffers.h"

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

}  // namespace norma::kernels::cpu
