// Functions of Python that the library calls from within, and the way of errors between both.
#pragma once
#include <nanobind/nanobind.h>

#include <chrono>
#include <memory>

namespace norma::python {

namespace nb = nanobind;

// A function of Python that copies of a C++ function share. Making one needs the interpreter's lock; copying and destroying do not.
class Shared {
 public:
  explicit Shared(nb::object f)
      : object_(new nb::object(std::move(f)), [](nb::object* o) {
          const nb::gil_scoped_acquire lock;
          if (lock) delete o;  // else the interpreter is gone, and its objects with it
        }) {}
  const nb::object& operator*() const { return *object_; }

 private:
  std::shared_ptr<nb::object> object_;
};

// Lets Python look for signals, Ctrl-C among them, some times a second. Throws what their handlers raise.
class Signals {
 public:
  void look() {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < std::chrono::milliseconds(50)) return;
    last_ = now;
    const nb::gil_scoped_acquire lock;
    look_now();
  }
  // With the interpreter's lock.
  static void look_now() {
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
  }

 private:
  std::chrono::steady_clock::time_point last_{};
};

// norma::Error becomes the class of norma.errors that its kind has.
void register_errors();

}  // namespace norma::python
