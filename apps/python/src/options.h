// Options of Python, read by the program's table of a recipe's fields (apps/norma/recipe/fields.h). It has their ranges, so that a layer
// of Python refuses what a layer of a recipe refuses, in the same words.
#pragma once
#include <nanobind/nanobind.h>

#include <string>

#include "arrays.h"
#include "norma/module.h"
#include "norma/predictor.h"
#include "norma/trainer.h"

namespace norma::python {

// A layer by its type in recipes, and its options. who: begins messages; names: the options' names in Python, where they are others.
Module layer(const std::string& type, const nb::dict& options, const std::string& who, const nb::dict& names);

// Throws Error(usage) for options that a section of a recipe refuses: "optimizer", "schedule", "loss", "group", "data".
void check_section(const std::string& section, const nb::dict& options, const std::string& who, const nb::dict& names);

// sections: "train", "device", "data", "optimizer", "schedule", "loss", as in recipes; "library": what recipes have not.
TrainerOptions trainer_options(const nb::object& input, const nb::dict& sections);
PredictorOptions predictor_options(const nb::object& input, const nb::dict& data, const nb::dict& library);

Shape shape_of(const nb::object& input);
// The samples that such options stand for.
SampleType sample_type(const Shape& input, const std::optional<DType>& stored);

// A value as TOML.
std::string toml_text(nb::handle value);

void register_options(nb::module_& m);

}  // namespace norma::python
