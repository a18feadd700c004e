// Text for HTML and SVG: escaping, and figures as people read them.
#pragma once
#include <string>
#include <string_view>

namespace norma::app {

// Escapes text for HTML and XML, also within a quoted attribute: & < > " ' become entities. Characters that XML cannot hold become U+FFFD:
// control characters, and bytes that are not UTF-8.
std::string escape(std::string_view text);

// Shown for a number that is not finite: "not finite"; all below do so.
std::string format_number(double v);       // for columns, four decimals or three digits: 0.3472, 1.2e-05
std::string format_short(double v);        // four digits, no zeros at the end: 0.001
std::string format_percent(double share);  // 0.8613 -> "86.13 %"
std::string format_seconds(double s);      // "0.82 s", "2 min 05 s", "1 h 02 min"
std::string format_count(double n);        // thousands apart: "44 426"
std::string format_bytes(double bytes);    // "512 B", "3.54 MB"; decimal prefixes
std::string format_flops(double flops);    // "389 MFLOP"

}  // namespace norma::app
