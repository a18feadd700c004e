// The state of the fake CUDA runtime.
#pragma once
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <variant>
#include <vector>

#include "tests/simt/runtime.h"

using Work = std::function<void()>;

// A grid and what each of its threads does.
struct QueuedGrid {
  norma::simt::Grid grid;
  Work thread;
};
using Task = std::variant<QueuedGrid, Work>;
// A node of a graph, and the numbers of those that it follows, which are smaller.
struct Node {
  Task work;
  std::vector<int> after;
};
// The recording that several streams share.
struct Capture {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusActive;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  cudaStream_t origin = nullptr;
  std::vector<Node> nodes;
};

struct CUstream_st {
  bool blocking = true;                // waits for the legacy stream, and that for it
  std::deque<Task> pending;            // deferred
  std::shared_ptr<Capture> capture{};  // that the stream takes part in, or null
  std::vector<int> frontier;           // the nodes that its next one follows
};
struct CUevent_st {
  bool timed = true;
  bool recorded = false;
  double seconds = 0;
  cudaStream_t stream = nullptr;       // it was recorded on
  std::shared_ptr<Capture> capture{};  // in which, or null
  std::vector<int> nodes;              // of the capture: what a stream waits for
};
struct CUgraph_st {
  std::vector<Node> nodes;
};
struct CUgraphExec_st {
  std::vector<Node> nodes;
};

namespace norma::simt {

inline constexpr int threads_per_multiprocessor = 2048;

// Objects of CUDA behind their handles.
template <class T>
class Handles {
 public:
  T* add(T object) {
    auto owned = std::make_unique<T>(std::move(object));
    T* handle = owned.get();
    alive_.emplace(handle, std::move(owned));
    return handle;
  }
  bool has(T* handle) const { return alive_.contains(handle); }
  bool remove(T* handle) { return alive_.erase(handle) > 0; }
  std::size_t size() const { return alive_.size(); }
  template <class F>
  void for_each(F f) {
    for (auto& [handle, object] : alive_) f(*object);
  }

 private:
  std::map<T*, std::unique_ptr<T>> alive_;
};

// Memory by address. Bytes start as `unset`.
class Allocations {
 public:
  // of_device: kernels share it, so that visibility() knows it.
  explicit Allocations(bool of_device) : of_device_(of_device) {}
  Allocations(const Allocations&) = delete;
  Allocations& operator=(const Allocations&) = delete;
  ~Allocations();
  void* add(std::size_t bytes);
  bool remove(void* memory);
  // True if all these bytes lie in one allocation; for no bytes, if the address does.
  bool hold(const void* address, std::size_t bytes) const;
  std::size_t bytes() const { return bytes_; }
  std::size_t size() const { return alive_.size(); }

 private:
  std::map<const std::byte*, std::size_t> alive_;
  std::size_t bytes_ = 0;
  bool of_device_;
};

struct Context {
  Machine machine;
  int device = 0;
  cudaError_t last = cudaSuccess;
  cudaError_t lost = cudaSuccess;  // the error of running after which nothing works
  Allocations memory{true}, pinned{false};
  Handles<CUstream_st> streams;
  Handles<CUevent_st> events;
  Handles<CUgraph_st> graphs;
  Handles<CUgraphExec_st> graph_execs;
};
Context& context();

// Remembers an error for cudaGetLastError, and returns it.
cudaError_t report(cudaError_t error);
// Why nothing can be done at all: no driver, no device, an earlier error of running.
cudaError_t unusable();
// True if a kernel that fails with this error loses the context.
bool loses_context(cudaError_t error);

// The reason why the stream can take no work: unusable(), no such stream, a failed capture, or the legacy stream. That one waits for
// blocking streams and so fails their captures.
cudaError_t refused(cudaStream_t stream);
// Fails the captures during which a call is forbidden (those in relaxed mode: no call but `relaxed_too`), and returns the call's error.
cudaError_t forbid_in_capture(cudaError_t error, bool relaxed_too = false);

// Captures, puts off or does the work of a stream that does not refuse.
void submit(cudaStream_t stream, Task work);
void do_work(const Task& work);
// Does the work of nodes, each after those that it follows.
void run_nodes(const std::vector<Node>& nodes);
// Does what the stream put off; null: what all have.
void drain(cudaStream_t stream);

}  // namespace norma::simt
