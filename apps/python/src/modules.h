// The parts of norma._core.
#pragma once
#include <nanobind/nanobind.h>

namespace norma::python {

void register_trainer(nanobind::module_& m);
void register_results(nanobind::module_& m);
void register_predictor(nanobind::module_& m);

}  // namespace norma::python
