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

}  // namespace
}  // namespace norma
