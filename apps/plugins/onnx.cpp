// ONNX for `norma export`: norma_onnx.so.
#include "apps/plugins/onnx.h"

#include <onnx/common/version.h>

#include <exception>
#include <string>

#include "norma/error.h"

namespace {

std::int32_t make(const norma::Graph* graph, const norma::Checkpoint* model, const norma::OnnxOptions* options, norma::OnnxModel* written,
                  std::string* error) {
  try {
    *written = norma::make_onnx(*graph, *model, *options);
    return 0;
  } catch (const norma::Error& e) {
    *error = e.what();
    return e.exit_code();
  } catch (const std::exception& e) {
    *error = e.what();
    return static_cast<std::int32_t>(norma::ErrorKind::failure);
  }
}

}  // namespace

extern "C" const NormaOnnx* norma_onnx() {
  static const std::string name = std::string("ONNX ") + ::onnx::LAST_RELEASE_VERSION;
  static const NormaOnnx table{norma_onnx_version, name.c_str(), make};
  return &table;
}
