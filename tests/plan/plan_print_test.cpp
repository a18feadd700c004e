// print: a table whose columns stand below their names.
#include <gtest/gtest.h>

#include <sstream>

#include "norma/norma.h"

namespace norma {
namespace {

TEST(PlanPrint, ColumnsStandBelowTheirNames) {
  const nn::Sequential net{nn::Conv2d{.out = 6, .kernel = 5}, nn::Flatten{}, nn::Linear{.out = 10}};
  std::istringstream lines(print(*compile(net, {.input = {1, 28, 28}, .batch = 16}, Mode::train)));
  std::string header, row;
  while (std::getline(lines, header) && header[0] != '#') {
  }
  while (std::getline(lines, row) && row.find("conv2d_forward") == std::string::npos) {
  }
  ASSERT_NE(row.find("5x5"), std::string::npos) << "a call with details";
  for (const char* name : {"#", "call", "module", "output", "offset", "bytes", "flops", "detail"}) {
    const std::size_t at = header.find(name);
    ASSERT_LT(at, row.size()) << name;
    EXPECT_NE(row[at], ' ') << name << " of:\n" << header << "\n" << row;
    EXPECT_TRUE(at == 0 || row[at - 1] == ' ') << name << " of:\n" << header << "\n" << row;
  }
}

TEST(PlanPrint, TotalsOfAPhaseStandBelowTheCalls) {
  const nn::Sequential net{nn::Conv2d{.out = 6, .kernel = 5}, nn::BatchNorm{}, nn::Flatten{}, nn::Linear{.out = 10}};
  TrainerOptions options{.input = {1, 28, 28}, .batch = 16};
  options.executor.threads = 1;
  const std::string text = print(*compile(net, options, Mode::train));
  const std::size_t header = text.find("#   call"), totals = text.find("totals of "), line = text.rfind('\n', totals) + 1;
  ASSERT_NE(header, std::string::npos);
  ASSERT_NE(totals, std::string::npos) << text;
  EXPECT_EQ(totals - line, 4u) << text;
}

}  // namespace
}  // namespace norma
