#include "apps/norma/files/json_lines.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <system_error>

#include "norma/checkpoint.h"
#include "norma/error.h"
#include "norma/files.h"
#include "norma/text.h"

namespace norma::app {

namespace fs = std::filesystem;
using json = nlohmann::ordered_json;

namespace {

constexpr const char* schema_key = "schema";

[[noreturn]] void cannot_write(const fs::path& file, int error) {
  throw Error(ErrorKind::failure, fmt::format("cannot write {}: {}", file.string(), std::generic_category().message(error)));
}

void make_utf8(json& value) {
  if (value.is_string() && !is_utf8(value.get_ref<const std::string&>())) value = printable(value.get_ref<const std::string&>());
  if (value.is_structured())
    for (json& inner : value) make_utf8(inner);
}

// f(line, value) for every whole line. Returns whether the file's bytes are these lines and their line feeds.
bool scan(const fs::path& file, const std::function<void(const std::string&, const json&)>& f) {
  std::error_code error;
  if (!fs::exists(file, error) && !error) return true;
  const std::string text = read_file(file);
  bool whole = true;
  std::size_t next = 0;
  for (int number = 1; next < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', next), text.size());
    const std::string line = text.substr(next, end - next);
    next = end + 1;
    json value = json::parse(line, nullptr, false);
    if (end == text.size()) {  // no line feed; an object without its end is no JSON
      whole = false;
      if (!value.is_object()) break;
    }
    const auto refuse = [&](const std::string& why) {
      throw Error(ErrorKind::data, fmt::format("{}:{}: {}; remove that line, or move the file away", file.string(), number, why));
    };
    if (value.is_discarded()) refuse("not valid JSON");
    try {
      take_schema(value);
      f(line, value);
    } catch (const json::exception&) {
      refuse("not a line as norma writes it");
    } catch (const Error& e) {
      refuse(e.what());
    }
  }
  return whole;
}

}  // namespace

std::string json_text(const json& value, int indent) {
  constexpr char del = 0x7f;
  json whole = value;
  make_utf8(whole);
  std::string text = whole.dump(indent);
  if (printable_lines(text) == text) return text;
  text = whole.dump(indent, ' ', true);
  for (std::size_t at; (at = text.find(del)) != std::string::npos;) text.replace(at, 1, "\\u007f");
  return text;
}

std::string json_document(const json& value, int indent) {
  const auto with_schema = [](const json& object) {
    json all{{schema_key, json_schema}};
    all.update(object);
    return all;
  };
  if (value.is_object()) return json_text(with_schema(value), indent) + "\n";
  json list = json::array();
  for (const json& object : value) list.push_back(with_schema(object));
  return json_text(list, indent) + "\n";
}

void take_schema(json& object) {
  if (!object.is_object() || !object.contains(schema_key)) return;
  const json schema = object[schema_key];
  object.erase(schema_key);
  if (!schema.is_number_integer() || schema < 1) throw Error(ErrorKind::data, "schema: expected a whole number from 1");
  if (schema > json_schema)
    throw Error(ErrorKind::data,
                fmt::format("its schema is {}, and this norma knows {}: a newer norma wrote it", schema.dump(), json_schema));
}

void for_each_json_line(const fs::path& file, const std::function<void(const json&)>& f) {
  scan(file, [&](const std::string&, const json& value) { f(value); });
}

void keep_json_lines(const fs::path& file, const std::function<bool(const json&)>& keep) {
  bool all = true;
  const bool whole = scan(file, [&](const std::string&, const json& value) { all = keep(value) && all; });
  if (all && whole) return;
  std::string kept;
  scan(file, [&](const std::string& line, const json& value) {
    if (keep(value)) kept += line + "\n";
  });
  write_file(file, kept);
}

void append_line(const fs::path& file, std::string_view line) {
  const int d = uninterrupted([&] { return ::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666); });
  if (d < 0) cannot_write(file, errno);
  struct stat before {};
  int failed = ::fstat(d, &before) == 0 ? 0 : errno;
  if (!failed && !write_all(d, std::as_bytes(std::span(line.data(), line.size())))) failed = errno;
  // If even this fails, the cut line stays the last one, which a reader leaves out.
  if (failed && uninterrupted([&] { return ::ftruncate(d, before.st_size); }) != 0) failed = errno;
  if (::close(d) != 0 && errno != EINTR && !failed) failed = errno;
  if (failed) cannot_write(file, failed);
}

void sync_file(const fs::path& file) {
  const int d = uninterrupted([&] { return ::open(file.c_str(), O_WRONLY | O_CLOEXEC); });
  if (d < 0 && errno == ENOENT) return;
  int failed = d < 0 || uninterrupted([&] { return ::fsync(d); }) != 0 ? errno : 0;
  if (d >= 0 && ::close(d) != 0 && errno != EINTR && !failed) failed = errno;
  if (failed) cannot_write(file, failed);
}

}  // namespace norma::app
