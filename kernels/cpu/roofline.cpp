// Measures a level's instructions at best: multiply-adds in registers, and the memory's bandwidth. No kernel uses these; they are timed.
#include "kernels/chunks.h"
#include "kernels/cpu/backend.h"
#include "kernels/cpu/flat.h"
#include "kernels/cpu/parallel.h"
#include "simd.h"

namespace norma::kernels::cpu::NORMA_ISA {

extern const Probes probes;  // defined at the end, used by the level's table

namespace {

// Latency times throughput of a multiply-add is 8 to 16 registers on the machines norma runs on. The two operands stay in registers too.
// The compilers unroll at most 16.
constexpr int chains = registers >= 32 ? 16 : 12;

NORMA_INLINE Register sum(Register a, Register b) { return fma(a, broadcast(1.0f), b); }

// Converges to 2 from any start: neither overflow nor denormals, whose speed may differ.
float multiply_add(std::int64_t rounds) {
  Register a[chains];
  const Register f = broadcast(0.5f), t = broadcast(1.0f);
  for (int c = 0; c < chains; ++c) a[c] = broadcast(static_cast<float>(c));
  for (std::int64_t r = 0; r < rounds; ++r)
    for (int c = 0; c < chains; ++c) a[c] = fma(a[c], f, t);
  for (int c = 1; c < chains; ++c) a[0] = sum(a[0], a[c]);
  alignas(64) float lane[register_lanes];
  store_register(lane, a[0]);
  float total = 0;
  for (const float v : lane) total += v;
  return total;
}

double multiply_add_flops() { return 2.0 * chains * register_lanes; }

void copy(float* y, const float* x, std::int64_t n) {
  parallel_for(n / flat_chunk, [=](std::int64_t k) {
    for (std::int64_t i = k * flat_chunk; i < (k + 1) * flat_chunk; i += 16) store(y + i, load(x + i));
  });
}

void copy_streaming(float* y, const float* x, std::int64_t n) {
  parallel_for(n / flat_chunk, [=](std::int64_t k) {
    for (std::int64_t i = k * flat_chunk; i < (k + 1) * flat_chunk; i += 16) stream(y + i, load(x + i));
  });
}

float read(const float* x, std::int64_t n) {
  constexpr std::int64_t parts = 256;
  static float results[parts];
  parallel_for(parts, [=](std::int64_t k) {
    const Range chunks = chunk(n / flat_chunk, parts, k);
    V a[8];
    for (V& v : a) v = zero();
    for (std::int64_t i = chunks.begin * flat_chunk; i < chunks.end * flat_chunk; i += 8 * 16)
      for (int j = 0; j < 8; ++j) a[j] = a[j] + load(x + i + j * 16);
    for (int j = 1; j < 8; ++j) a[0] = a[0] + a[j];
    results[k] = reduce_add(a[0]);
  });
  float total = 0;
  for (const float r : results) total += r;
  return total;
}

}  // namespace

const Probes probes = {multiply_add, multiply_add_flops, copy, copy_streaming, read};

}  // namespace norma::kernels::cpu::NORMA_ISA
