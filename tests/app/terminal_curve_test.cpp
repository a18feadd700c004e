// The curve for a terminal: what it shows, and that it fits.
#include "apps/norma/draw/terminal_curve.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <sstream>
#include <vector>

namespace norma::app {
namespace {

std::size_t longest_line(const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  std::size_t longest = 0;
  while (std::getline(lines, line)) longest = std::max(longest, line.size());
  return longest;
}

TEST(TextCurve, ShowsTheValues) {
  const std::vector<double> rising = {0.25, 0.5, 1.0};
  EXPECT_EQ(text_curve("test accuracy", rising, CurveUnit::share, 24),
            "         test accuracy\n"
            "100.00% |             *\n"
            "        |            .\n"
            "        |          ..\n"
            "        |         .\n"
            "        |        .\n"
            "        |     ..*\n"
            "        |  ...\n"
            " 25.00% |*.\n"
            "        +--------------\n"
            "         1            3\n");
}

TEST(TextCurve, FitsTheTerminal) {
  std::vector<double> values;
  for (int i = 0; i < 1000; ++i) {
    values.push_back(1 / (1.0 + i));
    for (const int columns : {24, 40, 80, 300}) {
      const std::string text = text_curve("loss", values, CurveUnit::number, columns);
      EXPECT_EQ(text.empty(), values.size() < 2);
      EXPECT_LT(longest_line(text), static_cast<std::size_t>(std::min(columns, 71))) << text;
    }
  }
  EXPECT_EQ(text_curve("loss", values, CurveUnit::number, 12), "");
}

TEST(TextCurve, LeavesOutWhatIsNotFinite) {
  const std::vector<double> values = {1, NAN, 3, INFINITY, 2};
  const std::string text = text_curve("loss", values, CurveUnit::number, 40);
  EXPECT_EQ(std::count(text.begin(), text.end(), '*'), 3);
  EXPECT_EQ(text_curve("loss", std::vector<double>{1, NAN}, CurveUnit::number, 40), "");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 11);
  const std::string flat = text_curve("loss", std::vector<double>{2, 2}, CurveUnit::number, 40);
  EXPECT_NE(flat.find('*'), std::string::npos);
}

}  // namespace
}  // namespace norma::app
