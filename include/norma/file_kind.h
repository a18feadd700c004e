// What a file is that is not what was wanted.
#pragma once
#include <string>
#include <string_view>

namespace norma {

// From its first bytes (512 tell all), with the remedy where there is one: "a zip archive: unpack it first", "text, perhaps a CSV table".
// Empty where it is none of the kinds known.
std::string file_kind(std::string_view first_bytes);

}  // namespace norma
