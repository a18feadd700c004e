#include "tests/simt/fiber.h"

#include <boost/context/preallocated.hpp>
#include <utility>

// AddressSanitizer's, from <sanitizer/common_interface_defs.h>; null without it.
extern "C" {
[[gnu::weak]] void __sanitizer_start_switch_fiber(void** fake_stack_save, const void* bottom, std::size_t size);
[[gnu::weak]] void __sanitizer_finish_switch_fiber(void* fake_stack_save, const void** bottom_old, std::size_t* size_old);
}

namespace norma::simt {
namespace {

// Kernels keep tiles in local arrays, and AddressSanitizer puts red zones around each; only pages that are touched take memory.
constexpr std::size_t stack_bytes = 128 * 1024;

Fiber* current = nullptr;

void start_switch(void** save, const void* bottom, std::size_t size) {
  if (__sanitizer_start_switch_fiber) __sanitizer_start_switch_fiber(save, bottom, size);
}

void finish_switch(void* saved, const void** bottom, std::size_t* size) {
  if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(saved, bottom, size);
}

}  // namespace

Fiber* Fiber::running() { return current; }

Fiber::Fiber(void (*body)()) : body_(body) {
  boost::context::protected_fixedsize_stack allocator(stack_bytes);
  stack_ = allocator.allocate();
  void* saved = nullptr;
  start_switch(&saved, bottom(), stack_.size);  // making a fiber runs its first frames there
  inside_ = boost::context::fiber(std::allocator_arg, boost::context::preallocated(stack_.sp, stack_.size, stack_), std::move(allocator),
                                  [this](boost::context::fiber&& outside) { return run(std::move(outside)); });
  const void* own_bottom = nullptr;
  std::size_t own_size = 0;
  finish_switch(saved, &own_bottom, &own_size);
  start_switch(&saved, own_bottom, own_size);  // and back again
  finish_switch(saved, nullptr, nullptr);
}

Fiber::~Fiber() {
  ending_ = true;
  resume();
}

void Fiber::resume() {
  idle_ = false;
  current = this;
  void* saved = nullptr;
  start_switch(&saved, bottom(), stack_.size);
  inside_ = std::move(inside_).resume();
  finish_switch(saved, nullptr, nullptr);
  current = nullptr;
}

boost::context::fiber Fiber::run(boost::context::fiber&& outside) {
  finish_switch(nullptr, &outside_bottom_, &outside_size_);
  outside_ = std::move(outside);
  while (!ending_) {
    body_();
    idle_ = true;
    wait();
  }
  void* kept = nullptr;  // the sanitizer's part of this stack: the frames that now return still use it
  start_switch(&kept, outside_bottom_, outside_size_);
  return std::move(outside_);
}

void Fiber::wait() {
  void* saved = nullptr;
  start_switch(&saved, outside_bottom_, outside_size_);
  outside_ = std::move(outside_).resume();
  finish_switch(saved, &outside_bottom_, &outside_size_);
}

}  // namespace norma::simt
