// The interface between `norma export` and norma_onnx.so. Only that module is linked against ONNX and protobuf. It lies in the program's
// folder, or where modules are installed, if both were found at build time. The two sides are built together: they share norma's types.
#pragma once
#include <cstdint>
#include <string>

#include "norma/onnx.h"

extern "C" {

inline constexpr std::int32_t norma_onnx_version = 1;

struct NormaOnnx {
  std::int32_t version;
  const char* library;  // "ONNX 1.12.0"
  // norma::make_onnx. Returns 0, or the number of the ErrorKind that it threw, with its words in `error`: exceptions stay on their side.
  std::int32_t (*make)(const norma::Graph* graph, const norma::Checkpoint* model, const norma::OnnxOptions* options,
                       norma::OnnxModel* written, std::string* error);
};

const NormaOnnx* norma_onnx();

}  // extern "C"
