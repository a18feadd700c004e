// Calls of the tables' cases on GPU 0: their memory goes there and comes back.
#pragma once
#include <cstdint>

#include "tests/cuda/device_bytes.h"
#include "tests/support/call_check.h"

namespace norma::test {

// Placement of a Call's values on the GPU.
enum class Placement : std::uint8_t {
  together,   // one block with the host's guards between them, so that check() sees what was written there
  apart,      // each in an allocation of exactly its bytes, and the workspace never written: what compute-sanitizer can watch
  unaligned,  // one element beyond an aligned address, as far as the type allows; opaque values are aligned
};

// Waits for the GPU. Throws norma::Error on a CUDA error, and where the workspace was exceeded (together).
RunCall on_gpu(const CallCase& c, Placement placement);

}  // namespace norma::test
