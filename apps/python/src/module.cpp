// norma._core: the library, and the program's recipes, for the package norma, whose classes say what is documented.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "callbacks.h"
#include "data.h"
#include "modules.h"
#include "nets.h"
#include "norma/norma.h"
#include "options.h"
#include "recipes.h"

NB_MODULE(_core, m) {
  using namespace norma::python;
  nanobind::set_leak_warnings(false);  // objects that are alive at the end of the interpreter are the program's own
  m.attr("version") = norma::version;
  register_errors();
  register_options(m);
  register_nets(m);
  register_results(m);
  register_trainer(m);
  register_predictor(m);
  register_data(m);
  register_recipes(m);
  m.def("cpu_isa_levels", &norma::cpu_isa_levels);
  m.def("usable_cores", &norma::usable_cores);
  m.def("best_device", [] { return norma::to_string(norma::Device::best()) + ": " + norma::best_device_reason(); });
}
