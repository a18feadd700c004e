// Sections of the report that show what the net makes of its data.
#pragma once
#include <string>

#include "apps/norma/report/classification.h"

namespace norma::app {

// The confusion matrix with recall and precision of each class; of many classes, their commonest confusions.
std::string confusion_section(const Classification& c);
// The mistakes of the largest loss, and the set's first samples, each with the net's prediction. Empty without samples.
std::string samples_section(const Classification& c);
std::string filters_section(const Filters& f);

}  // namespace norma::app
