#include "nets.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <iterator>
#include <optional>
#include <utility>

#include "arrays.h"
#include "callbacks.h"
#include "norma/error.h"
#include "norma/text.h"

namespace norma::python {
namespace {

// A net that is a function of Python, of a builder and a value.
struct Function {
  std::string kind;
  Shared function;

  Value operator()(Builder& b, Value x) const {
    const nb::gil_scoped_acquire lock;
    const nb::object lent = nb::cast(LentBuilder(b), nb::rv_policy::move);
    struct Back {
      LentBuilder& of;
      ~Back() { of.take_back(); }
    } back{nb::cast<LentBuilder&>(lent)};
    const nb::object result = (*function)(lent, x);
    Value value;
    if (!nb::try_cast(result, value, false)) {
      const std::string got = nb::type_name(result.type()).c_str();
      throw nb::type_error(("a net must return a Value of its builder, got " + got).c_str());
    }
    return value;
  }
};

// Leaves the part of the path that it entered.
class Scope {
 public:
  Scope(nb::object builder, std::string name) : builder_(std::move(builder)), name_(std::move(name)) {}
  nb::object enter() {
    nb::cast<LentBuilder&>(builder_).enter(name_);
    return builder_;
  }
  void exit(const nb::args&) { nb::cast<LentBuilder&>(builder_).leave(); }

 private:
  nb::object builder_;
  std::string name_;
};

Value activation(LentBuilder& b, const std::string& name, Value x, std::optional<double> option) {
  std::vector<std::string> known;
  for (const ActivationTraits& t : activation_table) {
    if (name == t.name) return b.get().activation(t.act, x, option.value_or(t.standard));
    known.emplace_back(t.name);
  }
  throw Error(ErrorKind::usage, "no activation is called \"" + printable(name) + "\"" + did_you_mean(name, known));
}

Module sequential(const std::vector<std::pair<std::string, Module>>& children) {
  nn::Sequential net;
  for (const auto& [name, module] : children) net.append({name, module});
  return net;
}

}  // namespace

Builder& LentBuilder::get() const {
  if (!builder_) throw Error(ErrorKind::usage, "a builder is good within the call of its net alone, and this call has ended");
  return *builder_;
}

void LentBuilder::enter(const std::string& name) { scopes_.push_back(std::make_unique<Builder::Scope>(get(), name)); }

void LentBuilder::leave() {
  if (!scopes_.empty()) scopes_.pop_back();
}

void LentBuilder::take_back() {
  while (!scopes_.empty()) scopes_.pop_back();
  builder_ = nullptr;
}

void register_nets(nb::module_& m) {
  nb::class_<Value>(m, "Value", "The output of a module, while a net is built.");
  nb::class_<LentBuilder>(m, "Builder", "Builds the net of a function (builder, x). It knows shapes, never data.")
      .def(
          "shape", [](const LentBuilder& b, Value x) { return tuple_of(b.get().shape(x)); }, nb::arg("x"), "Its shape, with the batch.",
          nb::sig("def shape(self, x: Value) -> tuple[int, ...]"))
      .def(
          "add", [](LentBuilder& b, Value x, Value y) { return b.get().add(x, y); }, nb::arg("x"), nb::arg("y"),
          "The sum of two values of one shape.")
      .def("activation", &activation, nb::arg("name"), nb::arg("x"), nb::arg("option") = nb::none(), "Any activation by its name.")
      .def(
          "scope", [](nb::object b, std::string name) { return Scope(std::move(b), std::move(name)); }, nb::arg("name"),
          "A part of the path of the modules called in `with builder.scope(name):`.", nb::sig("def scope(self, name: str) -> Scope"))
      .def_prop_ro("path", [](const LentBuilder& b) { return b.get().path(); });
  nb::class_<Scope>(m, "Scope")
      .def("__enter__", &Scope::enter, nb::sig("def __enter__(self) -> Builder"))
      .def("__exit__", &Scope::exit, nb::sig("def __exit__(self, *args: object) -> None"));
  nb::class_<Module>(m, "Module")
      .def_prop_ro("kind", [](const Module& module) { return module.kind(); })
      .def(
          "__call__", [](const Module& module, LentBuilder& b, Value x) { return module(b.get(), x); }, nb::arg("builder"), nb::arg("x"));
  m.def("sequential", &sequential, nb::arg("children"));
  m.def(
      "residual",
      [](const Module& body, std::optional<Module> projection) {
        return Module(nn::Residual{.body = body, .projection = std::move(projection)});
      },
      nb::arg("body"), nb::arg("projection").none());
  m.def(
      "function",
      [](nb::callable f, std::string kind) {
        return Module(Function{std::move(kind), Shared(nb::object(std::move(f)))});
      },
      nb::arg("function"), nb::arg("kind"));
  m.def(
      "print_graph",
      [](const Module& module, const std::vector<std::int64_t>& shape) {
        if (shape.size() != 2 && shape.size() != 4)
          throw Error(ErrorKind::usage, "a net's input is (N, C, H, W) or (N, F), got " + std::to_string(shape.size()) + " dimensions");
        Shape input = shape.size() == 2 ? Shape{shape[0], shape[1]} : Shape{shape[0], shape[1], shape[2], shape[3]};
        return trace(module, input).print();
      },
      nb::arg("module"), nb::arg("shape"));
}

}  // namespace norma::python
