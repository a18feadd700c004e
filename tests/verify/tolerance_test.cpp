// Comparing one result with another sees a wrong element wherever it lies.
#include "src/verify/tolerance.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

namespace norma::reference {
namespace {

TEST(Tolerance, OneWrongElementIsSeenWhereverItLies) {
  const std::vector<Tracked> expected(5, Tracked(1));
  for (std::size_t at = 0; at < expected.size(); ++at)
    for (const double wrong : {1.5, std::numeric_limits<double>::quiet_NaN()}) {
      std::vector<double> actual(expected.size(), 1);
      actual[at] = wrong;
      for (const DType type : {DType::f32, DType::i32}) {
        const Agreement a = compare(type, actual, expected);
        EXPECT_EQ(a.elements, 5u);
        EXPECT_EQ(a.wrong, 1u) << at;
        EXPECT_EQ(a.worst, at);
        EXPECT_GT(a.share, 1);
      }
    }
  EXPECT_EQ(compare(DType::f32, std::vector<double>(5, 1), expected).wrong, 0u);
}

// Every member of a Call's state or loss: each in turn is changed, and one alone is then off.
TEST(Tolerance, EveryMemberOfStateAndLossIsCompared) {
  const auto off = [](const auto& actual, const auto& expected) {
    std::vector<std::string> names;
    for_each_member(actual, expected, [&](const char* name, const auto& a, const auto& e) {
      if (share_of_bound(a, e) > 1) names.push_back(name);
    });
    return names;
  };
  using kernels::StepState;
  const auto state = [&](const char* name, auto member) {
    StepState s{};
    s.*member += 1;
    EXPECT_EQ(off(s, StepState{}), std::vector<std::string>{name});
  };
  state("seed", &StepState::seed), state("step", &StepState::step), state("population", &StepState::population);
  state("optimizer_from", &StepState::optimizer_from);
  state("epoch", &StepState::epoch), state("position", &StepState::position), state("batch", &StepState::batch);
  state("status", &StepState::status), state("samples", &StepState::samples), state("correct", &StepState::correct);
  state("counted", &StepState::counted), state("loss_sum", &StepState::loss_sum);
  const auto loss = [&](const char* name, auto member) {
    kernels::LossResult l{};
    l.*member += 1;
    EXPECT_EQ(off(l, Loss<Tracked>{}), std::vector<std::string>{name});
  };
  using kernels::LossResult;
  loss("loss", &LossResult::loss), loss("loss_sum", &LossResult::loss_sum);
  loss("correct", &LossResult::correct), loss("counted", &LossResult::counted);
}

}  // namespace
}  // namespace norma::reference
