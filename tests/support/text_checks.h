// Checks of a page's or a chart's text, and the number that is none.
#pragma once
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <string_view>

namespace norma::app {

inline constexpr double nan = std::numeric_limits<double>::quiet_NaN();

inline std::size_t count(std::string_view text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t i = text.find(part); i != std::string_view::npos; i = text.find(part, i + part.size())) ++n;
  return n;
}

inline void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "missing: " << part;
}

}  // namespace norma::app
