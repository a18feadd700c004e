// Modules that are made of others. Those that are a node of their own are in layers.cpp.
#include <map>

#include "norma/error.h"
#include "norma/graph.h"
#include "norma/module.h"
#include "norma/text.h"

namespace norma {

void Module::refuse_empty() { throw Error(ErrorKind::usage, "a module must be callable: this function is empty"); }

Value Module::operator()(Builder& b, Value x) const {
  if (!call_) b.fail("a module that was moved from gives nothing: use the one it was moved to");
  const Builder::Level level(b.calls_);
  const Value y = call_(b, x);
  b.check(y, "a module (" + kind_ + ") returns");
  return y;
}

namespace nn {

Value GlobalAvgPool2d::operator()(Builder& b, Value x) const {
  const Shape& s = b.shape(x);
  if (s.rank() != 4) b.fail("expects 4-d input, got " + to_string(s));
  return b.emit(AvgPool2d{.kernel = {s[2], s[3]}}, {x});
}

// Compilers do not agree whether Sequential{other} is a copy or a list of one child: it is a copy with all.
Sequential::Sequential(std::initializer_list<Child> children) : children_(children) {
  if (children_.size() != 1 || !children_[0].name.empty()) return;
  if (const auto* other = children_[0].module.call_.target<Sequential>()) children_ = std::vector<Child>(other->children_);
}

Value Sequential::operator()(Builder& b, Value x) const {
  std::map<std::string, int> count;
  std::map<std::string, std::size_t> named;  // number of the child, from 1
  for (const Child& child : children_) {
    const std::string& stem = child.module.kind();
    const int number = ++count[stem];
    const std::string name = child.name.empty() ? stem + std::to_string(number) : child.name;
    const auto [other, first] = named.emplace(name, named.size() + 1);
    if (!first)
      b.fail("two children are called \"" + printable(name) + "\", numbers " + std::to_string(other->second) + " and " +
             std::to_string(named.size() + 1) + " of a Sequential: give one another name");
    Builder::Scope scope{b, name};
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

}  // namespace nn
}  // namespace norma
