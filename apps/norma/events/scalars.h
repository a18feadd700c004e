// The curves that TensorBoard draws, a point an epoch.
#pragma once
#include <vector>

#include "apps/norma/events/event_file.h"
#include "apps/norma/health/health.h"
#include "norma/trainer.h"

namespace norma::app {

// loss/train, loss/test, accuracy/train, accuracy/test, learning_rate, samples_per_second; those of the test set where there is one.
std::vector<Scalar> scalars_of(const EpochMetrics& m);

// All are called health/<layer>/<what>. A norm with running statistics has mean_drift and variance_ratio; one with gamma and beta has their
// means, gamma and beta. An activation has saturated. A ReLU has dead, its dead channels.
std::vector<Scalar> scalars_of(const EpochHealth& h);

}  // namespace norma::app
