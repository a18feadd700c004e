// Whole files.
#include <string>

#include "norma/files.h"
#include "norma/text.h"
#include "src/files/input_file.h"

namespace norma {

std::string read_file(const std::filesystem::path& file, ErrorKind kind, std::uint64_t most, Accept accept) {
  constexpr std::size_t step = std::size_t{1} << 16;
  InputFile in(file, kind, accept);
  const auto too_long = [&](std::uint64_t bytes, const char* word) {
    throw Error(kind,
                printable(file.string()) + ": " + std::to_string(bytes) + word + " bytes, at most " + std::to_string(most) + " are read");
  };
  if (in.size() > most) too_long(in.size(), "");
  std::string text;
  std::size_t have = 0;
  // One byte more than the size shows the end. The loop goes on for a file that grows and for kinds of file without a size.
  for (std::size_t room = static_cast<std::size_t>(in.size()) + 1; have == text.size(); room = step) {
    text.resize(have + room);
    have += in.read(text.data() + have, room);
    if (have > most) too_long(have, " and more");
  }
  text.resize(have);
  return text;
}

}  // namespace norma
