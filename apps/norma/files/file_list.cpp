#include "apps/norma/files/file_list.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "apps/norma/files/json_lines.h"
#include "norma/checkpoint.h"
#include "norma/error.h"
#include "norma/files.h"

namespace norma::app {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t digits = 64;  // of a sha256

bool is_sha256(std::string_view text) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

void refuse_other(const fs::path& file, const std::string& remedy) {
  throw Error(ErrorKind::usage, fmt::format("{} is not a file of norma's, or was changed since norma wrote it: {}", file.string(), remedy));
}

FileList::FileList(fs::path folder) : folder_(std::move(folder)) {
  const fs::path file = folder_ / file_list_name;
  const auto damaged = [&](std::size_t line) {
    throw Error(ErrorKind::data, fmt::format("{}:{}: not a list of files as norma writes it; move it away", file.string(), line));
  };
  std::error_code error;
  const fs::file_status status = fs::symlink_status(file, error);
  if (!fs::exists(status)) return;
  if (!fs::is_regular_file(status)) damaged(1);
  const std::string text = read_file(file);
  const bool cut = !text.empty() && text.back() != '\n';  // by a crash: the last line is without its line feed
  std::size_t next = 0;
  for (std::size_t line_end; (line_end = text.find('\n', next)) != std::string::npos; next = line_end + 1) {
    const std::string line = text.substr(next, line_end - next);
    ++lines_;
    const std::size_t end = line.find(' ');
    const std::size_t begin = end == std::string::npos ? end : line.find_first_not_of(' ', end);
    if (begin == std::string::npos) damaged(lines_);
    std::string what = line.substr(0, end);
    if (!is_sha256(what) && what != "lines" && what != "folder") damaged(lines_);
    std::vector<std::string>& all = entries_[line.substr(begin)];
    std::erase(all, what);
    all.push_back(std::move(what));
  }
  if (cut) shorten();
}

std::vector<std::string> FileList::folders() const {
  std::vector<std::string> names;
  for (const auto& [name, all] : entries_)
    if (std::find(all.begin(), all.end(), "folder") != all.end()) names.push_back(name);
  return names;
}

FileList::Stamp FileList::stamp(const std::string& name) const {
  struct stat s {};
  if (::lstat((folder_ / name).c_str(), &s) != 0) return {};
  const auto nanoseconds = [](const timespec& t) { return static_cast<long long>(t.tv_sec) * 1'000'000'000 + t.tv_nsec; };
  return {static_cast<long long>(s.st_dev), static_cast<long long>(s.st_ino), static_cast<long long>(s.st_size), nanoseconds(s.st_mtim),
          nanoseconds(s.st_ctim)};
}

bool FileList::ours(const std::string& name) const {
  const fs::path file = folder_ / name;
  std::error_code error;
  const fs::file_status status = fs::symlink_status(file, error);
  if (status.type() == fs::file_type::not_found) return true;
  if (!fs::is_regular_file(status)) return false;
  if (const auto size = fs::file_size(file, error); !error && size == 0) return true;
  const auto found = entries_.find(name);
  if (found == entries_.end()) return false;
  if (const auto w = written_.find(name); w != written_.end() && w->second == stamp(name)) return true;
  const std::vector<std::string>& all = found->second;
  return std::find(all.begin(), all.end(), sha256_of_file(file)) != all.end();
}

void FileList::write(const std::string& name, std::span<const std::byte> bytes) {
  const std::string hash = sha256(bytes);
  const fs::path file = folder_ / name;
  std::error_code error;
  // The file may already have the contents to be written.
  if (!ours(name) && !(fs::is_regular_file(fs::symlink_status(file, error)) && sha256_of_file(file) == hash))
    refuse_other(file, "it stays as it is; move it away, or name another folder");
  const auto found = entries_.find(name);
  if (found == entries_.end() || found->second.back() != hash) add(hash, name);
  write_file(file, bytes);
  written_[name] = stamp(name);
}

void FileList::write(const std::string& name, std::string_view text) { write(name, std::as_bytes(std::span(text.data(), text.size()))); }

void FileList::adopt(const std::string& name) { add(sha256_of_file(folder_ / name), name); }

void FileList::add(const std::string& what, const std::string& name) {
  std::vector<std::string>& all = entries_[name];
  if (!all.empty() && all.back() == what) return;
  const bool first = all.empty();
  append_line(folder_ / file_list_name, fmt::format("{}  {}\n", what, name));
  if (first) sync_file(folder_ / file_list_name);  // without it a power cut would leave a run that no list knows
  std::erase(all, what);
  all.push_back(what);
  if (++lines_ > 256 + 4 * entries_.size()) shorten();
}

// Every save of a long run adds a line: of each name the last two contents stay, one of which is there.
void FileList::shorten() {
  std::string text;
  lines_ = 0;
  for (auto& [name, all] : entries_) {
    if (all.size() > 2) all.erase(all.begin(), all.end() - 2);
    for (const std::string& what : all) text += fmt::format("{}  {}\n", what, name), ++lines_;
  }
  write_file(folder_ / file_list_name, text);
}

void FileList::remove(const std::string& name) const {
  std::error_code error;
  uninterrupted(error, [&] { return fs::remove(folder_ / name, error); });
  if (error) throw Error(ErrorKind::failure, fmt::format("cannot remove {}: {}", (folder_ / name).string(), error.message()));
}

void FileList::forget(std::span<const char* const> names) {
  for (const char* name : names) {
    entries_.erase(name);
    written_.erase(name);
  }
  if (entries_.empty()) remove(file_list_name), lines_ = 0;
  else shorten();
}

}  // namespace norma::app
