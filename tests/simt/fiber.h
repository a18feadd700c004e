// A stack of its own that runs one function after another, each until it ends, with waits in between. One OS thread. A program built with
// AddressSanitizer reports every change of stacks to it.
#pragma once
#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <cstddef>
#include <memory>

namespace norma::simt {

class Fiber {
 public:
  // `body` must not throw.
  explicit Fiber(void (*body)());
  ~Fiber();  // not while body waits
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Called outside of all fibers: runs body, from its beginning or from where it waits, until it waits or ends.
  void resume();
  // Called by body: back to where resume() was called, until the next one.
  void wait();
  // True if body has ended, or never begun.
  bool idle() const { return idle_; }

  // The one that runs; null outside of all.
  static Fiber* running();

 private:
  const void* bottom() const { return static_cast<const char*>(stack_.sp) - stack_.size; }
  boost::context::fiber run(boost::context::fiber&& outside);

  void (*body_)();
  boost::context::stack_context stack_;
  boost::context::fiber inside_, outside_;  // each while it does not run
  const void* outside_bottom_ = nullptr;
  std::size_t outside_size_ = 0;
  bool idle_ = true, ending_ = false;
};

}  // namespace norma::simt
