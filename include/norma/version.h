// norma's version. CMake reads it here, too.
#pragma once
#include "norma/export.h"

#define NORMA_VERSION_MAJOR 0
#define NORMA_VERSION_MINOR 1
#define NORMA_VERSION_PATCH 0

// For comparisons: 100 is 0.1.0, 10203 is 1.2.3.
#define NORMA_VERSION (10000 * NORMA_VERSION_MAJOR + 100 * NORMA_VERSION_MINOR + NORMA_VERSION_PATCH)

#define NORMA_TEXT_OF(number) #number
#define NORMA_VERSION_TEXT(major, minor, patch) NORMA_TEXT_OF(major) "." NORMA_TEXT_OF(minor) "." NORMA_TEXT_OF(patch)

namespace norma {
inline constexpr const char* version = NORMA_VERSION_TEXT(NORMA_VERSION_MAJOR, NORMA_VERSION_MINOR, NORMA_VERSION_PATCH);  // "0.1.0"
}
