#include "apps/norma/export/check_c.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <vector>

#include "apps/norma/files/process.h"
#include "norma/error.h"
#include "norma/files.h"

namespace norma::app {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_words = 2000;  // of a compiler

// "ccache gcc" is two words.
std::vector<std::string> c_compiler() {
  const char* const said = std::getenv("CC");
  std::istringstream words(said ? said : "");
  std::vector<std::string> all;
  for (std::string w; words >> w;) all.push_back(w);
  if (all.empty()) all.push_back("cc");
  return all;
}

std::string joined(const std::vector<std::string>& words) { return fmt::format("{}", fmt::join(words, " ")); }

}  // namespace

CheckedC check_c(const std::string& text, const std::string& name) {
  const TemporaryFolder folder;
  const fs::path source = folder / (name + ".c"), program = folder / "test", out = folder / "stdout", err = folder / "stderr";
  write_file(source, text);
  std::vector<std::string> words = c_compiler();
  const std::string compiler = joined(words);
  std::string macro = name + "_TEST";
  std::ranges::transform(macro, macro.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  for (const std::string& w :
       {std::string("-std=c99"), std::string("-O2"), std::string("-Wall"), std::string("-Wextra"), std::string("-Werror"), "-D" + macro,
        source.string(), std::string("-o"), program.string(), std::string("-lm")})
    words.push_back(w);
  const std::optional<FinishedProcess> compiled = run_process(words, out, err);
  if (!compiled)
    throw Error(ErrorKind::failure, fmt::format("--check needs a C compiler, and there is no program {}: install one (Debian and Ubuntu: "
                                                "apt-get install gcc), or name one, as in CC=clang norma export ...",
                                                words[0]));
  if (compiled->exit_code != 0)
    throw Error(ErrorKind::verification,
                fmt::format("{} does not compile the file; nothing was written: {}", compiler, read_file(err).substr(0, most_words)));
  const std::optional<FinishedProcess> ran = run_process({program.string()}, out, err);
  const std::string printed = read_file(out);
  CheckedC checked{.compiler = compiler, .difference_of_floats = {}};
  const bool read = std::sscanf(printed.c_str(), "outputs %lf at most, largest difference from norma %lf", &checked.largest_output,
                                &checked.difference) == 2;
  if (!ran || ran->exit_code != 0 || !read)
    throw Error(ErrorKind::verification, fmt::format("compiled by {}, the file does not give norma's outputs; nothing was written: {}",
                                                     compiler, printed.empty() ? "it did not run to its end" : printed));
  if (const std::size_t line = printed.find('\n'); line != std::string::npos)
    if (double lost = 0; std::sscanf(printed.c_str() + line, " largest difference from weights of float %lf", &lost) == 1)
      checked.difference_of_floats = lost;
  return checked;
}

}  // namespace norma::app
