// Memory of GPU 0, and a Call on it. For nvcc, too: few headers.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "kernels/calls.h"
#include "src/execute/cuda_memory.h"

namespace norma::test {

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

// Runs a Call on values at these addresses, by number, and waits. Throws norma::Error on a CUDA error, and where the
// workspace was exceeded.
void run_on_gpu(const kernels::Call& call, std::span<std::byte* const> addresses, bool watch_workspace = true);

}  // namespace norma::test
