// cuDNN's graph API, as far as a graph of one operation needs it.
#pragma once
#include <cudnn.h>

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "tests/cudnn/cudnn_handle.h"

namespace norma::test {

// A descriptor of cuDNN's backend: attributes are set, then it is finalized. Every failure throws; the message names the step.
class BackendDescriptor {
 public:
  explicit BackendDescriptor(cudnnBackendDescriptorType_t type);
  BackendDescriptor(BackendDescriptor&& other) noexcept : descriptor_(std::exchange(other.descriptor_, nullptr)) {}
  BackendDescriptor& operator=(BackendDescriptor&&) = delete;
  ~BackendDescriptor();

  template <class T>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const T& value) {
    set_array(name, type, std::span<const T>(&value, 1));
  }
  template <class T>
  void set_array(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::span<const T> values) {
    set_elements(name, type, static_cast<std::int64_t>(values.size()), values.data());
  }
  void finalize(const char* what);
  cudnnBackendDescriptor_t get() const { return descriptor_; }

 private:
  void set_elements(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count, const void* values);

  cudnnBackendDescriptor_t descriptor_ = nullptr;
};

using TensorExtents = std::array<std::int64_t, 4>;

// An operation, its float tensors and where they are. It is planned once and can be run again with its tensors elsewhere.
class GraphOperation {
 public:
  using Slot = std::size_t;

  explicit GraphOperation(cudnnBackendDescriptorType_t type) : operation_(type) {}

  template <class T>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const T& value) {
    operation_.set(name, type, value);
  }
  // A tensor on the GPU, of the given role.
  Slot tensor(cudnnBackendAttributeName_t role, const TensorExtents& dims, const TensorExtents& strides, void* data);
  // A number that is passed by value, from the host.
  Slot scalar(cudnnBackendAttributeName_t role, float value);

  void move(Slot tensor, void* data) { addresses_[tensor] = data; }
  void change(Slot scalar, float value) { *static_cast<float*>(addresses_[scalar]) = value; }

  // Runs, then waits. Takes the first plan that can be made of cuDNN's heuristic mode A, then of its fallback mode. cuDNN may compile it
  // (NVRTC). Throws Unsupported where no plan can be made.
  void run();

  // run() in parts, for many runs. workspace_bytes makes the plan; it returns the plan's workspace. variant_pack holds the current
  // addresses of tensors and workspace. enqueue runs on the handle's stream, without waiting.
  std::size_t workspace_bytes();
  BackendDescriptor variant_pack(void* workspace) const;
  void enqueue(const BackendDescriptor& variant_pack) const;

 private:
  Slot add(cudnnBackendAttributeName_t role, const TensorExtents& dims, const TensorExtents& strides, void* data, bool by_value);
  void make_plan();

  BackendDescriptor operation_;
  std::vector<BackendDescriptor> tensors_;
  std::vector<std::int64_t> ids_;
  std::vector<void*> addresses_;
  std::deque<float> scalars_;                                      // addresses of its elements stay
  std::optional<BackendDescriptor> graph_, configuration_, plan_;  // each refers to the one before
};

}  // namespace norma::test
