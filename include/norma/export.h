// Every public header includes this one first: the language that norma needs, and what a shared library offers.
#pragma once
#if __cplusplus < 202002L
#error norma needs C++20: compile with -std=c++20
#endif

// Marks what libnorma.so offers. Everything else in it is hidden. With NORMA_STATIC, which who links libnorma.a defines, the mark says
// nothing. A plugin that holds libnorma.a then offers none of norma's symbols. The packages of CMake and of pkg-config define NORMA_STATIC
// where they must.
#ifdef NORMA_STATIC
#define NORMA_API
#else
#define NORMA_API __attribute__((visibility("default")))
#endif
