// A comparison's results for a reader: a table for the terminal; report.html and comparison.svg.
#pragma once
#include <string>

#include "apps/norma/compare/verdict.h"

namespace norma::app {

// A line a variant: its fields, mean and spread of its measure, of the test accuracy and of the train loss. Then the seeds it won and the
// runs that diverged.
std::string comparison_table(const Results& results);

// report.html and comparison.svg.
std::string comparison_html(const Results& results, const Verdict& verdict);
std::string comparison_svg(const Results& results, const Verdict& verdict);

}  // namespace norma::app
