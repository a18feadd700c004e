// From the variant to the kernels.
#include <variant>

#include "kernels/cuda/calls.h"

namespace norma::kernels::cuda {

std::size_t workspace_bytes(const Call& call) {
  return std::visit(
      [](const auto& c) -> std::size_t {
        if constexpr (requires { workspace_of(c); }) return workspace_of(c);
        else return 0;
      },
      call);
}

void run(const Call& call, const Memory& memory, const Queue& queue) {
  std::visit([&](const auto& c) { enqueue(c, memory, queue); }, call);
}

}  // namespace norma::kernels::cuda
