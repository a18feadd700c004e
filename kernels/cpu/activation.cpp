// Elementwise Calls: activations, addition, dropout, fill.
#include <cmath>

#include "kernels/cpu/activate.h"
#include "kernels/cpu/calls.h"
#include "kernels/cpu/flat.h"
#include "kernels/philox.h"

namespace norma::kernels::cpu::NORMA_ISA {

void run(const ActivationForward& call, const Memory& memory) {
  float* const y = memory.at<float>(call.y);
  const float* const x = memory.at<float>(call.x);
  const float option = call.option;
  with_activation<last_activation>(call.act, [&]<Activation act>() {
    parallel_for_vectors(call.dims.stored(),
                         [=](std::int64_t i, auto access) { access.store(y + i, activate(act, access.load(x + i), option)); });
  });
}

void run(const ActivationBackward& call, const Memory& memory) {
  float* const dx = memory.at<float>(call.dx);
  const float* const dy = memory.at<float>(call.dy);
  const float* const saved = memory.at<float>(call.saved);
  const float option = call.option;
  with_activation<last_activation>(call.act, [&]<Activation act>() {
    parallel_for_vectors(call.dims.stored(), [=](std::int64_t i, auto access) {
      access.store(dx + i, activation_gradient(act, access.load(dy + i), access.load(saved + i), option));
    });
  });
}

void run(const Add& call, const Memory& memory) {
  float* const y = memory.at<float>(call.y);
  const float* const a = memory.at<float>(call.a);
  const float* const b = memory.at<float>(call.b);
  parallel_for_vectors(call.dims.stored(),
                       [=](std::int64_t i, auto access) { access.store(y + i, access.load(a + i) + access.load(b + i)); });
}

void run(const Fill& call, const Memory& memory) {
  float* const y = memory.at<float>(call.y);
  const V value = set1(call.value);
  parallel_for_vectors(call.n, [=](std::int64_t i, auto access) { access.store(y + i, value); });
}

namespace {

// A part of the features small enough that its draws stay in the nearest cache.
constexpr std::int64_t features_per_part = 128;

inline std::uint32_t multiply_high(std::uint32_t a, std::uint32_t b) { return static_cast<std::uint32_t>((std::uint64_t{a} * b) >> 32); }

// philox() of philox.h for the 16 counters {low[l], high[l], word2, word3}, as loops over lanes. Without the pragma GCC 12 unrolls
// them before it could vectorise them.
inline void philox_lanes(std::uint64_t key, const std::uint32_t (&low)[16], const std::uint32_t (&high)[16], std::uint32_t word2,
                         std::uint32_t word3, std::uint32_t (&out)[4][16]) {
  std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  std::uint32_t a[16], b[16], c[16], d[16], h0[16], h1[16];
#pragma omp simd
  for (int l = 0; l < 16; ++l) a[l] = low[l], b[l] = high[l], c[l] = word2, d[l] = word3;
  for (int round = 0; round < 10; ++round) {
#pragma omp simd
    for (int l = 0; l < 16; ++l) h0[l] = multiply_high(a[l], 0xD2511F53);
#pragma omp simd
    for (int l = 0; l < 16; ++l) h1[l] = multiply_high(c[l], 0xCD9E8D57);
#pragma omp simd
    for (int l = 0; l < 16; ++l) {
      const std::uint32_t next_a = h1[l] ^ b[l] ^ k0, next_c = h0[l] ^ d[l] ^ k1;
      b[l] = c[l] * 0xCD9E8D57;
      d[l] = a[l] * 0xD2511F53;
      a[l] = next_a;
      c[l] = next_c;
    }
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
#pragma omp simd
  for (int l = 0; l < 16; ++l) out[0][l] = a[l], out[1][l] = b[l], out[2][l] = c[l], out[3][l] = d[l];
}

// Dropout's draws, dropout_uniform() * 2^24, for a part of the features of 16 samples. A sample's features begin anywhere in a Philox block
// of four words, `phase` words into it. Words are kept as they come; operator[] picks each lane's own.
class Draws {
 public:
  Draws(const Dropout& call, const StepState& state, std::int64_t first_sample, std::int64_t begin, std::int64_t end) {
    std::int64_t block[16];
    std::int32_t phase[16];
    for (int l = 0; l < 16; ++l) {
      const std::int64_t e = (first_sample + l) * call.dims.features() + begin;  // logical index
      block[l] = e / 4;
      phase[l] = static_cast<std::int32_t>(e % 4);
    }
    for (int k = 0; k < 4; ++k) phase_is_[k] = eq(load_i32(phase), set1(static_cast<std::int32_t>(k)));
    const std::uint32_t layer = static_cast<std::uint32_t>(call.layer) << 8;
    for (std::int64_t j = 0; 4 * j < end - begin + 3; ++j) {
      std::uint32_t low[16], high[16], word[4][16];
      for (int l = 0; l < 16; ++l) {
        const std::uint64_t counter = static_cast<std::uint64_t>(block[l] + j);
        low[l] = static_cast<std::uint32_t>(counter);
        high[l] = static_cast<std::uint32_t>(counter >> 32) ^ layer;
      }
      philox_lanes(state.seed, low, high, static_cast<std::uint32_t>(state.step), static_cast<std::uint32_t>(Stream::dropout), word);
      for (int i = 0; i < 4; ++i)
#pragma omp simd
        for (int l = 0; l < 16; ++l) word_[4 * j + i][l] = static_cast<float>(static_cast<std::int32_t>(word[i][l] >> 8));
    }
  }

  // Returns the draws of the part's feature f, counted from its first.
  V operator[](std::int64_t f) const {
    V draw = load(word_[f]);
    for (int k = 1; k < 4; ++k) draw = select(phase_is_[k], load(word_[f + k]), draw);
    return draw;
  }

 private:
  M phase_is_[4];
  alignas(64) float word_[features_per_part + 8][16];
};

}  // namespace

void run(const Dropout& call, const Memory& memory) {
  float* const y = memory.at<float>(call.y);
  const float* const x = memory.at<float>(call.x);
  const StepState& state = *memory.at<StepState>(call.state);
  // uniform >= p, both times 2^24: whole numbers on the left, so the bound can be rounded up to one, exact in float.
  const V bound = set1(static_cast<float>(std::ceil(call.p * 0x1p24)));
  const V scale = set1(static_cast<float>(1 / (1 - call.p)));
  const std::int64_t features = call.dims.features(), parts = ceil_div(features, features_per_part);
  const std::int64_t first_sample = memory.first_sample;
  parallel_for(call.dims.packs() * parts, [=, &call, &state](std::int64_t item) {
    const std::int64_t pack = item / parts, begin = item % parts * features_per_part;
    const std::int64_t end = begin + features_per_part < features ? begin + features_per_part : features;
    const Draws draws(call, state, first_sample + pack * 16, begin, end);
    for (std::int64_t f = begin; f < end; ++f) {
      const std::int64_t i = (pack * features + f) * 16;
      store(y + i, select(ge(draws[f - begin], bound), load(x + i) * scale, zero()));
    }
  });
}

}  // namespace norma::kernels::cpu::NORMA_ISA
