// An ONNX graph under construction: every name is used once.
#pragma once
#include <onnx/onnx_pb.h>

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "norma/checkpoint.h"
#include "norma/shape.h"
#include "norma/types.h"

namespace norma {

struct OnnxAttribute {
  const char* name;
  std::variant<std::int64_t, float, std::vector<std::int64_t>, std::string> value;
};

// Text as protobuf takes it: bytes that are not UTF-8 become \xe9.
std::string onnx_text(const std::string& text);

class GraphWriter {
 public:
  explicit GraphWriter(::onnx::GraphProto& graph) : graph_(graph) {}

  // The wanted name, with a number behind it where it is taken.
  std::string claim(const std::string& wanted);

  // A value with its type and its shape, whose first dimension is "N".
  static void describe(::onnx::ValueInfoProto& value, const std::string& name, DType type, const Shape& shape);

  // Appends a node of one output. Inputs come before it.
  void node(const char* op, const std::string& name, const std::vector<std::string>& inputs, const std::string& output,
            const std::vector<OnnxAttribute>& attributes = {});

  // Appends a parameter, under its own name.
  void parameter(const StoredTensor& tensor);
  const std::string& parameter(const std::string& name) const { return parameters_.at(name); }

  // Each appends an initialiser and returns its name.
  std::string floats(const std::string& wanted, const std::vector<std::int64_t>& shape, std::span<const float> values);
  std::string filled(const std::string& wanted, const std::vector<std::int64_t>& shape, float value);
  std::string integers(const std::string& wanted, std::span<const std::int64_t> values);

 private:
  ::onnx::TensorProto& tensor(const std::string& name, const std::vector<std::int64_t>& shape, std::span<const std::byte> bytes);

  ::onnx::GraphProto& graph_;
  std::set<std::string> names_;
  std::map<std::string, std::string> parameters_;  // by their name in the model
};

}  // namespace norma
