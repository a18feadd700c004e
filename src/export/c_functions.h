// The C of each kind of layer.
#pragma once
#include <set>
#include <string>
#include <string_view>

#include "norma/c_source.h"

namespace norma {

// Names of all functions that a file may have.
std::set<std::string> c_function_names();

// The functions of these names and those that they call, each with `prefix` before its name. weights: the type in which they read weights;
// bytes: samples are bytes.
std::string c_functions(const std::set<std::string>& names, const std::string& prefix, CWeights weights, bool bytes);

// True where one of them needs <math.h>.
bool needs_math(const std::set<std::string>& names);

}  // namespace norma
