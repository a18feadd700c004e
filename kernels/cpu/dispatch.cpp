// From the variant to the kernel of this instruction-set level.
// Not std::visit: its exception class has inline functions, which the linker could take from here for the whole program.
#include <cstddef>
#include <utility>
#include <variant>

#include "kernels/cpu/calls.h"
#include "kernels/cpu/rounded.h"

namespace norma::kernels::cpu::NORMA_ISA {

namespace {

template <class C>
inline void run_part(const C& call, Part part, const Memory& given) {
  Memory memory = given;
  if constexpr (Rounding<C>)
    if (call.precision != Precision::fp32 && part != Part::finish) memory = with_rounded_factors(call, given);
  if constexpr (reduces<C>) {
    if (part != Part::finish) run_partial(call, memory);
    if (part != Part::pack) finish(call, memory);
  } else {
    run(call, memory);
  }
}

// Pack by pack there is nothing to be had from these: they are run whole.
template <class... C>
inline void run_part(const Together<C...>& together, Part, const Memory& memory) {
  (run_part(std::get<C>(together.calls), Part::whole, memory), ...);
}

template <std::size_t... Index>
inline void run_alternative(const Call& call, Part part, const Memory& memory, std::index_sequence<Index...>) {
  const std::size_t held = call.index();
  ((held == Index ? run_part(*std::get_if<Index>(&call), part, memory) : void()), ...);
}

}  // namespace

void run_call(const Call& call, Part part, const Memory& memory) {
  run_alternative(call, part, memory, std::make_index_sequence<std::variant_size_v<Call>>{});
}

}  // namespace norma::kernels::cpu::NORMA_ISA
