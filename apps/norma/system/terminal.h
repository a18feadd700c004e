// Properties of the terminal behind a stream, and the one way results reach stdout.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

namespace norma::app {

struct Terminal {
  bool interactive = false;  // a terminal that can redraw a line: not a file, not a pipe, not TERM=dumb
  bool color = false;        // interactive, and NO_COLOR is not set
  int columns = 80;
};

// Properties of a file descriptor: isatty, $TERM, $NO_COLOR, its window size, else $COLUMNS, else 80.
Terminal detect_terminal(int descriptor);

enum class Color { red, yellow, green, bold };
// `text` in that color, or as it is where the terminal shows none.
std::string painted(const Terminal& terminal, Color color, std::string_view text);

// Nobody reads stdout any more. Not an error of norma: `norma plan x | head` ends quietly.
struct ClosedPipe {};

// Writes to stdout and flushes, what is not printable as an escape. Throws ClosedPipe, or Error(failure) for anything else (a full disk).
void print_result(std::string_view text);
// Writes text unchanged: painted, or a path that a script reads.
void print_bytes(std::string_view text);
// stdout for work that has other results, too. If stdout cannot be written to, this is said once, and the work continues to its end.
class ResultStream {
 public:
  void print(std::string_view text);
  // Call at the end. Throws Error(failure) where output was lost; a pipe that its reader closed does not count.
  void check() const;

 private:
  bool closed_ = false;
  std::string lost_;  // why
};

// A path and a line feed: the bytes themselves, but for a terminal.
void print_path(const std::filesystem::path& path);

}  // namespace norma::app
