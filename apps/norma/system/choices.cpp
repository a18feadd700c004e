#include "apps/norma/system/choices.h"

#include <algorithm>

#include "norma/error.h"
#include "norma/text.h"

namespace norma::app {

std::size_t choose(std::string_view flag, std::string_view value, std::span<const std::string> known) {
  const auto found = std::find(known.begin(), known.end(), value);
  if (found == known.end())
    throw Error(ErrorKind::usage,
                std::string(flag) + " must be one of " + join(known) + ", got \"" + std::string(value) + '"' + did_you_mean(value, known));
  return static_cast<std::size_t>(found - known.begin());
}

std::string join(std::span<const std::string> words) {
  std::string out;
  for (const std::string& w : words) out += (out.empty() ? "" : ", ") + w;
  return out;
}

}  // namespace norma::app
