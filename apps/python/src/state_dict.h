// Models as dicts of arrays, as PyTorch's state_dict. Every function needs the interpreter's lock.
#pragma once
#include <nanobind/nanobind.h>

#include "norma/checkpoint.h"

namespace norma::python {

// Arrays that own the tensors' memory.
nanobind::dict dict_of(Checkpoint model);
// Copies the arrays: float32, and integers for counters.
Checkpoint checkpoint_of(const nanobind::dict& state);

}  // namespace norma::python
