// Recipes given as text, what is said when they are refused, and the smallest one.
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "apps/norma/recipe/recipe.h"
#include "norma/error.h"

namespace norma::app {

inline const std::string minimal = R"([data]
name = "digits"
[model]
layers = [
  { type = "flatten" },
  { type = "linear", out = 10 },
]
)";

inline Recipe parse(const std::string& text, const std::vector<Override>& overrides = {}) {
  return parse_recipe({"test", text, "test.toml", "/recipes"}, overrides);
}

inline std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage) << e.what();
    return e.what();
  }
  return "no error";
}

inline std::string refusal(const std::string& text, const std::vector<Override>& overrides = {}) {
  return message_of([&] { parse(text, overrides); });
}

inline testing::AssertionResult contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << part << "\" is not in: " << text;
}

}  // namespace norma::app
