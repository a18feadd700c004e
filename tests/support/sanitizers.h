// Tests that the job unit runs, and the job asan does not: they take much time there, and show nothing about memory that others do not.
#pragma once
#include <gtest/gtest.h>

#ifdef NORMA_SANITIZED
#define SLOW_UNDER_SANITIZERS(why) GTEST_SKIP() << "slow under sanitizers, so the job unit alone runs it: " why
#else
#define SLOW_UNDER_SANITIZERS(why) static_cast<void>(0)
#endif
