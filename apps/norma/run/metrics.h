// One epoch's figures as JSON: the line that --json prints and metrics.jsonl keeps. And as a row of metrics.csv.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "norma/trainer.h"

namespace norma::app {

struct RecordedEpoch {
  EpochMetrics metrics;
  std::string device;  // what ran it: a resumed run may have used several
};

// Keys: epoch, train_loss, train_accuracy, test_loss, test_accuracy, seconds, train_seconds, samples_per_second, learning_rate,
// parameters_hash, device. JSON has no NaN and no infinity: they become null, as does a test figure without a test set.
nlohmann::ordered_json to_json(const EpochMetrics& m, std::string_view device);

// The inverse: a null train figure is NaN; a null test loss is NaN where there is a test accuracy, else absent.
// Throws Error(data): "train_loss: expected a number".
RecordedEpoch epoch_from_json(const nlohmann::ordered_json& j);

// The lines of a metrics.jsonl; none where the file does not exist. A last line without its line feed was cut by a crash and is left
// out. Any other line that is not an epoch's throws Error(data) naming file and line (json_lines.h).
std::vector<RecordedEpoch> read_metrics(const std::filesystem::path& file);

// ---- metrics.csv: RFC 4180, with the keys of the JSON as its first row

std::string csv_header();
// null is an empty field. Numbers have the digits of the JSON.
std::string csv_row(const EpochMetrics& m, std::string_view device);
// True of a table that norma wrote, or the beginning of one that a crash cut.
bool is_csv(std::string_view text);

}  // namespace norma::app
