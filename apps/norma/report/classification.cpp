#include "apps/norma/report/classification.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "norma/error.h"

namespace norma::app {
namespace {

constexpr std::size_t shown_first = 20, shown_worst = 20;
constexpr std::int64_t picture_side = 64;  // of a sample, at most: a page stays small

// Loss of one sample, as the trainer counts it, but without label smoothing and a sum over the batch.
double loss_of(std::span<const float> outputs, const std::vector<double>& scores, std::size_t label, bool probabilities) {
  double sum = 0;
  if (probabilities) {  // log sum exp - y[label]: exact where the probability is 0 as a double
    const double largest = *std::ranges::max_element(outputs);
    for (const float y : outputs) sum += std::exp(static_cast<double>(y) - largest);
    return largest + std::log(sum) - static_cast<double>(outputs[label]);
  }
  for (std::size_t c = 0; c < scores.size(); ++c) {
    const double off = scores[c] - (c == label ? 1 : 0);
    sum += off * off;
  }
  return sum / static_cast<double>(scores.size());
}

bool are_images(const Dataset& data) {
  return data.sample.rank() == 3 && (data.sample[0] == 1 || data.sample[0] == 3) && !data.bytes.empty();
}

}  // namespace

std::vector<double> class_scores(std::span<const float> outputs, bool probabilities) {
  std::vector<double> scores(outputs.begin(), outputs.end());
  if (!probabilities || scores.empty()) return scores;
  const double largest = *std::ranges::max_element(scores);
  double sum = 0;
  for (double& s : scores) sum += s = std::exp(s - largest);
  for (double& s : scores) s /= sum;
  return scores;
}

std::optional<Classification> classification_of(const Dataset& data, Trainer& trainer, bool probabilities) {
  if (data.labels.empty()) return {};
  const std::vector<float> all = [&] {
    try {
      return trainer.predict(data);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::diverged) throw;
      return std::vector<float>{};
    }
  }();
  if (all.empty()) return {};
  const std::size_t n = all.size() / data.labels.size();  // outputs of a sample
  Classification c;
  c.data = data.name;
  c.probabilities = probabilities;
  for (std::size_t i = 0; i < n; ++i) c.classes.push_back(i < data.classes.size() ? data.classes[i] : std::to_string(i));
  c.counts.assign(n * n, 0);
  for (std::size_t i = 0; i < data.labels.size(); ++i) {
    const std::span<const float> outputs(all.data() + i * n, n);
    const auto label = static_cast<std::size_t>(data.labels[i]);
    if (label >= n) continue;  // one that the loss ignores
    const std::size_t predicted = static_cast<std::size_t>(std::ranges::max_element(outputs) - outputs.begin());
    ++c.counts[label * n + predicted];
    if (i >= shown_first && predicted == label) continue;
    const std::vector<double> scores = class_scores(outputs, probabilities);
    const Classification::Shown shown{static_cast<std::int64_t>(i),
                                      data.labels[i],
                                      static_cast<std::int32_t>(predicted),
                                      scores[predicted],
                                      scores[label],
                                      loss_of(outputs, scores, label, probabilities),
                                      {}};
    if (i < shown_first) c.first.push_back(shown);
    if (predicted != label) c.worst.push_back(shown);
  }
  std::ranges::stable_sort(c.worst, std::greater<>(), &Classification::Shown::loss);
  c.worst.resize(std::min(c.worst.size(), shown_worst));
  if (!are_images(data)) c.first.clear(), c.worst.clear();
  for (std::vector<Classification::Shown>* list : {&c.first, &c.worst})
    for (Classification::Shown& s : *list) s.image = sample_image(data, s.sample, picture_side);
  return c;
}

Image sample_image(const Dataset& data, std::int64_t index, std::int64_t most) {
  const std::int64_t channels = data.sample[0], h = data.sample[1], w = data.sample[2];
  const std::int64_t step = (std::max(h, w) + most - 1) / most;  // step x step pixels become one, their mean
  Image image{(h + step - 1) / step, (w + step - 1) / step, static_cast<int>(channels), {}};
  const std::uint8_t* sample = data.bytes.data() + index * data.sample.elements();
  for (std::int64_t y = 0; y < h; y += step)
    for (std::int64_t x = 0; x < w; x += step)
      for (std::int64_t c = 0; c < channels; ++c) {
        std::int64_t sum = 0, count = 0;
        for (std::int64_t v = y; v < std::min(y + step, h); ++v)
          for (std::int64_t u = x; u < std::min(x + step, w); ++u, ++count) sum += sample[(c * h + v) * w + u];
        image.pixels.push_back(static_cast<std::uint8_t>((sum + count / 2) / count));
      }
  return image;
}

}  // namespace norma::app
