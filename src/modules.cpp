// What each module writes into the graph. Options are checked, and shapes inferred, by Builder::emit.
#include <map>

#include "norma/graph.h"
#include "norma/module.h"

namespace norma::nn {

Value Conv2d::operator()(Builder& b, Value x) const { return b.emit(*this, {x}); }
Value Linear::operator()(Builder& b, Value x) const { return b.emit(*this, {x}); }
Value BatchNorm::operator()(Builder& b, Value x) const { return b.emit(BatchNormNode{.options = *this}, {x}); }
Value LayerNorm::operator()(Builder& b, Value x) const { return b.emit(*this, {x}); }
Value InstanceNorm::operator()(Builder& b, Value x) const { return b.emit(*this, {x}); }
Value GroupNorm::operator()(Builder& b, Value x) const { return b.emit(*this, {x}); }
Value MaxPool2d::operator()(Builder& b, Value x) const { return b.emit(*this, {x}); }
Value AvgPool2d::operator()(Builder& b, Value x) const { return b.emit(*this, {x}); }
Value ReLU::operator()(Builder& b, Value x) const { return b.activation(Activation::relu, x); }
Value Sigmoid::operator()(Builder& b, Value x) const { return b.activation(Activation::sigmoid, x); }
Value Tanh::operator()(Builder& b, Value x) const { return b.activation(Activation::tanh, x); }
Value Dropout::operator()(Builder& b, Value x) const { return b.emit(*this, {x}); }
Value Flatten::operator()(Builder& b, Value x) const { return b.emit(FlattenNode{}, {x}); }

Value GlobalAvgPool2d::operator()(Builder& b, Value x) const {
  const Shape& s = b.shape(x);
  if (s.rank() != 4) b.fail("expects 4-d input, got " + to_string(s));
  return b.emit(AvgPool2d{.kernel = {s[2], s[3]}}, {x});
}

Value Sequential::operator()(Builder& b, Value x) const {
  std::map<std::string, int> count;
  for (const Child& child : children_) {
    const std::string& stem = child.module.kind();
    const int number = ++count[stem];
    Builder::Scope scope{b, child.name.empty() ? stem + std::to_string(number) : child.name};
    x = child.module(b, x);
  }
  return x;
}

Value Residual::operator()(Builder& b, Value x) const {
  Value y = x, shortcut = x;
  {
    Builder::Scope scope{b, "body"};
    y = body(b, x);
  }
  if (projection) {
    Builder::Scope scope{b, "projection"};
    shortcut = (*projection)(b, x);
  }
  return b.add(y, shortcut);
}

}  // namespace norma::nn
