#include "apps/norma/files/folders.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "norma/checkpoint.h"
#include "norma/error.h"
#include "norma/files.h"

namespace norma::app {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& folder, const std::string& what, const std::string& cause) {
  throw Error(ErrorKind::failure, fmt::format("cannot make {} {}: {}", what, folder.string(), cause));
}

fs::path parent_of(const fs::path& folder) { return folder.has_parent_path() ? folder.parent_path() : fs::path("."); }

// False where something of that name was there already. Errors name the folder that was asked for.
bool made(const fs::path& folder, const fs::path& asked, const std::string& what) {
  if (uninterrupted([&] { return ::mkdir(folder.c_str(), 0777); }) != 0) {
    if (errno == EEXIST) return false;
    fail(asked, what, std::generic_category().message(errno));
  }
  sync_folder(parent_of(folder), folder);
  return true;
}

void make(const fs::path& folder, const fs::path& asked, const std::string& what) {
  std::error_code error;
  if (fs::is_directory(folder, error)) return;
  if (const fs::path parent = folder.parent_path(); !parent.empty() && parent != folder) make(parent, asked, what);
  if (made(folder, asked, what) || fs::is_directory(folder, error)) return;
  // "EEXIST" says less than what stands in the way.
  fail(asked, what, folder == asked ? "a file of that name exists" : folder.string() + " is a file");
}

}  // namespace

void make_folder(const fs::path& path, const std::string& what) {
  const fs::path folder = path.has_filename() ? path : path.parent_path();  // "a/" is "a"
  make(folder, folder, what);
}

fs::path claim_folder(const fs::path& stem, const std::string& what) {
  make_folder(parent_of(stem), what);
  fs::path folder = stem;
  for (int k = 2; !made(folder, folder, what); ++k) folder = fmt::format("{}-{}", stem.string(), k);
  return folder;
}

std::string folder_name(const std::string& name) {
  constexpr std::size_t longest = 120;  // of 255 that file systems allow; a time follows
  std::string out = name;
  if (out.size() > longest) {
    std::size_t end = longest;
    while (end > 0 && (static_cast<unsigned char>(out[end]) & 0xc0u) == 0x80u) --end;  // not within a character
    out.resize(end);
  }
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c == '/' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '_');
  return out.find_first_not_of('.') == std::string::npos ? "run" + out : out;
}

}  // namespace norma::app
