// Checks of a page's or a chart's text.
#pragma once
#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace norma::app {

inline std::size_t count(std::string_view text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t i = text.find(part); i != std::string_view::npos; i = text.find(part, i + part.size())) ++n;
  return n;
}

inline void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "missing: " << part;
}

}  // namespace norma::app
