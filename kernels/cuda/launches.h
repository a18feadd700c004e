// launch()'s launches, as data. Host code: nothing of CUDA is included here.
#pragma once
#include <cstdint>

namespace norma::kernels::cuda {

// One kernel on a queue; in a captured Plan a node of the graph.
struct Launch {
  const void* kernel = nullptr;  // the __global__ function
  std::int64_t blocks = 0;
  int threads = 0;  // of a block
  bool cooperative = false;

  friend bool operator==(const Launch&, const Launch&) = default;
};

// Returns true if the calling thread is inside launches(). The launch is then noted and must not be made.
bool noted(const Launch& launch);
bool is_noting();

}  // namespace norma::kernels::cuda
