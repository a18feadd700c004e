#include "src/onnx/transform_writer.h"

#include <algorithm>
#include <vector>

#include "src/data/affine.h"
#include "src/export/resize_filter.h"

namespace norma {
namespace {

// Weights of a resize, [to][from]. Opset 17 has no operator that is antialiased.
std::vector<float> resize_matrix(std::int64_t from, std::int64_t to) {
  const ResizeFilter filter = resize_filter(from, to);
  std::vector<float> all(static_cast<std::size_t>(from * to));
  for (std::int64_t i = 0; i < to; ++i)
    for (std::int64_t k = 0; k < filter.taps; ++k)
      all[static_cast<std::size_t>(i * from + filter.first[static_cast<std::size_t>(i)] + k)] =
          filter.weights[static_cast<std::size_t>(i * filter.taps + k)];
  return all;
}

std::vector<float> transposed(const std::vector<float>& matrix, std::int64_t rows) {
  std::vector<float> all(matrix.size());
  const auto r = static_cast<std::size_t>(rows), c = matrix.size() / r;
  for (std::size_t i = 0; i < matrix.size(); ++i) all[i % c * r + i / c] = matrix[i];
  return all;
}

}  // namespace

std::string write_transform(GraphWriter& out, const ModelInput& input, const std::string& x) {
  std::string value = x;
  const auto step = [&](const char* op, const std::vector<std::string>& inputs, const std::vector<OnnxAttribute>& attributes = {}) {
    value = out.claim(std::string("transform/") + op);
    out.node(op, value, inputs, value, attributes);
  };
  const Shape& sample = input.sample;
  const Affine affine(input.transform, sample[0], input.stored);
  const std::vector<std::int64_t> shape =
      sample.rank() == 3 ? std::vector<std::int64_t>{sample[0], 1, 1} : std::vector<std::int64_t>{sample[0]};
  if (input.stored == DType::u8) step("Cast", {x}, {{"to", std::int64_t{::onnx::TensorProto::FLOAT}}});
  if (std::ranges::any_of(affine.scale, [](float v) { return v != 1; }))
    step("Mul", {value, out.floats("transform.scale", shape, affine.scale)});
  if (std::ranges::any_of(affine.offset, [](float v) { return v != 0; }))
    step("Add", {value, out.floats("transform.offset", shape, affine.offset)});
  if (const std::optional<Size2>& size = input.transform.resize; size && !(*size == Size2(sample[1], sample[2]))) {
    const std::vector<float> rows = resize_matrix(sample[1], size->h);
    const std::vector<float> columns = transposed(resize_matrix(sample[2], size->w), size->w);
    step("MatMul", {value, out.floats("transform.columns", {sample[2], size->w}, columns)});
    step("MatMul", {out.floats("transform.rows", {size->h, sample[1]}, rows), value});
  }
  return value;
}

}  // namespace norma
