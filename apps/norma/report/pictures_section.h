// Sections of the report that show what the net makes of its data, and its first filters.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "apps/norma/draw/png.h"
#include "apps/norma/report/classification.h"
#include "norma/checkpoint.h"

namespace norma::app {

// The confusion matrix with recall and precision of each class; of many classes, their commonest confusions.
std::string confusion_section(const Classification& c);
// The mistakes of the largest loss, and the set's first samples, each with the net's prediction. Empty without samples.
std::string samples_section(const Classification& c);

// The filters of a model's first convolution, as images.
struct Filters {
  std::string layer;            // "conv1"
  std::int64_t count = 0;       // of the layer; images may be of fewer
  std::int64_t channels = 0;    // of a filter; an image shows all of them where there are 1 or 3, else the first one
  std::vector<Image> images;    // grey 128 is 0; each is scaled by its own largest weight
  std::vector<double> largest;  // of each image
};

// Nothing where the model has no convolution larger than 1 x 1, or a weight of the first is not finite.
std::optional<Filters> first_filters(const Checkpoint& model);
std::string filters_section(const Filters& f);

}  // namespace norma::app
