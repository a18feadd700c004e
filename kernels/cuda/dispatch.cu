// From the variant to the kernels.
#include <utility>
#include <variant>

#include "kernels/cuda/calls.h"

namespace norma::kernels::cuda {
namespace {

thread_local std::vector<Launch>* notes = nullptr;

}  // namespace

bool noted(const Launch& launch) {
  if (!notes) return false;
  if (launch.blocks > 0) notes->push_back(launch);
  return true;
}

bool is_noting() { return notes != nullptr; }

Needs needs_of(const Call& call) {
  return std::visit(
      [](const auto& c) -> Needs {
        if constexpr (requires { needs(c); }) return needs(c);
        else return {};
      },
      call);
}

bool runs_on_host(const Call& call) {
  return std::visit([](const auto& c) { return on_host<std::decay_t<decltype(c)>>; }, call);
}

void run(const Call& call, const Memory& memory, const Queue& queue) {
  std::visit([&](const auto& c) { enqueue(c, memory, queue); }, call);
}

std::vector<Launch> launches(const Call& call, const Memory& memory, int multiprocessors) {
  std::vector<Launch> all;
  struct Restored {
    std::vector<Launch>* before;
    ~Restored() { notes = before; }
  } restored{std::exchange(notes, &all)};
  // Nothing is read or written there: addresses, so that those of kernels' parts may be counted from them.
  alignas(256) static std::byte workspace[1];
  static unsigned counters[1];
  run(call, memory, {nullptr, workspace, counters, multiprocessors});
  return all;
}

}  // namespace norma::kernels::cuda
