// EpochMetrics to and from JSON.
#include "apps/norma/run/metrics.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "apps/norma/files/json_lines.h"
#include "norma/error.h"

namespace norma::app {
namespace {

namespace fs = std::filesystem;
using json = nlohmann::ordered_json;

json number(double v) { return std::isfinite(v) ? json(v) : json(nullptr); }
json number(const std::optional<double>& v) { return v ? number(*v) : json(nullptr); }

const json& member(const json& j, const char* key) {
  const auto it = j.find(key);
  if (it == j.end()) throw Error(ErrorKind::data, fmt::format("{}: missing", key));
  return *it;
}

std::optional<double> optional_number(const json& j, const char* key) {
  const json& v = member(j, key);
  if (v.is_null()) return {};
  if (!v.is_number()) throw Error(ErrorKind::data, fmt::format("{}: expected a number", key));
  return v.get<double>();
}

double number_or_nan(const json& j, const char* key) { return optional_number(j, key).value_or(std::numeric_limits<double>::quiet_NaN()); }

std::string text(const json& j, const char* key) {
  const json& v = member(j, key);
  if (!v.is_string()) throw Error(ErrorKind::data, fmt::format("{}: expected text", key));
  return v.get<std::string>();
}

}  // namespace

json to_json(const EpochMetrics& m, std::string_view device) {
  return {{"epoch", m.epoch},
          {"train_loss", number(m.train_loss)},
          {"train_accuracy", number(m.train_accuracy)},
          {"test_loss", number(m.test_loss)},
          {"test_accuracy", number(m.test_accuracy)},
          {"seconds", number(m.seconds)},
          {"train_seconds", number(m.train_seconds)},
          {"samples_per_second", number(m.samples_per_second)},
          {"learning_rate", number(m.learning_rate)},
          {"parameters_hash", m.parameters_hash},
          {"device", device}};
}

RecordedEpoch epoch_from_json(const json& j) {
  if (!j.is_object()) throw Error(ErrorKind::data, "expected a JSON object");
  const json& epoch = member(j, "epoch");
  if (!epoch.is_number_integer() || epoch.get<std::int64_t>() < 1) throw Error(ErrorKind::data, "epoch: expected a whole number from 1");
  RecordedEpoch r;
  EpochMetrics& m = r.metrics;
  m.epoch = epoch.get<std::int64_t>();
  m.train_loss = number_or_nan(j, "train_loss");
  m.train_accuracy = number_or_nan(j, "train_accuracy");
  m.test_loss = optional_number(j, "test_loss");
  m.test_accuracy = optional_number(j, "test_accuracy");
  if (m.test_accuracy && !m.test_loss) m.test_loss = std::numeric_limits<double>::quiet_NaN();
  m.seconds = number_or_nan(j, "seconds");
  m.train_seconds = number_or_nan(j, "train_seconds");
  m.samples_per_second = number_or_nan(j, "samples_per_second");
  m.learning_rate = number_or_nan(j, "learning_rate");
  m.parameters_hash = text(j, "parameters_hash");
  r.device = text(j, "device");
  return r;
}

std::vector<RecordedEpoch> read_metrics(const fs::path& file) {
  std::vector<RecordedEpoch> epochs;
  for_each_json_line(file, [&](const json& j) { epochs.push_back(epoch_from_json(j)); });
  return epochs;
}

}  // namespace norma::app
