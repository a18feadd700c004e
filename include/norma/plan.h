// A Plan is a net compiled for one batch size and mode: an ordered list of Calls over one preallocated arena.
// Trainer and ModuleRunner build it for a device's traits: 16 or 32 lanes, joined Calls or not. It holds no device memory and can be
// printed.
// Its structs are plain values: one thread at a time may change one, any number may read it. A compiled Plan never changes: any number of
// threads may read it. That of an object, such as a Trainer, lives as long as the object.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "norma/export.h"
#include "norma/shape.h"
#include "norma/types.h"

namespace norma {

struct Plan;  // src/plan/plan.h

// Memory region of a value. All but activations and pack are shared by the Plans of one run and outlive a step.
// pack holds activations of one pack of samples that no phase of the Plan hands to another. Every thread has its own.
enum class Region : std::uint8_t { parameters, gradients, optimizer, buffers, state, data, activations, pack };
inline constexpr std::size_t region_count = 8;
NORMA_API const char* name_of(Region r);

struct NORMA_API PlanOperand {
  std::string role, value;  // role in the Call ("x"), name of the value ("conv1")
  Shape shape;
  DType dtype = DType::f32;
  Region region = Region::activations;
  std::size_t offset = 0, bytes = 0;  // in its region
  bool written = false;
};

struct NORMA_API PlanLine {
  std::string call, path, detail;  // "conv2d_forward", "conv1", "5x5"
  std::vector<PlanOperand> operands;
  double bytes = 0, flops = 0;
  Precision precision = Precision::fp32;
  int phase = 0;         // phases run one after the other
  bool by_pack = false;  // pack by pack of samples, together with its neighbours of the same phase
};

struct NORMA_API MemoryReport {
  std::array<std::size_t, region_count> bytes{};
  std::size_t activations_without_reuse = 0;
};

NORMA_API std::vector<PlanLine> describe(const Plan& plan);
NORMA_API MemoryReport memory(const Plan& plan);
// Lists for each Call the numbers of the Calls it must wait for, the latest first. It waits for a Call that touches its memory, if one of
// the two writes. A Call that another in the list waits for is left out.
NORMA_API std::vector<std::vector<int>> dependencies(const Plan& plan);
// A table: number, call, module path, shapes, offset, bytes moved, flops; then the memory report.
NORMA_API std::string print(const Plan& plan);

}  // namespace norma
