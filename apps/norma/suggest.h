// "did you mean": the nearest known word to one that was mistyped.
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace norma::app {

// The known word with the smallest edit distance (insert, delete, replace, swap of neighbours), or the one that `word` abbreviates;
// empty where none is near.
std::string nearest(std::string_view word, std::span<const std::string> known);

// "; did you mean \"lr\"?", or nothing.
std::string did_you_mean(std::string_view word, std::span<const std::string> known);

// Index of `value` in `known`. Throws Error(usage): "--mode must be one of train, eval, got \"tran\"; did you mean \"train\"?".
std::size_t choose(std::string_view flag, std::string_view value, std::span<const std::string> known);

// "kind, lr, momentum"
std::string join(std::span<const std::string> words);

}  // namespace norma::app
