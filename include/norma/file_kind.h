// Names the kind of a file that is not the kind wanted.
#pragma once
#include <string>
#include <string_view>

#include "norma/export.h"

namespace norma {

// Names the kind by the first bytes; 512 are enough. It adds a remedy if there is one: "a zip archive: unpack it first", "text, perhaps a
// CSV table". Returns an empty string for an unknown kind.
NORMA_API std::string file_kind(std::string_view first_bytes);

}  // namespace norma
