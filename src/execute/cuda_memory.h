// Owns the CUDA runtime's resources and checks every call to it.
#pragma once
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <utility>

#include "norma/error.h"

namespace norma::cuda {

// "cudaErrorIllegalAddress: an illegal memory access was encountered"
inline std::string text_of(cudaError_t e) { return std::string(cudaGetErrorName(e)) + ": " + cudaGetErrorString(e); }

// Throws Error(failure) naming the operation, unless e is cudaSuccess.
inline void check(cudaError_t e, const std::string& doing) {
  if (e == cudaSuccess) return;
  (void)cudaGetLastError();  // it has been told
  throw Error(ErrorKind::failure, "CUDA: " + doing + ": " + text_of(e));
}

// Zeroed memory of the device.
class Block {
 public:
  Block() = default;
  // Throws Error(failure) naming `what`, its size and the free memory.
  Block(std::size_t bytes, const std::string& what) : bytes_(bytes) {
    if (!bytes) return;
    const cudaError_t e = cudaMalloc(&data_, bytes);
    if (e == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();
      std::size_t available = 0, total = 0;
      check(cudaMemGetInfo(&available, &total), "asking for the free memory");
      const auto megabytes = [](std::size_t n) { return std::to_string((n + (1 << 20) - 1) >> 20) + " MB"; };
      throw Error(ErrorKind::failure, "the GPU is out of memory: " + what + " need " + megabytes(bytes) + ", " + megabytes(available) +
                                          " of " + megabytes(total) +
                                          " are free; lower the batch size, or free memory that other programs hold");
    }
    check(e, "allocating " + what);
    check(cudaMemset(data_, 0, bytes), "clearing " + what);
    check(cudaStreamSynchronize(nullptr), "clearing " + what);  // work queued on other streams does not wait for it
  }
  ~Block() { (void)cudaFree(data_); }
  Block(Block&& o) noexcept : data_(std::exchange(o.data_, nullptr)), bytes_(std::exchange(o.bytes_, 0)) {}
  Block& operator=(Block&& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(bytes_, o.bytes_);
    return *this;
  }
  std::byte* data() const { return static_cast<std::byte*>(data_); }
  std::size_t size() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

class Stream {
 public:
  Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream"); }
  ~Stream() {
    if (stream_) (void)cudaStreamDestroy(stream_);
  }
  Stream(Stream&& o) noexcept : stream_(std::exchange(o.stream_, nullptr)) {}
  Stream& operator=(Stream&&) = delete;
  operator cudaStream_t() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

class Event {
 public:
  // flags: cudaEventDisableTiming where it only orders work.
  explicit Event(unsigned flags = cudaEventDefault) { check(cudaEventCreateWithFlags(&event_, flags), "making an event"); }
  ~Event() {
    if (event_) (void)cudaEventDestroy(event_);
  }
  Event(Event&& o) noexcept : event_(std::exchange(o.event_, nullptr)) {}
  Event& operator=(Event&&) = delete;
  operator cudaEvent_t() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

// A Plan's kernels as one launch.
class Graph {
 public:
  Graph() = default;
  // Instantiates the graph recorded on a capturing stream.
  explicit Graph(cudaGraph_t recorded) {
    const cudaError_t e = cudaGraphInstantiate(&graph_, recorded, 0);
    (void)cudaGraphDestroy(recorded);
    check(e, "making a graph of a Plan");
  }
  ~Graph() {
    if (graph_) (void)cudaGraphExecDestroy(graph_);
  }
  Graph(Graph&& o) noexcept : graph_(std::exchange(o.graph_, nullptr)) {}
  Graph& operator=(Graph&& o) noexcept {
    std::swap(graph_, o.graph_);
    return *this;
  }
  explicit operator bool() const { return graph_; }
  operator cudaGraphExec_t() const { return graph_; }

 private:
  cudaGraphExec_t graph_ = nullptr;
};

// Copies between the host and the device, in pieces through page-locked memory, which the device reads and writes by itself.
class Staging {
 public:
  Staging() { check(cudaMallocHost(&memory_, piece), "allocating page-locked memory"); }
  ~Staging() { (void)cudaFreeHost(memory_); }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // Done when they return.
  void to_device(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
    for (std::size_t at = 0; at < bytes; at += piece) {
      const std::size_t n = std::min(piece, bytes - at);
      std::memcpy(memory_, static_cast<const std::byte*>(from) + at, n);
      check(cudaMemcpyAsync(static_cast<std::byte*>(to) + at, memory_, n, cudaMemcpyHostToDevice, stream), "copying to the GPU");
      check(cudaStreamSynchronize(stream), "copying to the GPU, or a kernel before it");
    }
  }
  void to_host(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
    for (std::size_t at = 0; at < bytes; at += piece) {
      const std::size_t n = std::min(piece, bytes - at);
      check(cudaMemcpyAsync(memory_, static_cast<const std::byte*>(from) + at, n, cudaMemcpyDeviceToHost, stream), "copying from the GPU");
      check(cudaStreamSynchronize(stream), "copying from the GPU, or a kernel before it");
      std::memcpy(static_cast<std::byte*>(to) + at, memory_, n);
    }
  }

 private:
  static constexpr std::size_t piece = std::size_t{4} << 20;
  void* memory_ = nullptr;
};

}  // namespace norma::cuda
