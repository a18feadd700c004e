# Compile options of every target of norma: the warnings, and the arithmetic all results rest on.
set(NORMA_WERROR OFF CACHE STRING "Treat compiler warnings as errors: ON, OFF, or AUTO: with the compilers that tests/run.sh uses on Debian 12")
set(norma_werror ${NORMA_WERROR})
if(NORMA_WERROR STREQUAL "AUTO")
  set(norma_werror OFF)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION MATCHES "^12\\." OR
     CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION MATCHES "^14\\.")
    set(norma_werror ON)
  endif()
endif()

# g++ 12 sees overlapping copies in "text" + std::string (GCC bug 105651, fixed in 13).
set(norma_warnings -Wall -Wextra -Wpedantic -Wshadow)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  list(APPEND norma_warnings -Wno-restrict)
endif()

function(norma_compile_options target)
  # The compiler must not fuse a multiply and an add on its own: the same bits at every instruction-set level (kernels write fma).
  target_compile_options(${target} PRIVATE ${norma_warnings} -ffp-contract=off $<$<BOOL:${norma_werror}>:-Werror>)
endfunction()
