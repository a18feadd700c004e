// From the variant to the kernels.
#include <variant>

#include "kernels/cuda/calls.h"

namespace norma::kernels::cuda {

Needs needs_of(const Call& call) {
  return std::visit(
      [](const auto& c) -> Needs {
        if constexpr (requires { needs(c); }) return needs(c);
        else return {};
      },
      call);
}

void run(const Call& call, const Memory& memory, const Queue& queue) {
  std::visit([&](const auto& c) { enqueue(c, memory, queue); }, call);
}

}  // namespace norma::kernels::cuda
