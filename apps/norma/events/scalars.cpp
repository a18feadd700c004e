#include "apps/norma/events/scalars.h"

namespace norma::app {

std::vector<Scalar> scalars_of(const EpochMetrics& m) {
  std::vector<Scalar> all{{"loss/train", m.train_loss}, {"accuracy/train", m.train_accuracy}};
  if (m.test_loss) all.push_back({"loss/test", *m.test_loss});
  if (m.test_accuracy) all.push_back({"accuracy/test", *m.test_accuracy});
  all.push_back({"learning_rate", m.learning_rate});
  all.push_back({"samples_per_second", m.samples_per_second});
  return all;
}

std::vector<Scalar> scalars_of(const EpochHealth& h) {
  std::vector<Scalar> all;
  const auto add = [&](const std::string& layer, const char* what, double value) {
    all.push_back({"health/" + layer + "/" + what, value});
  };
  for (const NormHealth& n : h.norms) {
    if (n.mean_drift) add(n.layer, "mean_drift", *n.mean_drift);
    if (n.variance_ratio) add(n.layer, "variance_ratio", *n.variance_ratio);
    if (n.gamma) add(n.layer, "gamma", n.gamma->mean);
    if (n.beta) add(n.layer, "beta", n.beta->mean);
  }
  for (const ActivationHealth& a : h.activations) {
    const ActivationTraits& t = traits(a.kind);
    if (t.saturates()) add(a.layer, "saturated", a.saturated);
    if (t.can_die()) add(a.layer, "dead", static_cast<double>(a.dead.size()));
  }
  return all;
}

}  // namespace norma::app
