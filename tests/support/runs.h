// Run directories for tests: what is put into them, and what is read back.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "apps/norma/run/run_directory.h"
#include "norma/error.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace norma::app {

namespace fs = std::filesystem;
using test::contents;
using test::expect_error;

inline void put(const fs::path& file, const std::string& text) { std::ofstream(file, std::ios::binary) << text; }

inline Error error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  }
  ADD_FAILURE() << "expected an error";
  return {ErrorKind::failure, "none"};
}

// A model and its training state in which every number is `step`.
inline Checkpoint model_at(std::int64_t step) {
  const std::vector<float> w(5000, static_cast<float>(step));
  const std::vector<std::int64_t> n = {step};
  return {{StoredTensor::from("conv1.weight", {50, 100}, std::span<const float>(w)),
           StoredTensor::from("bn1.num_batches_tracked", {}, std::span<const std::int64_t>(n))},
          {{"format", "pt"}, {"step", std::to_string(step)}}};
}

inline Checkpoint training_at(std::int64_t step) {
  const std::vector<float> m(5000, static_cast<float>(step));
  return {{StoredTensor::from("optimizer.conv1.weight.exp_avg", {50, 100}, std::span<const float>(m))}, {{"step", std::to_string(step)}}};
}

inline void expect_same(const Checkpoint& a, const Checkpoint& b) {
  EXPECT_EQ(a.metadata, b.metadata);
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (std::size_t i = 0; i < a.tensors.size(); ++i) {
    EXPECT_EQ(a.tensors[i].name, b.tensors[i].name);
    EXPECT_EQ(a.tensors[i].shape, b.tensors[i].shape);
    EXPECT_TRUE(a.tensors[i].bytes == b.tensors[i].bytes) << a.tensors[i].name;
  }
}

inline EpochMetrics epoch(std::int64_t n) {
  EpochMetrics m;
  m.epoch = n;
  m.train_loss = 1.0 / 3 / static_cast<double>(n);
  m.train_accuracy = 0.9;
  m.test_loss = 0.1 * static_cast<double>(n);
  m.test_accuracy = 0.8;
  m.seconds = 1.5;
  m.train_seconds = 1.25;
  m.samples_per_second = 48000;
  m.learning_rate = 0.001;
  m.parameters_hash = "9f86d081884c7d65";
  return m;
}

inline std::vector<std::int64_t> epoch_numbers(const RunDirectory& run) {
  std::vector<std::int64_t> n;
  for (const RecordedEpoch& r : run.epochs()) n.push_back(r.metrics.epoch);
  return n;
}

}  // namespace norma::app
