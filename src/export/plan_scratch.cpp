#include <algorithm>

#include "src/export/c_program.h"

namespace norma {
namespace {

constexpr std::int64_t scratch_alignment = 16;  // floats: lines of a cache where scratch begins with one

// Steps in which a buffer is in use.
struct Lifetime {
  std::size_t first = 0, last = 0;
  bool used = false;
};

std::vector<Lifetime> lifetimes(const CProgram& program) {
  std::vector<Lifetime> all(program.buffers.size());
  for (std::size_t i = 0; i < program.steps.size(); ++i)
    for (const CArgument& a : program.steps[i].arguments) {
      if (a.buffer < 0) continue;
      Lifetime& l = all[static_cast<std::size_t>(a.buffer)];
      if (!l.used) l = {i, i, true};
      l.last = i;
    }
  return all;
}

}  // namespace

std::int64_t plan_scratch(CProgram& program) {
  const std::vector<Lifetime> life = lifetimes(program);
  struct Placed {
    std::int64_t begin, end;
    Lifetime life;
  };
  std::vector<Placed> placed;  // in the order of their places
  std::int64_t total = 0;
  for (std::size_t b = 1; b < program.buffers.size(); ++b) {
    if (static_cast<int>(b) == program.output || !life[b].used) continue;
    CBuffer& buffer = program.buffers[b];
    buffer.offset = 0;
    for (const Placed& p : placed) {
      const bool together = p.life.first <= life[b].last && life[b].first <= p.life.last;
      if (together && p.begin < buffer.offset + buffer.floats && buffer.offset < p.end)
        buffer.offset = (p.end + scratch_alignment - 1) / scratch_alignment * scratch_alignment;
    }
    const Placed at{buffer.offset, buffer.offset + buffer.floats, life[b]};
    placed.insert(std::ranges::upper_bound(placed, at.begin, {}, &Placed::begin), at);
    total = std::max(total, at.end);
  }
  return total;
}

}  // namespace norma
