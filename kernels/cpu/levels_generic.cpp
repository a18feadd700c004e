// The one level of a build for any other machine: portable vectors.
#include "kernels/cpu/backend.h"

namespace norma::kernels::cpu {

namespace generic {
void run_call(const Call& call, Part part, const Memory& memory);
}

std::span<const Backend> backends() {
  static constexpr Backend all[] = {{"generic", generic::run_call}};
  return all;
}

}  // namespace norma::kernels::cpu
