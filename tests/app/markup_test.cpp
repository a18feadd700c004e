// Numbers and names as the report's page writes them.
#include "apps/norma/draw/markup.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace norma::app {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

TEST(Markup, Figures) {
  EXPECT_EQ(format_number(0.34567), "0.3457");
  EXPECT_EQ(format_number(0), "0.0000");
  EXPECT_EQ(format_number(-0.00001234), "-1.23e-05");
  EXPECT_EQ(format_number(nan), "not finite");
  EXPECT_EQ(format_short(0.001), "0.001");
  EXPECT_EQ(format_percent(0.86134), "86.13 %");
  EXPECT_EQ(format_seconds(0.0042), "0.0042 s");
  EXPECT_EQ(format_seconds(1.234), "1.23 s");
  EXPECT_EQ(format_seconds(12.34), "12.3 s");
  EXPECT_EQ(format_seconds(125), "2 min 05 s");
  EXPECT_EQ(format_seconds(3720), "1 h 02 min");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1234567),
            "1\xe2\x80\xaf"
            "234\xe2\x80\xaf"
            "567");
  EXPECT_EQ(format_count(-1234),
            "-1\xe2\x80\xaf"
            "234");
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(1000), "1.00 kB");
  EXPECT_EQ(format_bytes(999'999), "1.00 MB");
  EXPECT_EQ(format_flops(389e6), "389 MFLOP");
}

TEST(Markup, EscapeKeepsTextAndNothingElse) {
  EXPECT_EQ(escape("a<b>&\"'"), "a&lt;b&gt;&amp;&quot;&#39;");
  EXPECT_EQ(escape("line\n\ttab caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x99\x82"), "line\n\ttab caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x99\x82");
  const std::string bad = "\xef\xbf\xbd";
  EXPECT_EQ(escape(std::string("\0\x1b\x7f", 3)), bad + bad + bad);
  EXPECT_EQ(escape("\xc3"), bad);                                // cut
  EXPECT_EQ(escape("\xc0\xaf"), bad + bad);                      // overlong
  EXPECT_EQ(escape("\xed\xa0\x80"), bad + bad + bad);            // surrogate
  EXPECT_EQ(escape("\xf4\x90\x80\x80"), bad + bad + bad + bad);  // past U+10FFFF
}

}  // namespace
}  // namespace norma::app
