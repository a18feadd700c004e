// The one level of a build for any other machine: portable vectors.
#include "kernels/cpu/backend.h"

namespace norma::kernels::cpu {

namespace generic {
void run_call(const Call& call, Part part, const Memory& memory);
void run_sample_call(const Call& call, const Memory& memory);
extern const Probes probes;
}  // namespace generic

std::span<const Backend> backends() {
  static const Backend all[] = {{"generic", generic::run_call, generic::run_sample_call, generic::probes}};
  return all;
}

}  // namespace norma::kernels::cpu
