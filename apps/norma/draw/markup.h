// Text for HTML and SVG.
#pragma once
#include <string>
#include <string_view>

namespace norma::app {

// Escapes text for HTML and XML, also within a quoted attribute: & < > " ' become entities. Characters that XML cannot hold become U+FFFD:
// control characters, and bytes that are not UTF-8.
std::string escape(std::string_view text);

}  // namespace norma::app
