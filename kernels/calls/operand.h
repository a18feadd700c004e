// Parts of every Call: its operands and its cost (kernels/calls.h defines them).
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "kernels/memory.h"
#include "kernels/shapes.h"
#include "norma/types.h"

namespace norma::kernels {

enum class Access : std::uint8_t { read, write, update };  // update: read and written in place

struct Operand {
  ValueId value{};
  Access access;
  const char* name;
  int layer = 0;  // of a Call of several layers
};

// "running_mean"; of the second layer "running_mean.1"
inline std::string role_of(const Operand& o) { return o.layer == 0 ? o.name : o.name + ("." + std::to_string(o.layer)); }

// A factor of a product: `elements` floats of a value. A Call with a precision below fp32 rounds them first (kernels/round.h).
struct Factor {
  ValueId value{};
  std::int64_t elements = 0;  // stored
};

struct Cost {
  double bytes = 0, flops = 0;
};

inline constexpr double f32_bytes = 4;

}  // namespace norma::kernels
