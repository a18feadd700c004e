// The report of a made-up run, and the check that what is written of a report is well-formed.
#pragma once
#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "apps/norma/report/run_page.h"
#include "tests/support/text_checks.h"

namespace norma::app {

inline EpochMetrics reported_epoch(std::int64_t n) {
  EpochMetrics m;
  m.epoch = n;
  m.train_loss = 0.75 / static_cast<double>(n);
  m.train_accuracy = 1 - 0.3 / static_cast<double>(n);
  m.test_loss = m.train_loss + 0.0625;
  m.test_accuracy = m.train_accuracy - 0.01;
  m.seconds = 1.5;
  m.train_seconds = 1.25;
  m.samples_per_second = 48000;
  m.learning_rate = 0.001;
  m.parameters_hash = "9f86d081884c7d65";
  return m;
}

inline StoredTensor floats(const std::string& name, std::vector<std::int64_t> shape, const std::vector<float>& values) {
  return StoredTensor::from(name, std::move(shape), std::span<const float>(values));
}

inline RunReport report(int epochs) {
  RunReport r;
  r.recipe = "mnist-lenet-bn";
  r.description = "LeNet with batch norm";
  r.status = "finished";
  r.epochs_planned = epochs;
  for (int e = 1; e <= epochs; ++e) r.epochs.push_back(reported_epoch(e));
  r.parameter_count = 44426;
  r.facts = {{"Data", "mnist, 60000 + 10000 samples"}};
  r.config = "[train]\nepochs = 5 # \"five\"\n";
  r.environment.norma_version = "0.1.0";
  r.environment.device = "cpu (avx512, 2 threads)";
  const std::vector<std::int64_t> batches = {1175};
  r.model.tensors = {floats("conv1.weight", {2, 1, 1, 1}, {1, 2}),
                     floats("conv1.bias", {2}, {1, 2}),
                     floats("bn1.weight", {2}, {0.5f, 1.5f}),
                     floats("bn1.bias", {2}, {-0.25f, 0.75f}),
                     floats("bn1.running_mean", {2}, {3, 5}),
                     floats("bn1.running_var", {2}, {0.125f, 8}),
                     StoredTensor::from("bn1.num_batches_tracked", {}, std::span<const std::int64_t>(batches))};
  PlanLine line{"conv2d_forward", "conv1", "5x5", {}, 3538944, 44236800};
  line.operands = {{"y", "conv1", {256, 6, 24, 24}, DType::f32, Region::activations, 0, 3538944, true},
                   {"w", "conv1.weight", {6, 1, 5, 5}, DType::f32, Region::parameters, 0, 600, false}};
  r.plan = {line};
  r.memory.bytes[0] = 177704;
  r.memory.activations_without_reuse = 98'765'432;
  return r;
}

inline void expect_well_formed(const RunReport& r) {
  EXPECT_EQ(fault(report_html(r)).value_or("no fault"), "no fault");
  EXPECT_EQ(fault(curves_svg(r)).value_or("no fault"), "no fault");
}

}  // namespace norma::app
