// The output of norma verify, and its final error.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "norma/verify.h"

namespace norma::app {

// A line for each kind of Call and backend, then the steps, then what is wrong. No line is wider than 80 columns but those.
std::string text(const VerifyReport& report);
nlohmann::ordered_json to_json(const VerifyReport& report);

// Throws Error(verification) naming what is wrong, unless the report passed.
void require_passed(const VerifyReport& report);

}  // namespace norma::app
