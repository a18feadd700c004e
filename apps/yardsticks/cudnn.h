// The interface between `norma verify` and norma_cudnn.so. Only that module is linked against cuDNN and the CUDA runtime. It lies in the
// program's folder if both were found at build time. The two sides are built together: they share the Calls.
#pragma once
#include <cstddef>
#include <cstdint>

namespace norma {
struct PlanCall;  // src/plan/plan.h
}

extern "C" {

inline constexpr std::int32_t norma_cudnn_version = 1;

struct NormaCudnn {
  std::int32_t version;
  const char* library;  // "cuDNN 9.13.0"
  // Why it cannot be used on this GPU: "no CUDA device: ..."; null where it can.
  const char* (*unavailable)(std::int32_t gpu);
  // norma::OtherLibrary::run on that GPU; below 0: it failed, and `error` says why.
  std::int64_t (*run)(std::int32_t gpu, const norma::PlanCall* call, void* const* operands, char* error, std::size_t error_size);
};

const NormaCudnn* norma_cudnn();

}  // extern "C"
