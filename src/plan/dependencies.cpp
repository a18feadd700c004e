// Finds the Calls that each of a Plan's Calls must wait for.
#include <algorithm>

#include "src/plan/plan.h"

namespace norma {
namespace {

struct TouchedRange {
  Region region;
  std::size_t begin, end;
  bool written;
};

// Lists the memory that a Call touches and any Call writes.
std::vector<TouchedRange> touched(const Plan& plan, const Call& call) {
  std::vector<TouchedRange> ranges;
  for_each_operand(call, [&](const kernels::Operand& o) {
    if (!o.value || plan[o.value].region == Region::data) return;
    const PlanValue& v = plan[o.value];
    ranges.push_back({v.region, v.offset, v.offset + v.bytes, o.access != kernels::Access::read});
  });
  return ranges;
}

bool conflict(const std::vector<TouchedRange>& a, const std::vector<TouchedRange>& b) {
  return std::any_of(a.begin(), a.end(), [&](const TouchedRange& x) {
    return std::any_of(b.begin(), b.end(), [&](const TouchedRange& y) {
      return (x.written || y.written) && x.region == y.region && x.begin < y.end && y.begin < x.end;
    });
  });
}

}  // namespace

std::vector<std::vector<int>> dependencies(const Plan& plan) {
  const std::size_t n = plan.calls.size();
  std::vector<std::vector<TouchedRange>> ranges;
  for (const PlanCall& c : plan.calls) ranges.push_back(touched(plan, c.call));
  std::vector<std::vector<bool>> before(n, std::vector<bool>(n));  // before[i][j]: j has ended when i begins
  std::vector<std::vector<int>> waits(n);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = i; j-- > 0;) {
      if (before[i][j] || !conflict(ranges[i], ranges[j])) continue;
      waits[i].push_back(static_cast<int>(j));
      before[i][j] = true;
      for (std::size_t k = 0; k < j; ++k)
        if (before[j][k]) before[i][k] = true;
    }
  return waits;
}

int longest_chain(const std::vector<std::vector<int>>& dependencies) {
  std::vector<int> length;
  for (const std::vector<int>& waits : dependencies) {
    int longest = 0;
    for (const int j : waits) longest = std::max(longest, length[static_cast<std::size_t>(j)]);
    length.push_back(longest + 1);
  }
  return length.empty() ? 0 : *std::max_element(length.begin(), length.end());
}

}  // namespace norma
