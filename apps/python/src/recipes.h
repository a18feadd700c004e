// Recipes for Python.
#pragma once
#include <nanobind/nanobind.h>

#include "apps/norma/recipe/recipe.h"

namespace norma::python {

namespace nb = nanobind;

void register_recipes(nb::module_& m);

}  // namespace norma::python
