// Memory for one small Plan outside any Executor: every value by itself, 256-byte aligned, between guards that no kernel may touch.
//
// Memory starts as the guard pattern, which is NaN as float and as double. An output that was not written whole shows as NaN, and so does a
// sum that reached beyond its operand.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <vector>

#include "kernels/cpu/scratch.h"
#include "kernels/memory.h"
#include "kernels/reference/reference.h"
#include "src/execute/tensor_io.h"
#include "src/plan/plan.h"

namespace norma::test {

class PlanMemory {
 public:
  static constexpr std::size_t guard = alignment;
  static constexpr int most_threads = 8;  // of the CPU's kernels that run on it
  static constexpr std::uint32_t pattern = 0x7FF5A5A5;

  // The Plan must outlive it.
  explicit PlanMemory(const Plan& plan) : plan_(plan) {
    std::size_t end = guard;
    for (const PlanValue& v : plan.values) {
      offsets_.push_back(end);
      end += (v.bytes + alignment - 1) / alignment * alignment + guard;
    }
    size_ = end;
    data_ = allocate(size_);
    std::size_t scratch = 0;
    for (const PlanCall& c : plan.calls) scratch = std::max(scratch, kernels::cpu::scratch_bytes(c.call, most_threads));
    if (scratch) scratch_ = allocate(scratch);
    for (std::size_t i = 0; i < size_; i += sizeof pattern) std::memcpy(data_.get() + i, &pattern, sizeof pattern);
    for (std::size_t offset : offsets_) addresses_.push_back(data_.get() + offset);
  }

  kernels::Memory view() const { return {.address = addresses_.data(), .scratch = scratch_.get()}; }
  std::span<std::byte> bytes(ValueId v) const { return {addresses_[static_cast<std::size_t>(v.index)], plan_[v].bytes}; }

  // All of it, guards included; addresses() lie in it.
  std::span<std::byte> block() const { return {data_.get(), size_}; }
  std::span<std::byte* const> addresses() const { return addresses_; }

  template <class T>
  T& as(ValueId v) const {
    return *reinterpret_cast<T*>(bytes(v).data());
  }

  // Logical elements in NCHW order; padding lanes of floats become `padding`.
  void write(ValueId id, std::span<const double> values, double padding = 0) {
    if (plan_[id].dtype == DType::f32)
      for (std::size_t k = 0; k < bytes(id).size() / sizeof(float); ++k) as_array<float>(id)[k] = static_cast<float>(padding);
    set_elements(plan_[id], values, bytes(id));
  }

  std::vector<double> read(ValueId id) const { return elements(plan_[id], bytes(id)); }

  // f(element of memory) for the padding lanes of a value.
  template <class F>
  void for_each_padding(ValueId id, F f) const {
    if (plan_[id].in_lanes() && plan_[id].dtype == DType::f32)
      reference::for_each_padding(plan_[id].dims, [&](std::int64_t k) { f(as_array<float>(id)[k]); });
  }

  // Writes outside the values: "between y and a".
  std::vector<std::string> broken_guards() const {
    std::vector<std::string> places;
    std::size_t begin = 0;
    std::string before = "the start";
    for (std::size_t i = 0; i <= offsets_.size(); ++i) {
      const bool last = i == offsets_.size();
      const std::string after = last ? "the end" : plan_.values[i].name;
      if (!intact(begin, last ? size_ : offsets_[i])) places.push_back("between " + before + " and " + after);
      if (last) break;
      begin = offsets_[i] + plan_.values[i].bytes;
      before = after;
    }
    return places;
  }

 private:
  struct Free {
    void operator()(std::byte* p) const { ::operator delete (p, std::align_val_t{alignment}); }
  };

  static std::unique_ptr<std::byte, Free> allocate(std::size_t bytes) {
    return std::unique_ptr<std::byte, Free>(static_cast<std::byte*>(::operator new (bytes, std::align_val_t{alignment})));
  }

  template <class T>
  T* as_array(ValueId v) const {
    return reinterpret_cast<T*>(bytes(v).data());
  }

  // Both ends lie where the pattern was laid: values are whole numbers of bytes, so compare byte by byte.
  bool intact(std::size_t begin, std::size_t end) const {
    const auto* expected = reinterpret_cast<const std::byte*>(&pattern);
    for (std::size_t i = begin; i < end; ++i)
      if (data_.get()[i] != expected[i % sizeof pattern]) return false;
    return true;
  }

  const Plan& plan_;
  std::size_t size_ = 0;
  std::vector<std::size_t> offsets_;
  std::unique_ptr<std::byte, Free> data_, scratch_;  // scratch: what the CPU's kernels need
  std::vector<std::byte*> addresses_;
};

}  // namespace norma::test
