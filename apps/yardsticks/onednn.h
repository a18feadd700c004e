// The interface between `norma bench ops` and norma_onednn.so. Only that module is linked against oneDNN. It lies in the program's folder
// if oneDNN was found at build time. Plain C types: the two sides are loaded together, not compiled together.
#pragma once
#include <cstddef>
#include <cstdint>

extern "C" {

inline constexpr std::int32_t norma_onednn_version = 1;

enum NormaOnednnKind : std::int32_t { norma_onednn_convolution = 0, norma_onednn_inner_product = 1 };
enum NormaOnednnPass : std::int32_t { norma_onednn_forward = 0, norma_onednn_backward_input = 1, norma_onednn_backward_weight = 2 };

// (n,c,h,w) -> (n,filters,...); an inner product takes h = w = 1.
struct NormaOnednnShape {
  std::int32_t kind;
  std::int64_t n, c, h, w, filters, kernel, stride, padding;
  std::int32_t bias;
  std::int32_t winograd;  // of a convolution: 0 the direct algorithm, 1 whichever oneDNN prefers, direct or Winograd's
};

// Tensors in NCHW and [filters][c][kernel][kernel]; null where a pass does not read them.
struct NormaOnednnData {
  const float *x, *weight, *bias, *dy;
};

struct NormaOnednn {
  std::int32_t version;
  const char* library;  // "oneDNN 2.6.3"
  // One pass with every tensor in the layout oneDNN itself chooses, reordered here; it computes in fp32. null: `error` says why.
  void* (*create)(const NormaOnednnShape* shape, std::int32_t pass, std::int32_t threads, const NormaOnednnData* data, char* error,
                  std::size_t error_size);
  double (*run)(void* operation);  // seconds; below 0: it failed
  // y, dx or dw in the layouts of NormaOnednnData; 0 where it failed.
  std::int32_t (*read)(void* operation, float* result);
  const char* (*implementation)(void* operation);  // "brgconv:avx512_core"
  void (*destroy)(void* operation);
};

const NormaOnednn* norma_onednn();

}  // extern "C"
