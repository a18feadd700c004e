// The one level of an x86-64 build with NORMA_QUICK_KERNELS.
#include "kernels/cpu/backend.h"

namespace norma::kernels::cpu {

namespace avx2 {
void run_call(const Call& call, Part part, const Memory& memory);
void run_sample_call(const Call& call, const Memory& memory);
extern const Probes probes;
}  // namespace avx2

std::span<const Backend> backends() {
  static const Backend all[] = {{"avx2", avx2::run_call, avx2::run_sample_call, avx2::probes}};
  __builtin_cpu_init();
  const bool usable =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("bmi");
  return std::span(all).first(usable ? 1 : 0);
}

}  // namespace norma::kernels::cpu
