// The dependencies between Calls, from which a graph's edges are made.
#include <gtest/gtest.h>

#include "src/plan/lower.h"

namespace norma {
namespace {

// Flat values of four floats each, side by side in the activations; Adds over them, by number: y, a, b.
Plan plan_of(const std::vector<std::array<int, 3>>& additions) {
  Plan plan;
  for (int i = 0; i < 8; ++i) {
    const std::size_t offset = static_cast<std::size_t>(i) * 16;
    plan.values.push_back({.name = std::to_string(i), .shape = Shape{4}, .bytes = 16, .offset = offset});
  }
  for (const auto& [y, a, b] : additions) plan.calls.push_back({kernels::Add{.y = {y}, .a = {a}, .b = {b}, .dims = {.n = 4, .c = 1}}, ""});
  return plan;
}

using Waits = std::vector<std::vector<int>>;

TEST(Dependencies, ReadingAfterWritingWritingAfterReadingWritingAfterWriting) {
  EXPECT_EQ(dependencies(plan_of({{0, 1, 2}, {3, 0, 2}})), (Waits{{}, {0}}));
  EXPECT_EQ(dependencies(plan_of({{0, 1, 2}, {2, 3, 4}})), (Waits{{}, {0}}));
  EXPECT_EQ(dependencies(plan_of({{0, 1, 2}, {0, 3, 4}})), (Waits{{}, {0}}));
  EXPECT_EQ(dependencies(plan_of({{0, 1, 2}, {3, 1, 2}})), (Waits{{}, {}})) << "both read";
}

TEST(Dependencies, ThoseThatAnotherWaitsForAreLeftOut) {
  const Waits waits = dependencies(plan_of({{0, 6, 7}, {1, 0, 7}, {2, 0, 7}, {3, 1, 2}, {4, 3, 0}}));
  EXPECT_EQ(waits, (Waits{{}, {0}, {0}, {2, 1}, {3}}));
  EXPECT_EQ(longest_chain(waits), 4);
  EXPECT_EQ(longest_chain({}), 0);
}

TEST(Dependencies, MemoryThatIsReusedMakesOne) {
  Plan plan = plan_of({{0, 1, 2}, {3, 4, 5}});
  EXPECT_EQ(dependencies(plan), (Waits{{}, {}}));
  plan.values[3].offset = plan.values[2].offset + 12;  // its first float is the last of 2
  EXPECT_EQ(dependencies(plan), (Waits{{}, {0}}));
  plan.values[3].region = Region::buffers;
  EXPECT_EQ(dependencies(plan), (Waits{{}, {}}));
}

}  // namespace
}  // namespace norma
