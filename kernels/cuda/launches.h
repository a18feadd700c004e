// launch()'s launches, as data. Host code: nothing of CUDA is included here.
#pragma once
#include <cstdint>
#include <typeinfo>

namespace norma::kernels::cuda {

// A __global__ function and its name, for launch().
template <class... Parameters>
struct Kernel {
  void (*function)(Parameters...) = nullptr;
  const char* name = "";  // mangled: NameOf<&function>
};

template <auto function>
struct NameOf {};

template <class... Parameters>
Kernel<Parameters...> with_name(void (*function)(Parameters...), const char* name) {
  return {function, name};
}

// The compiler spells the name. It is there without a driver, which cudaFuncGetName needs, and ptxas reports on the same name.
template <auto function>
auto named() {
  return with_name(function, typeid(NameOf<function>).name());
}

// One kernel on a queue; in a captured Plan a node of the graph.
struct Launch {
  const char* kernel = "";  // its mangled name
  std::int64_t blocks = 0;
  int threads = 0;  // of a block
  bool cooperative = false;
};

// Returns true if the calling thread is inside launches(). The launch is then noted and must not be made.
bool noted(const Launch& launch);
bool is_noting();

}  // namespace norma::kernels::cuda
