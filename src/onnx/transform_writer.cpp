#include "src/onnx/transform_writer.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "src/data/affine.h"

namespace norma {
namespace {

// Weights [to][from] of a bilinear resize that is antialiased, as kernels/calls/batch.h says. Opset 17 has no such operator.
std::vector<double> resize_matrix(std::int64_t from, std::int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to), support = std::max(scale, 1.0);
  std::vector<double> weights;
  for (std::int64_t i = 0; i < to; ++i) {
    double sum = 0;
    for (std::int64_t j = 0; j < from; ++j) {
      const double distance = static_cast<double>(j) + 0.5 - (static_cast<double>(i) + 0.5) * scale;
      weights.push_back(std::max(0.0, 1 - std::abs(distance) / support));
      sum += weights.back();
    }
    for (auto w = weights.end() - from; w != weights.end(); ++w) *w /= sum;
  }
  return weights;
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
    const std::vector<double> rows = resize_matrix(sample[1], size->h), columns = resize_matrix(sample[2], size->w);
    std::vector<float> down(rows.begin(), rows.end()), across(columns.size());
    for (std::int64_t i = 0; i < size->w; ++i)
      for (std::int64_t j = 0; j < sample[2]; ++j)
        across[static_cast<std::size_t>(j * size->w + i)] = static_cast<float>(columns[static_cast<std::size_t>(i * sample[2] + j)]);
    step("MatMul", {value, out.floats("transform.columns", {sample[2], size->w}, across)});
    step("MatMul", {out.floats("transform.rows", {size->h, sample[1]}, down), value});
  }
  return value;
}

}  // namespace norma
