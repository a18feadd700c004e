// What TensorBoard draws of an epoch.
#pragma once
#include <vector>

#include "apps/norma/events/event_file.h"
#include "apps/norma/health/health.h"
#include "norma/trainer.h"

namespace norma::app {

// loss/train, loss/test, accuracy/train, accuracy/test, learning_rate, samples_per_second; those of the test set where there is one.
std::vector<Scalar> scalars_of(const EpochMetrics& m);

// Of a norm with running statistics health/<layer>/mean_drift and variance_ratio. Of one with gamma and beta the means gamma and beta. Of
// an activation health/<layer>/saturated, and of a ReLU dead, its dead channels.
std::vector<Scalar> scalars_of(const EpochHealth& h);

}  // namespace norma::app
