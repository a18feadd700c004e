// Measures that compare the runs of a comparison: one number a run.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace norma::app {

enum class Measure : std::uint8_t {
  test_accuracy,
  test_loss,
  train_accuracy,
  train_loss,
  overfit,
  saturated,
  dead,
  drift,
  mode_gap,
  input_shift
};
inline constexpr std::size_t measure_count = 10;

struct MeasureInfo {
  Measure measure;
  const char *name, *words;
  bool higher_is_better, percent;
  bool of_health;  // comes from health.jsonl, so train.health must be on
};

inline constexpr MeasureInfo measures[measure_count] = {
    {Measure::test_accuracy, "test_accuracy", "test accuracy", true, true, false},
    {Measure::test_loss, "test_loss", "test loss", false, false, false},
    {Measure::train_accuracy, "train_accuracy", "train accuracy", true, true, false},
    {Measure::train_loss, "train_loss", "train loss", false, false, false},
    {Measure::overfit, "overfit", "generalisation gap", false, false, false},
    {Measure::saturated, "saturated", "share of saturated units", false, true, true},
    {Measure::dead, "dead", "share of dead channels", false, true, true},
    {Measure::drift, "drift", "drift of running means", false, false, true},
    {Measure::mode_gap, "mode_gap", "gap between evaluation and training mode", false, false, true},
    {Measure::input_shift, "input_shift", "shift of layer inputs", false, false, true},
};

inline constexpr const MeasureInfo& info(Measure m) { return measures[static_cast<std::size_t>(m)]; }

// mode_gap: the loss in evaluation mode less the loss in training mode, over the same samples. overfit: the test loss less the loss of the
// training samples, both in evaluation mode. The last five come from the probe (health.h). drift and input_shift are in standard
// deviations; input_shift is the mean over an epoch's changes.

// A run's figures, indexed by Measure; NaN where a figure is missing.
struct Measured {
  std::array<double, measure_count> values;
  Measured() { values.fill(std::numeric_limits<double>::quiet_NaN()); }
  double& operator[](Measure m) { return values[static_cast<std::size_t>(m)]; }
  double operator[](Measure m) const { return values[static_cast<std::size_t>(m)]; }
};

// Throws Error(usage) with the nearest name.
Measure measure_called(std::string_view name, std::string_view where);
// "97.31 %", "0.0451"
std::string shown(Measure m, double value);

}  // namespace norma::app
