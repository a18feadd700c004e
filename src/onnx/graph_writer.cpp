#include "src/onnx/graph_writer.h"

#include "norma/text.h"

namespace norma {
namespace {

struct AttributeValue {
  ::onnx::AttributeProto& to;
  void operator()(std::int64_t v) const { to.set_type(::onnx::AttributeProto::INT), to.set_i(v); }
  void operator()(float v) const { to.set_type(::onnx::AttributeProto::FLOAT), to.set_f(v); }
  void operator()(const std::string& v) const { to.set_type(::onnx::AttributeProto::STRING), to.set_s(v); }
  void operator()(const std::vector<std::int64_t>& v) const {
    to.set_type(::onnx::AttributeProto::INTS);
    for (const std::int64_t i : v) to.add_ints(i);
  }
};

}  // namespace

std::string onnx_text(const std::string& text) { return is_utf8(text) ? text : printable(text); }

std::string GraphWriter::claim(const std::string& wanted) {
  const std::string text = onnx_text(wanted);
  std::string name = text;
  for (int i = 2; !names_.insert(name).second; ++i) name = text + "_" + std::to_string(i);
  return name;
}

void GraphWriter::describe(::onnx::ValueInfoProto& value, const std::string& name, DType type, const Shape& shape) {
  value.set_name(name);
  ::onnx::TypeProto::Tensor& tensor = *value.mutable_type()->mutable_tensor_type();
  tensor.set_elem_type(type == DType::u8 ? ::onnx::TensorProto::UINT8 : ::onnx::TensorProto::FLOAT);
  ::onnx::TensorShapeProto& dims = *tensor.mutable_shape();
  dims.add_dim()->set_dim_param("N");
  for (int i = 1; i < shape.rank(); ++i) dims.add_dim()->set_dim_value(shape[i]);
}

void GraphWriter::node(const char* op, const std::string& name, const std::vector<std::string>& inputs, const std::string& output,
                       const std::vector<OnnxAttribute>& attributes) {
  ::onnx::NodeProto& node = *graph_.add_node();
  node.set_op_type(op);
  node.set_name(name);
  for (const std::string& input : inputs) node.add_input(input);
  node.add_output(output);
  for (const OnnxAttribute& a : attributes) {
    ::onnx::AttributeProto& to = *node.add_attribute();
    to.set_name(a.name);
    std::visit(AttributeValue{to}, a.value);
  }
}

::onnx::TensorProto& GraphWriter::tensor(const std::string& name, const std::vector<std::int64_t>& shape,
                                         std::span<const std::byte> bytes) {
  ::onnx::TensorProto& t = *graph_.add_initializer();
  t.set_name(name);
  for (const std::int64_t d : shape) t.add_dims(d);
  t.set_data_type(::onnx::TensorProto::FLOAT);
  t.set_raw_data(bytes.data(), bytes.size());
  return t;
}

void GraphWriter::parameter(const StoredTensor& t) {
  const std::string name = claim(t.name);
  tensor(name, t.shape, t.bytes);
  parameters_[t.name] = name;
}

std::string GraphWriter::floats(const std::string& wanted, const std::vector<std::int64_t>& shape, std::span<const float> values) {
  return tensor(claim(wanted), shape, std::as_bytes(values)).name();
}

std::string GraphWriter::filled(const std::string& wanted, const std::vector<std::int64_t>& shape, float value) {
  std::size_t count = 1;
  for (const std::int64_t d : shape) count *= static_cast<std::size_t>(d);
  return floats(wanted, shape, std::vector<float>(count, value));
}

std::string GraphWriter::integers(const std::string& wanted, std::span<const std::int64_t> values) {
  ::onnx::TensorProto& t = tensor(claim(wanted), {static_cast<std::int64_t>(values.size())}, std::as_bytes(values));
  t.set_data_type(::onnx::TensorProto::INT64);
  return t.name();
}

}  // namespace norma
