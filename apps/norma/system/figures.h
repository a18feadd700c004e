// Figures as people read them. Those of pages may be long and typeset; those of a terminal's lines are short. norma::with_prefix has bytes.
#pragma once
#include <string>

namespace norma::app {

// ---- on pages; a number that is not finite is "not finite"

std::string format_number(double v);       // for columns, four decimals or three digits: 0.3472, 1.2e-05
std::string format_short(double v);        // four digits, no zeros at the end: 0.001
std::string format_percent(double share);  // 0.8613 -> "86.13 %"
std::string format_seconds(double s);      // "0.82 s", "2 min 05 s", "1 h 02 min"
std::string format_count(double n);        // thousands apart: "44 426"
std::string format_bytes(double bytes);    // "512 B", "3.54 MB"; decimal prefixes
std::string format_flops(double flops);    // "389 MFLOP"

// ---- in a terminal

std::string short_count(double value);       // "31k", "1.24M", "950"
std::string short_duration(double seconds);  // "4.2 s", "3:07", "1:02:09"
std::string short_loss(double loss);         // "0.4312", "1.741e+31"

}  // namespace norma::app
