#include "tests/cuda/gpu.h"

#include <algorithm>

#include "kernels/cuda/backend.h"

namespace norma::test {
namespace {

constexpr std::size_t guard = PlanMemory::guard;
constexpr std::byte poison{0xFF};  // NaN as float and as double

void run_together(const Call& call, const PlanMemory& memory) {
  const std::span<std::byte> block = memory.block();
  const DeviceBytes device(block.size());
  device.write(block);
  std::vector<std::byte*> addresses;
  for (std::byte* const p : memory.addresses()) addresses.push_back(device.data() + (p - block.data()));
  run_on_gpu(call, addresses);
  device.read(block);
}

// `shift`: bytes that value i begins after an aligned address.
template <class Shift>
void run_apart(const Call& call, const PlanMemory& memory, Shift shift) {
  std::vector<DeviceBytes> values;
  std::vector<std::byte*> addresses;
  for (std::size_t i = 0; i < memory.addresses().size(); ++i) {
    const ValueId id{static_cast<std::int32_t>(i)};
    values.emplace_back(shift(id) + memory.bytes(id).size());
    values.back().write(memory.bytes(id), shift(id));
    addresses.push_back(values.back().data() + shift(id));
  }
  run_on_gpu(call, addresses, false);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const ValueId id{static_cast<std::int32_t>(i)};
    values[i].read(memory.bytes(id), shift(id));
  }
}

}  // namespace

void run_on_gpu(const Call& call, std::span<std::byte* const> addresses, bool watch_workspace) {
  const std::string name = name_of(call);
  const kernels::cuda::Needs needs = kernels::cuda::needs_of(call);
  const std::size_t bytes = needs.workspace, beyond = watch_workspace ? guard : 0;
  const DeviceBytes workspace(bytes + beyond), counters(needs.counters * sizeof(unsigned));
  norma::cuda::check(cudaMemset(counters.data(), 0, counters.size()), "clearing the counters");
  if (watch_workspace)
    norma::cuda::check(cudaMemset(workspace.data(), static_cast<int>(poison), workspace.size()), "filling the workspace");
  int device = 0, multiprocessors = 0;
  norma::cuda::check(cudaGetDevice(&device), "asking for the device");
  norma::cuda::check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device), "counting multiprocessors");
  kernels::cuda::run(call, kernels::Memory{addresses.data()},
                     {.stream = nullptr,
                      .workspace = workspace.data(),
                      .counters = reinterpret_cast<unsigned*>(counters.data()),
                      .multiprocessors = multiprocessors});
  norma::cuda::check(cudaGetLastError(), "launching " + name);
  norma::cuda::check(cudaDeviceSynchronize(), "running " + name);
  std::vector<std::byte> left(counters.size());
  counters.read(left, 0);
  if (std::any_of(left.begin(), left.end(), [](std::byte b) { return b != std::byte{0}; }))
    throw Error(ErrorKind::failure, name + " left a counter that is not 0");
  if (!watch_workspace) return;
  std::vector<std::byte> end(beyond);
  workspace.read(end, bytes);
  if (std::any_of(end.begin(), end.end(), [](std::byte b) { return b != poison; }))
    throw Error(ErrorKind::failure, name + " wrote beyond its workspace of " + std::to_string(bytes) + " bytes");
}

RunCall on_gpu(const CallCase& c, Placement placement) {
  switch (placement) {
    case Placement::together: return run_together;
    case Placement::apart:
      return [](const Call& call, const PlanMemory& memory) { run_apart(call, memory, [](ValueId) { return std::size_t{0}; }); };
    case Placement::unaligned: break;
  }
  return [&plan = c.plan](const Call& call, const PlanMemory& memory) {
    run_apart(call, memory, [&](ValueId id) { return plan[id].dtype == DType::bytes ? std::size_t{0} : size_of(plan[id].dtype); });
  };
}

}  // namespace norma::test
