// EpochMetrics to and from JSON, and as CSV.
#include "apps/norma/run/metrics.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

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

// A field of RFC 4180, quoted where it must be.
std::string csv_field(const json& value) {
  if (value.is_null()) return {};
  if (!value.is_string()) return value.dump();
  const std::string& plain = value.get_ref<const std::string&>();
  if (plain.find_first_of(",\"\r\n") == std::string::npos) return plain;
  std::string quoted = "\"";
  for (const char c : plain) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

constexpr std::string_view row_end = "\r\n";

std::string csv_line(const std::vector<std::string>& fields) { return fmt::format("{}{}", fmt::join(fields, ","), row_end); }

// The fields of a row without its end, as they were before they were quoted.
std::vector<std::string> fields_of(std::string_view row) {
  std::vector<std::string> all{""};
  bool quoted = false;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const bool twice = quoted && row.substr(i).starts_with("\"\"");
    if (twice) ++i;
    if (row[i] == '"' && !twice) quoted = !quoted;
    else if (row[i] == ',' && !quoted) all.emplace_back();
    else all.back() += row[i];
  }
  return all;
}

// The JSON of a row. Texts are what the JSON of an epoch has as texts.
json json_of_row(std::string_view row) {
  const json keys = to_json(EpochMetrics{}, "");
  const std::vector<std::string> fields = fields_of(row);
  if (fields.size() != keys.size()) return {};
  json j;
  std::size_t i = 0;
  for (const auto& [key, value] : keys.items()) {
    const std::string& field = fields[i++];
    j[key] = value.is_string() ? json(field) : field.empty() ? json(nullptr) : json::parse(field, nullptr, false);
  }
  return j;
}

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

std::string csv_header() {
  const json epoch = to_json(EpochMetrics{}, "");
  std::vector<std::string> keys;
  for (const auto& [key, value] : epoch.items()) keys.push_back(key);
  return csv_line(keys);
}

std::string csv_row(const EpochMetrics& m, std::string_view device) {
  std::vector<std::string> fields;
  for (const json& value : to_json(m, device)) fields.push_back(csv_field(value));
  return csv_line(fields);
}

bool is_csv(std::string_view text) {
  const std::string header = csv_header();
  if (!text.starts_with(header)) return header.starts_with(text);
  text.remove_prefix(header.size());
  for (std::size_t end; (end = text.find(row_end)) != std::string_view::npos; text.remove_prefix(end + row_end.size())) {
    try {
      const RecordedEpoch e = epoch_from_json(json_of_row(text.substr(0, end)));
      if (csv_row(e.metrics, e.device) != text.substr(0, end + row_end.size())) return false;
    } catch (const Error&) {
      return false;
    }
  }
  // A row that a kill cut: an epoch's number first, and no line more. The text of a device, in quotes, may hold one.
  if (text.empty()) return true;
  const std::vector<std::string> fields = fields_of(text);
  const bool in_quotes = std::ranges::count(text, '"') % 2 != 0;
  return fields.size() <= to_json(EpochMetrics{}, "").size() && (in_quotes || text.find('\n') == std::string_view::npos) &&
         std::ranges::all_of(fields[0], [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace norma::app
