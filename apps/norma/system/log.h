// The log: lines on stderr, "norma: ...". Warnings and errors are in color on a terminal. What a message holds of files and names is made
// printable here; a line feed stays only where two blanks follow it, which is how messages of several lines are written.
#pragma once
#include <string>

#include "apps/norma/system/terminal.h"

namespace norma::app {

// quiet: warnings and errors only.
void set_up_log(const Terminal& terminal, bool quiet);
void log_info(const std::string& message);
void log_warning(const std::string& message);
void log_error(const std::string& message);

}  // namespace norma::app
