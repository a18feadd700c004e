#include "state_dict.h"

#include <nanobind/stl/string.h>

#include "arrays.h"

namespace norma::python {

nb::dict dict_of(Checkpoint model) {
  nb::dict all;
  for (StoredTensor& t : model.tensors) {
    const nb::str name(t.name.c_str());
    all[name] = give(std::move(t.bytes), t.dtype, t.shape);
  }
  return all;
}

Checkpoint checkpoint_of(const nb::dict& state) {
  Checkpoint model;
  for (const auto& [k, v] : state) {
    if (!nb::isinstance<nb::str>(k)) throw nb::type_error("the keys of a state_dict are names, such as \"conv1.weight\"");
    const std::string name = nb::cast<std::string>(k);
    const Array a = array_of(v, name);
    const std::vector<std::int64_t> shape(a.shape_ptr(), a.shape_ptr() + a.ndim());
    if (a.dtype() == nb::dtype<std::int64_t>())
      model.tensors.push_back(StoredTensor::from(name, shape, std::span(static_cast<const std::int64_t*>(a.data()), a.size())));
    else model.tensors.push_back(StoredTensor::from(name, shape, floats_of(a, name)));
  }
  return model;
}

}  // namespace norma::python
