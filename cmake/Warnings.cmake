# Compile options of every target of norma: the warnings, and the arithmetic all results rest on.
option(NORMA_WERROR "Treat compiler warnings as errors (jobs clang and asan of tests/run.sh do)" OFF)

# g++ 12 sees overlapping copies in "text" + std::string (GCC bug 105651, fixed in 13).
set(norma_warnings -Wall -Wextra -Wpedantic -Wshadow)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  list(APPEND norma_warnings -Wno-restrict)
endif()

function(norma_compile_options target)
  # The compiler must not fuse a multiply and an add on its own: the same bits at every instruction-set level (kernels write fma).
  target_compile_options(${target} PRIVATE ${norma_warnings} -ffp-contract=off $<$<BOOL:${NORMA_WERROR}>:-Werror>)
endfunction()
