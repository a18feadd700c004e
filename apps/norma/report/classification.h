// A net's results on a data set of classes: its confusions and its worst mistakes.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/norma/draw/png.h"
#include "norma/trainer.h"

namespace norma::app {

// One class a net's output: probabilities, the softmax of its outputs, where it was trained by cross entropy; else its outputs.
std::vector<double> class_scores(std::span<const float> outputs, bool probabilities);

struct Classification {
  struct Shown {
    std::int64_t sample = 0;
    std::int32_t label = 0, predicted = 0;
    double score = 0, label_score = 0;  // of the class predicted, of the true one
    double loss = 0;
    Image image;
  };
  std::string data;                  // "mnist/test"
  std::vector<std::string> classes;  // one an output of the net
  bool probabilities = true;         // what scores are
  std::vector<std::int64_t> counts;  // [label][predicted]
  std::vector<Shown> first, worst;   // samples in the set's order, mistakes of the largest loss first; none where samples are no images

  std::int64_t count(std::size_t label, std::size_t predicted) const { return counts[label * classes.size() + predicted]; }
};

// One evaluation of `data`. Nothing where that is empty, or an output is not finite.
std::optional<Classification> classification_of(const Dataset& data, Trainer& trainer, bool probabilities);

// Sample number `index` of images (1,H,W) or (3,H,W), shrunk by a whole number so that no side is longer than `most`.
Image sample_image(const Dataset& data, std::int64_t index, std::int64_t most);

}  // namespace norma::app
