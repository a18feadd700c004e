// Learning rates of schedules at their edges; golden_test.cpp has PyTorch's inside them.
#include <gtest/gtest.h>

#include "norma/optimizer.h"

namespace norma::test {
namespace {

TEST(LearningRate, AOneCycleWhosePeakIsItsFirstStepOnlyFalls) {
  // 10 steps: the peak would lie at step 0.01 * 10 - 1, before the first, or at 0.1 * 10 - 1, on it.
  for (const double pct_start : {0.01, 0.1}) {
    const Schedule schedule{.kind = Schedule::Kind::one_cycle, .pct_start = pct_start, .div_factor = 10, .final_div_factor = 100};
    EXPECT_EQ(schedule.factor(0, 10, 10), 1) << pct_start;
    for (int step = 1; step < 10; ++step) EXPECT_LT(schedule.factor(step, 10, 10), schedule.factor(step - 1, 10, 10)) << pct_start;
    EXPECT_NEAR(schedule.factor(9, 10, 10), 1e-3, 1e-15) << pct_start;
  }
}

TEST(LearningRate, AOneCycleOfOneStepIsAtItsPeak) {
  const Schedule schedule{.kind = Schedule::Kind::one_cycle};
  EXPECT_EQ(schedule.factor(0, 1, 1), 1);
}

}  // namespace
}  // namespace norma::test
