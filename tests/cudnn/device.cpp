#include "tests/cudnn/device.h"

#include <algorithm>
#include <stdexcept>
#include <utility>
#include <variant>

#include "kernels/cuda/backend.h"
#include "tests/cudnn/cudnn_handle.h"

namespace norma::test {
namespace {

constexpr int poison = 0xFF;

bool is_poison(std::byte b) { return b == static_cast<std::byte>(poison); }

std::string find_obstacle() {
  int devices = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&devices); status != cudaSuccess)
    return std::string("no CUDA device: ") + cudaGetErrorString(status);
  if (devices == 0) return "no CUDA device: cudaGetDeviceCount finds none";
  if (const cudaError_t status = cudaFree(nullptr); status != cudaSuccess)
    return std::string("the CUDA device cannot be used: ") + cudaGetErrorString(status);
  cudnnHandle_t handle = nullptr;
  if (const cudnnStatus_t status = cudnnCreate(&handle); status != CUDNN_STATUS_SUCCESS)
    return "cuDNN cannot be used: cudnnCreate: " + describe(status);
  check(cudnnDestroy(handle), "cudnnDestroy");
  return {};
}

}  // namespace

void check(cudaError_t status, const char* call) {
  if (status != cudaSuccess) throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(status));
}

const std::string& unavailable() {
  static const std::string obstacle = find_obstacle();
  return obstacle;
}

DeviceBuffer::DeviceBuffer(std::string name, std::size_t bytes) : name_(std::move(name)), bytes_(bytes) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, bytes_ + 2 * guard), ("cudaMalloc for " + name_).c_str());
  base_ = static_cast<std::byte*>(memory);
  check(cudaMemset(base_, poison, bytes_ + 2 * guard), ("cudaMemset of " + name_).c_str());
}

DeviceBuffer::DeviceBuffer(DeviceBuffer&& other) noexcept
    : name_(std::move(other.name_)), bytes_(other.bytes_), base_(std::exchange(other.base_, nullptr)) {}

DeviceBuffer::~DeviceBuffer() { cudaFree(base_); }  // an error shows in the next call that is checked

void DeviceBuffer::copy_in(const void* values) {
  check(cudaMemcpy(data(), values, bytes_, cudaMemcpyHostToDevice), ("cudaMemcpy to " + name_).c_str());
}

void DeviceBuffer::copy_out(void* values, std::size_t element) const {
  check(cudaDeviceSynchronize(), ("cudaDeviceSynchronize before " + name_ + " is read").c_str());
  std::vector<std::byte> all(bytes_ + 2 * guard);
  check(cudaMemcpy(all.data(), base_, all.size(), cudaMemcpyDeviceToHost), ("cudaMemcpy from " + name_).c_str());
  const auto begin = all.begin() + guard, end = begin + static_cast<std::ptrdiff_t>(bytes_);
  if (!std::all_of(all.begin(), begin, is_poison) || !std::all_of(end, all.end(), is_poison))
    throw std::runtime_error("memory beside " + name_ + " was written to");
  for (auto at = begin; at != end; at += static_cast<std::ptrdiff_t>(element))
    if (std::all_of(at, at + static_cast<std::ptrdiff_t>(element), is_poison))
      throw std::runtime_error("element " + std::to_string((at - begin) / static_cast<std::ptrdiff_t>(element)) + " of " + name_ +
                               ", as stored, was not written");
  std::copy(begin, end, static_cast<std::byte*>(values));
}

kernels::ValueId DeviceValues::out(std::string name, std::int64_t elements, std::size_t element_bytes) {
  return add({std::move(name), static_cast<std::size_t>(elements) * element_bytes});
}

kernels::ValueId DeviceValues::add(DeviceBuffer buffer) {
  addresses_.push_back(buffer.data());
  buffers_.push_back(std::move(buffer));
  return {static_cast<std::int32_t>(addresses_.size()) - 1};
}

void DeviceValues::run(const kernels::Call& call) const {
  const std::string name = std::visit([](const auto& c) { return kernels::name_of_call(c); }, call);
  const kernels::cuda::Needs needs = kernels::cuda::needs_of(call);
  const DeviceBuffer workspace("workspace", needs.workspace), counters("counters", needs.counters * sizeof(unsigned));
  check(cudaMemset(counters.data(), 0, counters.bytes()), "cudaMemset of the counters");
  int device = 0, multiprocessors = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device), "the number of multiprocessors");
  kernels::cuda::run(call, {.address = addresses_.data()},
                     {.stream = nullptr,
                      .workspace = workspace.data(),
                      .counters = reinterpret_cast<unsigned*>(counters.data()),
                      .multiprocessors = multiprocessors});
  check(cudaGetLastError(), name.c_str());
  check(cudaDeviceSynchronize(), name.c_str());
}

}  // namespace norma::test
