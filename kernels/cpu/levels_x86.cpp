// Instruction-set levels of an x86-64 build.
#include "kernels/cpu/backend.h"

namespace norma::kernels::cpu {

namespace avx512 {
void run_call(const Call& call, Part part, const Memory& memory);
void run_sample_call(const Call& call, const Memory& memory);
extern const Probes probes;
}  // namespace avx512
namespace avx2 {
void run_call(const Call& call, Part part, const Memory& memory);
void run_sample_call(const Call& call, const Memory& memory);
extern const Probes probes;
}  // namespace avx2

std::span<const Backend> backends() {
  static const Backend all[] = {{"avx512", avx512::run_call, avx512::run_sample_call, avx512::probes},
                                {"avx2", avx2::run_call, avx2::run_sample_call, avx2::probes}};
  // __builtin_cpu_supports also asks the operating system whether it keeps the registers.
  static const std::size_t usable_from = [] {
    __builtin_cpu_init();
    const bool avx2 =
        __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("bmi");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return avx512 ? std::size_t{0} : avx2 ? std::size_t{1} : std::size_t{2};
  }();
  return std::span(all).subspan(usable_from);
}

}  // namespace norma::kernels::cpu
