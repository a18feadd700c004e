// Predictor: a trained net that many threads of Python may ask at once.
#include "norma/predictor.h"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdint>

#include "modules.h"
#include "options.h"
#include "state_dict.h"

namespace norma::python {
namespace {

struct Asked {
  Predictor predictor;
  SampleType type;

  nb::object predict(nb::handle x, nb::handle out) const {
    const Samples s = samples_of(x, nb::none(), "x", type);
    Shape shape = predictor.output().prepend(s.view.size());
    if (out.is_none()) {
      std::vector<float> values;
      {
        const nb::gil_scoped_release others;
        values = type.stored == DType::f32 ? predictor.predict(s.view.floats) : predictor.predict(s.view.bytes);
      }
      return nb::cast(give(std::move(values), sizes_of(shape)));
    }
    nb::ndarray<float, nb::c_contig, nb::device::cpu> into;
    if (!nb::try_cast(out, into, false))
      throw nb::type_error("out must be a writable, contiguous array of float32 on the CPU: call numpy.empty(shape, dtype='float32')");
    bool fits = into.ndim() == static_cast<std::size_t>(shape.rank());
    for (int i = 0; fits && i < shape.rank(); ++i) fits = static_cast<std::int64_t>(into.shape(static_cast<std::size_t>(i))) == shape[i];
    if (!fits) throw Error(ErrorKind::usage, "out has another shape than the outputs, " + to_string(shape));
    const auto begin = [](const auto& span) { return reinterpret_cast<std::uintptr_t>(span.data()); };
    const std::uintptr_t x_begin = s.view.bytes.empty() ? begin(s.view.floats) : begin(s.view.bytes);
    const std::uintptr_t x_end = x_begin + s.view.bytes.size_bytes() + s.view.floats.size_bytes();
    const auto out_begin = reinterpret_cast<std::uintptr_t>(into.data());
    if (out_begin < x_end && x_begin < out_begin + into.size() * sizeof(float))
      throw Error(ErrorKind::usage, "out shares memory with x: give it an array of its own");
    {
      const nb::gil_scoped_release others;
      const std::span<float> outputs(into.data(), into.size());
      if (type.stored == DType::f32) predictor.predict(s.view.floats, outputs);
      else predictor.predict(s.view.bytes, outputs);
    }
    return nb::borrow(out);
  }
};

}  // namespace

void register_predictor(nb::module_& m) {
  nb::class_<Asked>(m, "Predictor")
      .def("predict", &Asked::predict, nb::arg("x").none(), nb::arg("out").none())
      .def_prop_ro("input", [](const Asked& a) { return tuple_of(a.predictor.input()); })
      .def_prop_ro("output", [](const Asked& a) { return tuple_of(a.predictor.output()); })
      .def_prop_ro("dtype", [](const Asked& a) { return a.type.stored == DType::u8 ? "uint8" : "float32"; })
      .def_prop_ro("classes", [](const Asked& a) { return a.predictor.classes(); })
      .def_prop_ro("notes", [](const Asked& a) { return a.predictor.notes(); });
  m.def(
      "load_predictor",
      [](const std::filesystem::path& model, const nb::dict& library) {
        PredictorOptions options = predictor_options(nb::none(), {}, library);
        Predictor p = Predictor::load(model, options);
        return Asked{p, {p.input(), p.sample_type()}};
      },
      nb::arg("model"), nb::arg("library"));
  m.def(
      "make_predictor",
      [](const Module& net, const nb::dict& state, const nb::object& input, const nb::dict& data, const nb::dict& library) {
        const PredictorOptions options = predictor_options(input, data, library);
        return Asked{Predictor(net, checkpoint_of(state), options), sample_type(options.input, options.sample_type)};
      },
      nb::arg("net"), nb::arg("state_dict"), nb::arg("input"), nb::arg("data"), nb::arg("library"));
}

}  // namespace norma::python
