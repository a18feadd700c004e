#include "callbacks.h"
#include "norma/error.h"
#include "norma/text.h"

namespace norma::python {
namespace {

const char* class_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::failure: return "FailureError";
    case ErrorKind::usage: return "UsageError";
    case ErrorKind::data: return "DataError";
    case ErrorKind::device: return "DeviceError";
    case ErrorKind::diverged: return "DivergedError";
    case ErrorKind::verification: return "VerificationError";
  }
  return "Error";
}

void translate(const std::exception_ptr& p, void*) {
  try {
    std::rethrow_exception(p);
  } catch (const Error& e) {
    try {
      const nb::object type = nb::module_::import_("norma.errors").attr(class_of(e.kind()));
      PyErr_SetString(type.ptr(), printable_lines(e.what()).c_str());
    } catch (nb::python_error& import) {
      import.restore();
    }
  }
}

}  // namespace

void register_errors() { nb::register_exception_translator(translate); }

}  // namespace norma::python
