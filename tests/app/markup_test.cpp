// Names as the report's page writes them.
#include "apps/norma/draw/markup.h"

#include <gtest/gtest.h>

#include <string>

namespace norma::app {
namespace {

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
