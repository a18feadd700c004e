// The files of a run directory: their names, and the rules that recognise norma's own.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "apps/norma/files/file_list.h"

namespace norma::app {

inline constexpr const char* config_name = "config.toml";
inline constexpr const char* environment_name = "environment.json";
inline constexpr const char* metrics_name = "metrics.jsonl";
inline constexpr const char* table_name = "metrics.csv";
inline constexpr const char* health_name = "health.jsonl";
inline constexpr const char* events_name = "events.out.tfevents.norma";  // TensorBoard looks for "tfevents" in names
inline constexpr const char* training_name = "training.safetensors";
inline constexpr const char* model_name = "model.safetensors";
inline constexpr const char* report_name = "report.html";
inline constexpr const char* curves_name = "curves.svg";

// Order of removal. Without its checkpoint a half-removed run begins again under its own configuration; with its weights it would not.
inline constexpr std::array run_files = {model_name,  training_name, metrics_name, table_name,       health_name,
                                         events_name, report_name,   curves_name,  environment_name, config_name};

// Files to which every epoch adds something. The list has no sha256 of them.
inline constexpr std::array growing_files = {metrics_name, table_name, health_name, events_name};
bool grows(std::string_view name);

inline constexpr std::string_view model_prefix = "model.";  // of the model's tensors and metadata in training.safetensors

// Something of that name, be it a link that leads nowhere.
bool there(const std::filesystem::path& file);
bool is_regular(const std::filesystem::path& file);  // not through a link
// The contents of a file, or nothing if it does not exist. Throws Error(data) naming it.
std::optional<std::string> read_text(const std::filesystem::path& file);

// Judges the contents, not the list.
bool is_environment(const std::filesystem::path& file);
bool has_lines(const std::filesystem::path& file, const std::string& name);  // all of a growing file

// The epoch of a line of metrics.jsonl or health.jsonl. Throws Error(data) where norma would not write it so: whoever added to it would
// lose that with the line.
std::int64_t epoch_of(const nlohmann::ordered_json& line, const std::string& name);

// True if a folder holds a run of a norma that kept no list. A user's weights in a folder with a recipe are no run.
bool begun_without_a_list(const std::filesystem::path& run);

// May be replaced or removed; of lines, also by what they say.
bool is_ours(const std::filesystem::path& run, const FileList& files, const std::string& name);
// Throws Error(usage) for an existing run, unless overwrite. Throws it in any case for files of a run's names that are not norma's.
void refuse_run(const std::filesystem::path& run, const FileList& files, bool overwrite);

// Throws Error(usage) where one of the files is there and was not asked to be replaced, or is not norma's. `other` is the flag or argument
// that names another place.
void refuse_replacement(const std::filesystem::path& folder, std::initializer_list<const char*> names, bool force,
                        const char* other = "--out");

}  // namespace norma::app
