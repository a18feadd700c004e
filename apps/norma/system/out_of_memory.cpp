#include "apps/norma/system/out_of_memory.h"

#include <execinfo.h>
#include <unistd.h>

#include <exception>
#include <new>

#include "norma/error.h"

namespace norma::app {
namespace {

std::terminate_handler previous = nullptr;

[[noreturn]] void end() {
  try {
    if (std::current_exception()) throw;
  } catch (const std::bad_alloc&) {
    constexpr char message[] = "norma: error: out of memory\n";
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, message, sizeof message - 1);
    ::_exit(static_cast<int>(ErrorKind::failure));
  } catch (...) {
    previous();  // which says what it is
  }
  previous();
  ::_exit(static_cast<int>(ErrorKind::failure));
}

}  // namespace

EndsWithoutMemory::EndsWithoutMemory() {
  previous = std::set_terminate(end);
  // glibc loads the unwinder when the first thread ends, and aborts where it cannot. This loads it now.
  void* frame = nullptr;
  ::backtrace(&frame, 1);
}

}  // namespace norma::app
