// Files of one JSON value a line, to which a run appends.
#pragma once
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

namespace norma::app {

// f(value) for every line; nothing where the file does not exist. A last line without its line feed was cut by a crash and is left out. A
// line that is not JSON, or of which f throws Error, throws Error(data) naming file and line.
void for_each_json_line(const std::filesystem::path& file, const std::function<void(const nlohmann::ordered_json&)>& f);

// line ends with a line feed. Throws Error(failure); the file is then as before.
void append_line(const std::filesystem::path& file, std::string_view line);

// To the disk; nothing where the file does not exist. Throws Error(failure).
void sync_file(const std::filesystem::path& file);

}  // namespace norma::app
