// Calls of the tables' cases on GPU 0: their memory goes there and comes back.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "src/execute/cuda_memory.h"
#include "tests/support/call_check.h"

namespace norma::test {

// Placement of a Call's values on the GPU.
enum class Placement : std::uint8_t {
  together,   // one block with the host's guards between them, so that check() sees what was written there
  apart,      // each in an allocation of exactly its bytes, and the workspace never written: what compute-sanitizer can watch
  unaligned,  // one element beyond an aligned address, as far as the type allows; opaque values are aligned
};

// Waits for the GPU. Throws norma::Error on a CUDA error, and where the workspace was exceeded (together).
RunCall on_gpu(const CallCase& c, Placement placement);

// Memory of the GPU that starts as it is.
class DeviceBytes {
 public:
  explicit DeviceBytes(std::size_t bytes) : bytes_(bytes) {
    if (bytes) cuda::check(cudaMalloc(&data_, bytes), "allocating " + std::to_string(bytes) + " bytes");
  }
  ~DeviceBytes() { (void)cudaFree(data_); }
  DeviceBytes(DeviceBytes&& o) noexcept : data_(std::exchange(o.data_, nullptr)), bytes_(o.bytes_) {}
  DeviceBytes& operator=(DeviceBytes&&) = delete;

  std::byte* data() const { return static_cast<std::byte*>(data_); }
  std::size_t size() const { return bytes_; }
  void write(std::span<const std::byte> from, std::size_t at = 0) const {
    cuda::check(cudaMemcpy(data() + at, from.data(), from.size(), cudaMemcpyHostToDevice), "copying to the GPU");
  }
  void read(std::span<std::byte> to, std::size_t at = 0) const {
    cuda::check(cudaMemcpy(to.data(), data() + at, to.size(), cudaMemcpyDeviceToHost), "copying from the GPU");
  }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// Runs a Call on values at these addresses, by number, and waits. Throws as on_gpu.
void run_on_gpu(const Call& call, std::span<std::byte* const> addresses, bool watch_workspace = true);

}  // namespace norma::test
