// C as text: numbers, strings, comments, arrays, identifiers.
#pragma once
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>

namespace norma {

// The shortest literal that reads back as these bits: "0.5f", "-1e-07f". v is finite.
std::string c_float(float v);

// A string literal of ASCII without trigraphs.
std::string c_string(std::string_view text);

// The text on one line of a comment: what would end the comment, or is not ASCII, becomes '_'.
std::string c_comment(std::string_view text);

// "static const float name[3] = {...};" in lines of at most 100 columns.
std::string c_array(const std::string& name, std::span<const float> values);
std::string c_array(const std::string& name, std::span<const std::int8_t> values);
std::string c_array(const std::string& name, std::span<const int> values);

// The text with every `what`, which is not empty, become `by`.
std::string replaced(std::string text, std::string_view what, std::string_view by);

// "LENET" of "lenet".
std::string upper_case(std::string text);

// True for a letter, then letters, digits and '_', at most 63 of them.
bool is_c_name(std::string_view name);

// Identifiers of one file, all different.
class Identifiers {
 public:
  explicit Identifiers(std::string prefix) : prefix_(std::move(prefix)) {}
  const std::string& prefix() const { return prefix_; }
  // "lenet_block2_bn_scale" of ("block2/bn", "scale"), with a number behind it where that is taken.
  std::string make(std::string_view path, std::string_view what);
  // "lenet_relu", which nothing else is called from now on.
  std::string reserve(std::string_view what);

 private:
  std::string prefix_;
  std::set<std::string> used_;
};

}  // namespace norma
