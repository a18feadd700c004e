// Runs the nodes of a graph in random order. Every other time grids run at once where they may: some threads of one, then some of another.
// So a dependency that is missing is noticed even where either of two grids may come first.
#include <algorithm>
#include <memory>
#include <utility>

#include "tests/simt/context.h"
#include "tests/simt/engine.h"

namespace norma::simt {
namespace {

constexpr std::size_t most_at_once = 3;

struct Running {
  std::size_t node;
  std::unique_ptr<Engine> engine;
};

}  // namespace

void do_work(const Task& work) {
  if (const auto* queued = std::get_if<QueuedGrid>(&work)) run_grid(queued->grid, queued->thread);
  else visibility().outside(std::get<Work>(work));
}

void run_nodes(const std::vector<Node>& nodes) {
  static std::uint64_t launches = 0;
  Random random(++launches);
  const bool at_once = random.below(2) == 0;
  const std::uint64_t longest_turn = std::uint64_t{1} << random.below(10);  // calls of step()
  std::vector<int> waits_for(nodes.size());
  std::vector<std::vector<int>> next(nodes.size());
  std::vector<std::size_t> ready;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    waits_for[i] = static_cast<int>(nodes[i].after.size());
    for (const int before : nodes[i].after) next[static_cast<std::size_t>(before)].push_back(static_cast<int>(i));
    if (waits_for[i] == 0) ready.push_back(i);
  }
  const auto end = [&](std::size_t node) {
    for (const int after : next[node])
      if (--waits_for[static_cast<std::size_t>(after)] == 0) ready.push_back(static_cast<std::size_t>(after));
  };
  std::vector<Running> running;
  while ((!ready.empty() || !running.empty()) && !context().lost) {
    if (!ready.empty() && (running.empty() || (running.size() < most_at_once && random.below(2)))) {
      std::swap(ready[random.below(ready.size())], ready.back());
      const std::size_t i = ready.back();
      ready.pop_back();
      const auto* queued = std::get_if<QueuedGrid>(&nodes[i].work);
      if (queued && at_once && !(running.empty() && ready.empty())) {
        running.push_back({i, std::make_unique<Engine>()});
        running.back().engine->begin(queued->grid, queued->thread, false);
      } else {
        do_work(nodes[i].work);
        end(i);
      }
      continue;
    }
    const auto turn = running.begin() + random.below(running.size());
    bool goes_on = true;
    for (auto steps = 1 + random.below(longest_turn); steps > 0 && goes_on; --steps) goes_on = turn->engine->step();
    if (goes_on) continue;
    end(turn->node);
    running.erase(turn);
  }
}

}  // namespace norma::simt
