// Makes text from elsewhere (names in files, paths, words of a command line) fit for a terminal, a log or a shell. Finds the known name
// nearest to an unknown one. Writes figures with decimal prefixes.
// Its types are plain values: one thread at a time may change one, any number may read it.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "norma/export.h"

namespace norma {

// Bytes of the well-formed UTF-8 sequence at the start of `text` (Unicode table 3-7), or 0.
NORMA_API std::size_t utf8_length(std::string_view text);
NORMA_API bool is_utf8(std::string_view text);

// Returns one line that shows every byte and does nothing to a terminal. Control characters become \n, \t, \r or \x1b. Bytes that are not
// UTF-8 become \xe9. Controls above ASCII and marks that turn the direction of writing become \u202e. Everything else stays as it is.
NORMA_API std::string printable(std::string_view text);
// Keeps line feeds, else as printable(): for a text whose lines are its writer's own.
NORMA_API std::string printable_lines(std::string_view text);

// Returns one word of a POSIX shell, quoted only if it must be. A path that begins with a dash gets ./ in front, so that no program takes
// it for a flag. Bytes that are not printable become $'\303'.
NORMA_API std::string shell_word(std::string_view path);

// ---- names that are not known

// Returns the known name with the smallest edit distance (insert, delete, replace, swap of neighbours), or the one that `word` abbreviates.
// Empty if none is near.
NORMA_API std::string nearest(std::string_view word, std::span<const std::string> known);
// "; did you mean \"conv1\"?", or nothing.
NORMA_API std::string did_you_mean(std::string_view word, std::span<const std::string> known);

// ---- figures

// A figure below 999.5, its decimal prefix apart: 47040016 is 47.04 and "M". The prefixes end with "P".
struct NORMA_API Prefixed {
  double value = 0;
  const char* prefix = "";
};
NORMA_API Prefixed prefixed(double figure);
// "0.1", "1e-50": six digits at most.
NORMA_API std::string in_short(double v);
// "512 B", "47.0 MB"; without a unit "12.3 M".
NORMA_API std::string with_prefix(double figure, std::string_view unit);

}  // namespace norma
