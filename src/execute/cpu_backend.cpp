#include "src/execute/cpu_backend.h"

#include "norma/error.h"
#include "norma/text.h"

namespace norma {

const kernels::cpu::Backend& choose_cpu_backend(const std::string& isa) {
  const auto all = kernels::cpu::backends();
  if (all.empty()) throw Error(ErrorKind::device, "the CPU kernels of this build need AVX2 and FMA, which this processor lacks");
  if (isa == "auto") return all[0];
  std::string names;
  for (const auto& b : all) {
    if (isa == b.isa) return b;
    names += std::string(names.empty() ? "" : ", ") + b.isa;
  }
  throw Error(ErrorKind::usage, "instruction set \"" + printable(isa) + "\" is not available here; there is: auto, " + names);
}

}  // namespace norma
