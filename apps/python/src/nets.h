// Modules and nets of Python.
#pragma once
#include <nanobind/nanobind.h>

#include <memory>
#include <string>
#include <vector>

#include "norma/graph.h"
#include "norma/module.h"

namespace norma::python {

namespace nb = nanobind;

// The Builder that a net of Python sees. It can be kept, but not used, beyond the call that got it.
class LentBuilder {
 public:
  explicit LentBuilder(Builder& b) : builder_(&b) {}
  LentBuilder(LentBuilder&&) = default;
  Builder& get() const;
  void enter(const std::string& name);
  void leave();
  void take_back();

 private:
  Builder* builder_;
  std::vector<std::unique_ptr<Builder::Scope>> scopes_;
};

void register_nets(nb::module_& m);

}  // namespace norma::python
