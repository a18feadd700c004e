// Running one Call of a case on the emulated GPU.
#pragma once
#include <cstdint>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cuda/backend.h"
#include "tests/simt/emulator.h"
#include "tests/simt/visibility.h"
#include "tests/support/call_check.h"

namespace norma::test {

// A workspace of exactly the bytes asked for, full of NaN: AddressSanitizer watches its ends.
class Workspace {
 public:
  explicit Workspace(std::size_t bytes) : data_(static_cast<std::byte*>(::operator new (bytes, std::align_val_t{alignment}))) {
    for (std::size_t i = 0; i < bytes; ++i) data_.get()[i] = std::byte{0xFF};
  }
  std::byte* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(std::byte* p) const { ::operator delete (p, std::align_val_t{alignment}); }
  };
  std::unique_ptr<std::byte, Free> data_;
};

inline RunCall emulated(const simt::Options& options, int multiprocessors = 3) {
  return [=](const Call& call, const PlanMemory& memory) {
    const simt::ScopedOptions scope(options);
    const kernels::cuda::Needs needs = kernels::cuda::needs_of(call);
    const Workspace workspace(needs.workspace);
    std::vector<unsigned> counters(needs.counters);
    const simt::ScopedDeviceMemory values(memory.block().data(), memory.block().size()), scratch(workspace.data(), needs.workspace),
        counted(counters.data(), counters.size() * sizeof(unsigned));
    kernels::cuda::run(call, memory.view(),
                       {.stream = nullptr, .workspace = workspace.data(), .counters = counters.data(), .multiprocessors = multiprocessors});
    for (const unsigned c : counters)
      if (c != 0) throw std::logic_error(std::string(name_of(call)) + " left a counter at " + std::to_string(c));
  };
}

}  // namespace norma::test
