// The log: lines on stderr, "norma: ...". Warnings and errors are in color on a terminal. Text from files and names is made printable here.
// A line feed stays only before two blanks; messages of several lines are written that way.
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
