// Checks that a call throws norma::Error of one kind, with a message that names what it must name.
#pragma once
#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "norma/error.h"

namespace norma::test {

template <class F>
void expect_error(ErrorKind kind, std::initializer_list<std::string> words, F&& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    for (const std::string& word : words)
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << "no \"" << word << "\" in: " << error.what();
    return;
  }
  ADD_FAILURE() << "no error";
}

template <class F>
void expect_error(ErrorKind kind, const std::string& word, F&& call) {
  expect_error(kind, {word}, call);
}

}  // namespace norma::test
