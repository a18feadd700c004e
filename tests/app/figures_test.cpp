// Figures as pages and lines of a terminal show them.
#include "apps/norma/system/figures.h"

#include <gtest/gtest.h>

#include "tests/support/text_checks.h"

namespace norma::app {
namespace {

TEST(Figures, OfPages) {
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

TEST(Figures, OfATerminalAreShort) {
  EXPECT_EQ(short_count(0), "0");
  EXPECT_EQ(short_count(999), "999");
  EXPECT_EQ(short_count(999.6), "1.00k");
  EXPECT_EQ(short_count(1240), "1.24k");
  EXPECT_EQ(short_count(31087), "31k");
  EXPECT_EQ(short_count(1.24e6), "1.24M");
  EXPECT_EQ(short_duration(1.934), "1.93 s");
  EXPECT_EQ(short_duration(9.999), "10.0 s");
  EXPECT_EQ(short_duration(59.96), "1:00");
  EXPECT_EQ(short_duration(3599.6), "1:00:00");
  EXPECT_EQ(short_duration(3729), "1:02:09");
  EXPECT_EQ(short_loss(0.43125001), "0.4313");
  EXPECT_EQ(short_loss(1.7411e31), "1.741e+31");
}

}  // namespace
}  // namespace norma::app
