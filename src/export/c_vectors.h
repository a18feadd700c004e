// The program in a C file that compares it with norma.
#pragma once
#include <string>

#include "norma/c_source.h"

namespace norma {

// Runs source.net with source.model, and where `exact` is given also with these weights, which the written ones are rounded from.
// Throws as Predictor.
std::string test_program(const CSource& source, const CSourceOptions& options, const Checkpoint* exact);

}  // namespace norma
