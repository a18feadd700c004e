#include "apps/norma/system/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "apps/norma/system/log.h"
#include "norma/error.h"
#include "norma/text.h"

namespace norma::app {
namespace {

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

Terminal detect_terminal(int descriptor) {
  Terminal t;
  const std::string_view term = environment("TERM");
  t.interactive = isatty(descriptor) != 0 && !term.empty() && term != "dumb";
  t.color = t.interactive && environment("NO_COLOR").empty();
  winsize size{};
  if (ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) t.columns = size.ws_col;
  else if (const int columns = std::atoi(std::string(environment("COLUMNS")).c_str()); columns > 0) t.columns = columns;
  return t;
}

std::string painted(const Terminal& terminal, Color color, std::string_view text) {
  if (!terminal.color) return std::string(text);
  const char* code = "";
  switch (color) {
    case Color::red: code = "\x1b[1;31m"; break;
    case Color::yellow: code = "\x1b[33m"; break;
    case Color::green: code = "\x1b[32m"; break;
    case Color::bold: code = "\x1b[1m"; break;
  }
  return code + std::string(text) + "\x1b[0m";
}

void print_result(std::string_view text) { print_bytes(printable_lines(text)); }

void print_bytes(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return;
  if (errno == EPIPE) throw ClosedPipe{};
  throw Error(ErrorKind::failure, std::string("cannot write to standard output: ") + std::strerror(errno));
}

void ResultStream::print(std::string_view text) {
  if (closed_ || !lost_.empty()) return;
  try {
    print_result(text);
  } catch (const ClosedPipe&) {
    closed_ = true;
    log_warning("standard output was closed; the run continues without it");
  } catch (const Error& e) {
    lost_ = e.what();
    log_warning(lost_ + "; the run continues without it");
  }
}

void ResultStream::check() const {
  if (!lost_.empty()) throw Error(ErrorKind::failure, lost_ + "; the run itself is complete");
}

void print_path(const std::filesystem::path& path) {
  if (isatty(STDOUT_FILENO) != 0) print_result(printable(path.string()) + "\n");
  else print_bytes(path.string() + "\n");
}

}  // namespace norma::app
