// Memory that AddressSanitizer's search for leaks passes over.

// LLVM's OpenMP leaves its threads' memory at the end of a process.
extern "C" const char* __lsan_default_suppressions();  // NOLINT: the sanitizer's name
extern "C" const char* __lsan_default_suppressions() { return "leak:libomp\n"; }
