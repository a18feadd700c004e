// Data sets for Python.
#pragma once
#include <nanobind/nanobind.h>

#include "norma/dataset.h"

namespace norma::python {

namespace nb = nanobind;

// ((x, y, classes, name), (x, y, classes, name), source): training, test. Needs the interpreter's lock.
nb::tuple tuple_of(DatasetPair pair);

void register_data(nb::module_& m);

}  // namespace norma::python
