// Words of the field table (fields.h): ranges of numbers, names of choices, and lines of help that several fields have.
#pragma once
#include <limits>
#include <string>
#include <utility>

#include "apps/norma/recipe/recipe.h"

namespace norma::app {

struct Range {
  double low = -std::numeric_limits<double>::max(), high = std::numeric_limits<double>::max();
  bool low_open = false, high_open = false;  // the end itself is not allowed
  bool high_apart = false;                   // a number below high must have a float below high
};
inline constexpr Range any_number{};
inline constexpr Range above_zero{.low = 0, .low_open = true};
inline constexpr Range at_least_zero{.low = 0};
inline constexpr Range of_whole{.low = 0, .high = 1};
inline constexpr Range below_one{.low = 0, .high = 1, .high_open = true, .high_apart = true};
inline constexpr Range probability{.low = 0, .high = 1, .high_apart = true};
inline constexpr Range inside_zero_and_one{.low = 0, .high = 1, .low_open = true, .high_open = true};
inline constexpr std::int64_t huge = std::numeric_limits<std::int32_t>::max();  // as the library's own limit of sizes and counts
inline constexpr std::int64_t largest_side = 1 << 20;                           // of an image
inline constexpr std::int64_t most_samples = huge + 1;                          // of a set that code makes
inline constexpr std::int64_t any_seed = std::numeric_limits<std::int64_t>::max();

// The words for them in messages and on the reference page: "a number above 0", "an integer from 1 to 10", "an integer of at least 1".
std::string describe(const Range& range);
std::string describe_integers(std::int64_t low, std::int64_t high);

// The shortest number of TOML that reads back as the same double.
std::string decimal(double value);

template <class E, std::size_t N>
using Names = std::pair<const char*, E>[N];

inline constexpr struct SourceNames {
  std::pair<const char*, DataSection::Source> all[std::size(data_sources)];
  constexpr SourceNames() {
    for (std::size_t i = 0; i < std::size(all); ++i) all[i] = {data_sources[i].name, data_sources[i].source};
  }
} source_names;
// All activations, none last.
inline constexpr struct ActivationNames {
  std::pair<const char*, Activation> all[std::size(activation_table)];
  constexpr ActivationNames() {
    for (std::size_t i = 0; i < std::size(activation_table); ++i) {
      const ActivationTraits& t = activation_table[(i + 1) % std::size(activation_table)];
      all[i] = {t.name, t.act};
    }
  }
} activation_names;
inline constexpr std::pair<const char*, nn::GELU::Approximate> approximate_names[] = {{"none", nn::GELU::Approximate::none},
                                                                                      {"tanh", nn::GELU::Approximate::tanh}};
inline constexpr std::pair<const char*, NormKind> norm_names[] = {{"none", NormKind::none},
                                                                  {"batch", NormKind::batch},
                                                                  {"layer", NormKind::layer},
                                                                  {"instance", NormKind::instance},
                                                                  {"group", NormKind::group}};
inline constexpr std::pair<const char*, NormPosition> position_names[] = {{"before", NormPosition::before}, {"after", NormPosition::after}};
inline constexpr std::pair<const char*, Precision> precision_names[] = {
    {"fp32", Precision::fp32}, {"tf32", Precision::tf32}, {"bf16", Precision::bf16}};
inline constexpr std::pair<const char*, Capture> capture_names[] = {
    {"off", Capture::off}, {"chain", Capture::chain}, {"branches", Capture::branches}};
inline constexpr std::pair<const char*, Reduction> reduction_names[] = {{"mean", Reduction::mean}, {"sum", Reduction::sum}};
inline constexpr std::pair<const char*, Schedule::Kind> schedule_names[] = {{"constant", Schedule::Kind::constant},
                                                                            {"step", Schedule::Kind::step},
                                                                            {"cosine", Schedule::Kind::cosine},
                                                                            {"one_cycle", Schedule::Kind::one_cycle}};
inline constexpr std::pair<const char*, Init::Kind> init_names[] = {{"standard", Init::Kind::standard},
                                                                    {"constant", Init::Kind::constant},
                                                                    {"uniform", Init::Kind::uniform},
                                                                    {"normal", Init::Kind::normal},
                                                                    {"xavier_uniform", Init::Kind::xavier_uniform},
                                                                    {"xavier_normal", Init::Kind::xavier_normal},
                                                                    {"he_uniform", Init::Kind::he_uniform},
                                                                    {"he_normal", Init::Kind::he_normal}};
// {kind = "..."}, with what that kind begins with; kinds of one type differ in norma::name_of().
inline constexpr std::pair<const char*, Optimizer> optimizer_kinds[] = {
    {"sgd", Sgd{}}, {"adam", Adam{}}, {"adamw", adamw()}, {"rmsprop", RMSprop{}}};
static_assert(
    [] {
      for (std::size_t type = 0; type < std::variant_size_v<Optimizer>; ++type) {
        bool known = false;
        for (const auto& [name, options] : optimizer_kinds) known = known || options.index() == type;
        if (!known) return false;
      }
      return true;
    }(),
    "every type of Optimizer has a kind in recipes");
inline constexpr struct OptimizerNames {
  std::pair<const char*, std::size_t> all[std::size(optimizer_kinds)];  // the second: row of optimizer_kinds
  constexpr OptimizerNames() {
    for (std::size_t i = 0; i < std::size(all); ++i) all[i] = {optimizer_kinds[i].first, i};
  }
} optimizer_names;
inline constexpr std::pair<const char*, LoadOptions::Missing> missing_names[] = {{"refuse", LoadOptions::Missing::refuse},
                                                                                 {"keep", LoadOptions::Missing::keep}};
inline constexpr std::pair<const char*, LoadOptions::Extra> extra_names[] = {{"refuse", LoadOptions::Extra::refuse},
                                                                             {"ignore", LoadOptions::Extra::ignore}};
enum class LossKind : std::uint8_t { cross_entropy, mse };
inline constexpr std::pair<const char*, LossKind> loss_names[] = {{"cross_entropy", LossKind::cross_entropy}, {"mse", LossKind::mse}};
// {type = "..."}: the second is the alternative of Layer.
inline constexpr struct LayerNames {
  std::pair<const char*, std::size_t> all[std::size(LayerTable::names)];
  constexpr LayerNames() {
    for (std::size_t i = 0; i < std::size(all); ++i) all[i] = {LayerTable::names[i], i};
  }
} layer_names;

// Lines that several fields have.
namespace help {
inline constexpr const char* out = "Outputs: channels or features";
inline constexpr const char* kernel = "Size of the window";
inline constexpr const char* stride = "Step of the window";
inline constexpr const char* pool_stride = "Step of the window; as the kernel, where it is left out";
inline constexpr const char* padding = "Rows and columns added on each side";
inline constexpr const char* dilation = "Distance of the window's elements";
inline constexpr const char* ceil_mode = "A last window may reach beyond the input";
inline constexpr const char* bias = "Adds a learned number to each output";
inline constexpr const char* weight_init = "Initial weights";
inline constexpr const char* bias_init = "Initial biases";
inline constexpr const char* eps = "Added to the variance";
inline constexpr const char* affine = "Learns a scale and a shift for each channel";
inline constexpr const char* gamma_init = "Initial scale";
inline constexpr const char* beta_init = "Initial shift";
inline constexpr const char* activation_option = "The one option of this activation";
inline constexpr const char* first_train = "Training samples, the first of the set; 0: all";
inline constexpr const char* first_test = "Test samples, the first of the set; 0: all";
inline constexpr const char* data_seed = "Seed of the samples";
inline constexpr const char* lr = "Learning rate";
inline constexpr const char* weight_decay = "L2 penalty; decoupled for adamw";
inline constexpr const char* momentum = "Momentum: weight of the last update in the next";
inline constexpr const char* root_eps = "Added to the root of the squared gradient's mean";
inline constexpr const char* reduction = "The loss of a batch: mean or sum over its samples";
}  // namespace help

}  // namespace norma::app
