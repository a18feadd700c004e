// Memory of the GPU for tests, and norma's kernels run on it, one Call at a time.
//
// Memory starts as bytes 0xFF, which is NaN as float and as double. An output that was not written whole shows as NaN, and so does a sum
// that read uninitialised memory. Arithmetic on the GPU never makes that NaN itself.
#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/calls.h"

namespace norma::test {

// Throws std::runtime_error that names the call.
void check(cudaError_t status, const char* call);

// Why nothing can be run here, such as "no CUDA device: ..."; empty where a GPU and cuDNN can be used. Asked once per process.
const std::string& unavailable();

// Memory between two guards of 256 bytes, freed at the end. The data are 256-byte aligned.
class DeviceBuffer {
 public:
  DeviceBuffer(std::string name, std::size_t bytes);
  template <class T>
  DeviceBuffer(std::string name, std::span<const T> values) : DeviceBuffer(std::move(name), values.size_bytes()) {
    copy_in(values.data());
  }
  DeviceBuffer(DeviceBuffer&& other) noexcept;
  DeviceBuffer& operator=(DeviceBuffer&&) = delete;
  ~DeviceBuffer();

  std::byte* data() const { return base_ + guard; }
  std::size_t bytes() const { return bytes_; }

  // Waits for the GPU. Throws std::runtime_error if a guard was written to or a whole element never was.
  template <class T = float>
  std::vector<T> read() const {
    std::vector<T> values(bytes_ / sizeof(T));
    copy_out(values.data(), sizeof(T));
    return values;
  }

 private:
  static constexpr std::size_t guard = 256;

  void copy_in(const void* values);
  void copy_out(void* values, std::size_t element) const;

  std::string name_;
  std::size_t bytes_ = 0;
  std::byte* base_ = nullptr;
};

// The values of one or more Calls, on the GPU.
class DeviceValues {
 public:
  template <class T>
  kernels::ValueId in(std::string name, const std::vector<T>& values) {
    return add({std::move(name), std::span<const T>(values)});
  }
  kernels::ValueId out(std::string name, std::int64_t elements, std::size_t element_bytes = sizeof(float));

  template <class T = float>
  std::vector<T> read(kernels::ValueId id) const {
    return buffers_[static_cast<std::size_t>(id.index)].read<T>();
  }
  std::byte* address(kernels::ValueId id) const { return addresses_[static_cast<std::size_t>(id.index)]; }

  // Runs norma's kernels for a Call, with a workspace of its own, and waits. Throws std::runtime_error on a CUDA error.
  void run(const kernels::Call& call) const;

 private:
  kernels::ValueId add(DeviceBuffer buffer);

  std::vector<DeviceBuffer> buffers_;
  std::vector<std::byte*> addresses_;
};

}  // namespace norma::test
