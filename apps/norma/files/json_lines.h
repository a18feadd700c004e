// JSON as norma prints and writes it; files of one JSON value a line, to which a run appends.
#pragma once
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace norma::app {

// JSON as UTF-8 text that does nothing to a terminal. indent: of each level, in lines; -1 gives one line. A byte of a string that is not
// UTF-8 (file names may have some) becomes \\xe9, as on a terminal. Nothing else changes for a parser.
std::string json_text(const nlohmann::ordered_json& value, int indent = -1);

// The first key of every object that norma prints or writes: "schema". It is raised when a key goes away or changes its meaning. A new key
// leaves it as it is, and so does another order of keys.
inline constexpr int json_schema = 1;

// All JSON that norma prints, and its files of JSON, pass through here: json_text of an object that begins with its schema, or of a list of
// such objects; then a line feed.
std::string json_document(const nlohmann::ordered_json& value, int indent = -1);

// Removes the schema of an object that norma wrote, if it has one: older files have none. Throws Error(data) for one that this norma does
// not know.
void take_schema(nlohmann::ordered_json& object);

// f(value) for every line, without its schema; nothing where the file does not exist. A last line that a crash cut, without its line feed
// and no whole object, is left out. A line that is not JSON, or of which f throws Error, throws Error(data) naming file and line.
void for_each_json_line(const std::filesystem::path& file, const std::function<void(const nlohmann::ordered_json&)>& f);

// Leaves the lines for which keep(value) is true, each with its line feed, as they stand: what a crash cut goes. Throws as
// for_each_json_line, and Error(failure).
void keep_json_lines(const std::filesystem::path& file, const std::function<bool(const nlohmann::ordered_json&)>& keep);

// line ends with a line feed. Throws Error(failure), also where the file is a link; it is then as before.
void append_line(const std::filesystem::path& file, std::string_view line);

// Syncs the file to disk; does nothing where it does not exist. Throws Error(failure).
void sync_file(const std::filesystem::path& file);

}  // namespace norma::app
