// Lists of words in messages, and choices from them.
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace norma::app {

// Index of `value` in `known`. Throws Error(usage): "--mode must be one of train, eval, got \"tran\"; did you mean \"train\"?".
std::size_t choose(std::string_view flag, std::string_view value, std::span<const std::string> known);

// "kind, lr, momentum"
std::string join(std::span<const std::string> words);

}  // namespace norma::app
