// The activations: one row each, which all of norma reads. To add one: an enumerator and its row here, its formulas in
// kernels/activation.h, its module in norma/module.h, and its layer in a recipe (apps/norma/recipe/recipe.h).
// Its types are plain values: one thread at a time may change one, any number may read it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>

#include "norma/export.h"

namespace norma {

// none is the identity: it stands in a Call whose activation was not fused.
enum class Activation : std::uint8_t { none, relu, sigmoid, tanh, gelu, gelu_tanh, silu, leaky_relu, elu };

struct NORMA_API ActivationTraits {
  Activation act;
  const char* name;
  // act'(x) is a function of y = act(x), and act never decreases. Such an activation is folded into the batch norm before it, and a max
  // pooling after it may go first. The others come last in the table.
  bool gradient_from_output;
  const char* option = nullptr;  // its one option, if it has one
  double standard = 0;           // the option's default
  // An output at or beyond an end is called saturated: the slope there is small.
  float saturated_low = -std::numeric_limits<float>::infinity(), saturated_high = std::numeric_limits<float>::infinity();

  constexpr bool saturates() const {
    return saturated_low > -std::numeric_limits<float>::infinity() || saturated_high < std::numeric_limits<float>::infinity();
  }
  // A channel that gives 0 for every sample gets no gradient.
  constexpr bool can_die() const { return saturated_low == 0; }
};

inline constexpr ActivationTraits activation_table[] = {
    {.act = Activation::none, .name = "none", .gradient_from_output = true},
    {.act = Activation::relu, .name = "relu", .gradient_from_output = true, .saturated_low = 0},
    {.act = Activation::sigmoid, .name = "sigmoid", .gradient_from_output = true, .saturated_low = 0.05f, .saturated_high = 0.95f},
    {.act = Activation::tanh, .name = "tanh", .gradient_from_output = true, .saturated_low = -0.9f, .saturated_high = 0.9f},
    {.act = Activation::gelu, .name = "gelu", .gradient_from_output = false},
    {.act = Activation::gelu_tanh, .name = "gelu_tanh", .gradient_from_output = false},
    {.act = Activation::silu, .name = "silu", .gradient_from_output = false},
    {.act = Activation::leaky_relu, .name = "leaky_relu", .gradient_from_output = false, .option = "negative_slope", .standard = 0.01},
    {.act = Activation::elu, .name = "elu", .gradient_from_output = false, .option = "alpha", .standard = 1},
};

constexpr bool is_activation(Activation a) { return static_cast<std::size_t>(a) < std::size(activation_table); }
// a must be an Activation.
constexpr const ActivationTraits& traits(Activation a) { return activation_table[static_cast<std::size_t>(a)]; }
constexpr const char* name_of(Activation a) { return is_activation(a) ? traits(a).name : "?"; }

inline constexpr Activation last_activation = activation_table[std::size(activation_table) - 1].act;
// The last one that a batch norm can take in.
inline constexpr Activation last_folded = [] {
  Activation last = Activation::none;
  for (const ActivationTraits& t : activation_table)
    if (t.gradient_from_output) last = t.act;
  return last;
}();
static_assert(
    [] {
      for (std::size_t i = 0; i < std::size(activation_table); ++i)
        if (activation_table[i].act != static_cast<Activation>(i) ||
            activation_table[i].gradient_from_output != (activation_table[i].act <= last_folded))
          return false;
      return true;
    }(),
    "the rows stand in the order of the enumerators, those with gradient_from_output first");

}  // namespace norma
