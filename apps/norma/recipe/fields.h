// The one list of a recipe's fields. Each function walks a section with a visitor: RecipeReader (recipe_read.cpp) fills it from TOML,
// RecipeWriter (recipe_write.cpp) writes it. A field added here can be read, checked, set by --set and written.
#pragma once
#include <limits>
#include <string_view>
#include <type_traits>
#include <utility>

#include "apps/norma/recipe/recipe.h"
#include "norma/loss.h"

namespace norma::app {

// The values that a number may have.
struct Range {
  double low = -std::numeric_limits<double>::max(), high = std::numeric_limits<double>::max();
  bool low_open = false, high_open = false;  // the end itself is not allowed
};
inline constexpr Range any_number{};
inline constexpr Range above_zero{.low = 0, .low_open = true};
inline constexpr Range at_least_zero{.low = 0};
inline constexpr Range share{.low = 0, .high = 1};
inline constexpr Range below_one{.low = 0, .high = 1, .high_open = true};
inline constexpr std::int64_t huge = std::int64_t{1} << 31;  // above any size, count or index that fits a machine

template <class E, std::size_t N>
using Names = std::pair<const char*, E>[N];

inline constexpr std::pair<const char*, DataSection::Source> source_names[] = {{"mnist", DataSection::Source::mnist},
                                                                               {"fashion-mnist", DataSection::Source::fashion_mnist},
                                                                               {"digits", DataSection::Source::digits},
                                                                               {"circles", DataSection::Source::circles},
                                                                               {"idx", DataSection::Source::idx}};
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
enum class LossKind : std::uint8_t { cross_entropy, mse };
inline constexpr std::pair<const char*, LossKind> loss_names[] = {{"cross_entropy", LossKind::cross_entropy}, {"mse", LossKind::mse}};
// {type = "..."}: the second is the alternative of Layer.
inline constexpr struct LayerNames {
  std::pair<const char*, std::size_t> all[std::size(LayerTable::names)];
  constexpr LayerNames() {
    for (std::size_t i = 0; i < std::size(all); ++i) all[i] = {LayerTable::names[i], i};
  }
} layer_names;

// T or const T
template <class X, class T>
concept Is = std::is_same_v<std::remove_const_t<X>, T>;

// ---------------------------------------------------------------------------------------------- layers

template <class V, Is<Init> I>
void fields(V& v, I& i) {
  const Init::Kind before = i.kind;
  v.choice("kind", i.kind, init_names);
  if constexpr (V::reading)
    if (i.kind != before) {
      if (i.kind == Init::Kind::normal || i.kind == Init::Kind::uniform) i = {i.kind, 0, 1};
      if (i.kind == Init::Kind::xavier_uniform || i.kind == Init::Kind::xavier_normal) i = {i.kind, 1, 0};
      if (i.kind == Init::Kind::he_uniform || i.kind == Init::Kind::he_normal) i = {i.kind, Init::he_normal().a, 0};
    }
  switch (i.kind) {
    case Init::Kind::standard: break;
    case Init::Kind::constant: v.number("value", i.a, any_number); break;
    case Init::Kind::uniform: v.number("low", i.a, any_number), v.number("high", i.b, any_number); break;
    case Init::Kind::normal: v.number("mean", i.a, any_number), v.number("std", i.b, at_least_zero); break;
    case Init::Kind::xavier_uniform:
    case Init::Kind::xavier_normal:
    case Init::Kind::he_uniform:
    case Init::Kind::he_normal: v.number("gain", i.a, above_zero); break;
  }
}

template <class V, class L>
requires(Is<L, nn::Conv2d> || Is<L, nn::ConvTranspose2d>) void fields(V& v, L& l) {
  v.require("out", "kernel");
  v.integer("out", l.out, 1, huge);
  v.size("kernel", l.kernel, 1);
  v.size("stride", l.stride, 1);
  v.size("padding", l.padding, 0);
  if constexpr (requires { l.output_padding; }) v.size("output_padding", l.output_padding, 0);
  v.size("dilation", l.dilation, 1);
  v.integer("groups", l.groups, 1, huge);
  v.boolean("bias", l.bias);
  v.init("weight_init", l.weight_init);
  v.init("bias_init", l.bias_init);
}

template <class V, Is<nn::Linear> L>
void fields(V& v, L& l) {
  v.require("out");
  v.integer("out", l.out, 1, huge);
  v.boolean("bias", l.bias);
  v.init("weight_init", l.weight_init);
  v.init("bias_init", l.bias_init);
}

// Fields of the norms that can have running statistics.
template <class V, class L>
requires(Is<L, nn::BatchNorm> || Is<L, nn::InstanceNorm>) void fields(V& v, L& l) {
  v.number("eps", l.eps, above_zero);
  v.number_or_none("momentum", l.momentum, share);
  v.boolean("affine", l.affine);
  v.boolean("track_running_stats", l.track_running_stats);
  v.number("initial_running_var", l.initial_running_var, at_least_zero);
  v.init("weight_init", l.weight_init);
  v.init("bias_init", l.bias_init);
}

template <class V, Is<nn::LayerNorm> L>
void fields(V& v, L& l) {
  v.number("eps", l.eps, above_zero);
  v.boolean("elementwise_affine", l.elementwise_affine);
  v.boolean("bias", l.bias);
  v.init("weight_init", l.weight_init);
  v.init("bias_init", l.bias_init);
}

template <class V, Is<nn::GroupNorm> L>
void fields(V& v, L& l) {
  if (l.groups == 0) v.require("groups");  // a layer; the section has a default
  v.integer("groups", l.groups, 1, huge);
  v.number("eps", l.eps, above_zero);
  v.boolean("affine", l.affine);
  v.init("weight_init", l.weight_init);
  v.init("bias_init", l.bias_init);
}

template <class V, Is<nn::MaxPool2d> L>
void fields(V& v, L& l) {
  v.require("kernel");
  v.size("kernel", l.kernel, 1);
  v.size("stride", l.stride, 1);
  v.size("padding", l.padding, 0);
  v.size("dilation", l.dilation, 1);
  v.boolean("ceil_mode", l.ceil_mode);
}

template <class V, Is<nn::AvgPool2d> L>
void fields(V& v, L& l) {
  v.require("kernel");
  v.size("kernel", l.kernel, 1);
  v.size("stride", l.stride, 1);
  v.size("padding", l.padding, 0);
  v.boolean("ceil_mode", l.ceil_mode);
  v.boolean("count_include_pad", l.count_include_pad);
}

template <class V, Is<nn::GELU> L>
void fields(V& v, L& l) {
  v.choice("approximate", l.approximate, approximate_names);
}

template <class V, Is<nn::LeakyReLU> L>
void fields(V& v, L& l) {
  v.number("negative_slope", l.negative_slope, any_number);
}

template <class V, Is<nn::ELU> L>
void fields(V& v, L& l) {
  v.number("alpha", l.alpha, any_number);
}

template <class V, Is<nn::Dropout> L>
void fields(V& v, L& l) {
  v.number("p", l.p, below_one);
}

template <class V, Is<SequentialLayer> L>
void fields(V& v, L& l) {
  v.require("layers");
  v.layers("layers", l.layers, 1);
  v.integer("repeat", l.repeat, 1, 10'000);
}

template <class V, Is<ResidualLayer> L>
void fields(V& v, L& l) {
  v.require("body");
  v.layers("body", l.body, 1);
  v.layers("projection", l.projection, 0);
}

// Layers without options.
template <class V, class L>
requires(std::is_empty_v<L>) void fields(V&, L&) {}

// ---------------------------------------------------------------------------------------------- sections

template <class V, Is<DataSection> D>
void fields(V& v, D& d) {
  using Source = DataSection::Source;
  v.require("name");
  v.choice("name", d.source, source_names);
  switch (d.source) {
    case Source::mnist:
    case Source::fashion_mnist:
      v.path("dir", d.dir);
      v.integer("train_samples", d.first_train, 0, huge);
      v.integer("test_samples", d.first_test, 0, huge);
      break;
    case Source::digits:
      v.integer("train_samples", d.train_samples, 1, 10'000'000);
      v.integer("test_samples", d.test_samples, 1, 10'000'000);
      v.seed("seed", d.seed);
      break;
    case Source::circles:
      v.integer("samples", d.samples, 2, 100'000'000);
      v.number("noise", d.noise, at_least_zero);
      v.number("factor", d.factor, below_one);
      v.number("test_fraction", d.test_fraction, {.low = 0, .high = 1, .low_open = true, .high_open = true});
      v.seed("seed", d.seed, std::numeric_limits<std::uint32_t>::max());
      break;
    case Source::idx:
      if constexpr (V::reading)
        v.refuse("dir",
                 "idx files are named one by one: --set data.train_images=FILE, and so on for train_labels, test_images, test_labels");
      v.require("train_images", "train_labels", "test_images", "test_labels");
      v.path("train_images", d.train_images);
      v.path("train_labels", d.train_labels);
      v.path("test_images", d.test_images);
      v.path("test_labels", d.test_labels);
      v.integer("classes", d.classes, 0, huge);
      v.integer("train_samples", d.first_train, 0, huge);
      v.integer("test_samples", d.first_test, 0, huge);
      break;
  }
  v.boolean("to_unit", d.transform.to_unit);
  v.numbers("mean", d.transform.mean, any_number);
  v.numbers("std", d.transform.stddev, above_zero);
  v.size("resize", d.transform.resize, 1);
}

template <class V, Is<ModelSection> M>
void fields(V& v, M& m) {
  v.require("layers");
  const Activation before = m.activation;
  v.choice("activation", m.activation, activation_names.all);
  if constexpr (V::reading)
    if (m.activation != before) m.activation_option = traits(m.activation).standard;
  if (const char* option = traits(m.activation).option) v.number(option, m.activation_option, any_number);
  v.choice("norm", m.norm, norm_names);
  v.choice("norm_position", m.norm_position, position_names);
  v.init("weight_init", m.weight_init);
  v.init("bias_init", m.bias_init);
  v.layers("layers", m.layers, 1);
  v.section("batch_norm", m.batch_norm);
  v.section("layer_norm", m.layer_norm);
  v.section("instance_norm", m.instance_norm);
  v.section("group_norm", m.group_norm);
}

template <class V, Is<Sgd> O>
void fields(V& v, O& o) {
  v.number("lr", o.lr, above_zero);
  v.number("momentum", o.momentum, below_one);
  v.number("dampening", o.dampening, share);
  v.number("weight_decay", o.weight_decay, at_least_zero);
  v.boolean("nesterov", o.nesterov);
}

template <class V, Is<Adam> O>
void fields(V& v, O& o) {
  v.number("lr", o.lr, above_zero);
  v.number("beta1", o.beta1, below_one);
  v.number("beta2", o.beta2, below_one);
  v.number("eps", o.eps, above_zero);
  v.number("weight_decay", o.weight_decay, at_least_zero);
}

template <class V, Is<RMSprop> O>
void fields(V& v, O& o) {
  v.number("lr", o.lr, above_zero);
  v.number("alpha", o.alpha, below_one);
  v.number("eps", o.eps, above_zero);
  v.number("weight_decay", o.weight_decay, at_least_zero);
  v.number("momentum", o.momentum, at_least_zero);
  v.boolean("centered", o.centered);
}

template <class V, Is<Optimizer> O>
void fields(V& v, O& o) {
  std::size_t kind = o.index();
  for (std::size_t i = 0; i < std::size(optimizer_kinds); ++i)
    if (std::string_view(name_of(optimizer_kinds[i].second)) == name_of(o)) kind = i;
  v.choice("kind", kind, optimizer_names.all);
  if constexpr (V::reading) o = optimizer_kinds[kind].second;
  std::visit([&](auto& options) { fields(v, options); }, o);
  v.check("kind", [&] { validate(o); });
}

template <class V, Is<Schedule> S>
void fields(V& v, S& s) {
  v.choice("kind", s.kind, schedule_names);
  switch (s.kind) {
    case Schedule::Kind::constant: break;
    case Schedule::Kind::step: v.integer("step_epochs", s.step_epochs, 1, huge), v.number("gamma", s.gamma, above_zero); break;
    case Schedule::Kind::cosine: v.number("final_factor", s.final_factor, share); break;
    case Schedule::Kind::one_cycle:
      v.number("pct_start", s.pct_start, share);
      v.number("div_factor", s.div_factor, {.low = 1});
      v.number("final_div_factor", s.final_div_factor, {.low = 1});
      break;
  }
  v.number("warmup_epochs", s.warmup_epochs, {.low = 0, .high = 1e6});  // as train.epochs: a longer one never ends
  v.number("warmup_start", s.warmup_start, share);
  v.check("kind", [&] { validate(s); });
}

template <class V, Is<Loss> L>
void fields(V& v, L& l) {
  LossKind kind = std::holds_alternative<MeanSquared>(l) ? LossKind::mse : LossKind::cross_entropy;
  v.choice("kind", kind, loss_names);
  if constexpr (V::reading) {
    if (kind == LossKind::mse) l = MeanSquared{};
    if (kind == LossKind::cross_entropy) l = CrossEntropy{};
  }
  if (auto* c = std::get_if<CrossEntropy>(&l)) {
    v.choice("reduction", c->reduction, reduction_names);
    v.number("label_smoothing", c->label_smoothing, below_one);
    v.integer("ignore_index", c->ignore_index, -huge, huge - 1);
  } else if (auto* m = std::get_if<MeanSquared>(&l)) {
    v.choice("reduction", m->reduction, reduction_names);
  }
}

template <class V, Is<TrainSection> T>
void fields(V& v, T& t) {
  v.integer("epochs", t.epochs, 1, 1'000'000);
  v.integer("batch_size", t.batch_size, 1, 1 << 24);
  v.integer("save_every", t.save_every, 1, 1'000'000);
  v.integer("log_every", t.log_every, 1, 1'000'000);
  v.choice("precision", t.precision, precision_names);
  v.seed("seed", t.seed);
  v.boolean("shuffle", t.shuffle);
  v.boolean("drop_last", t.drop_last);
  v.boolean("health", t.health);
  v.boolean("log_loss", t.log_loss);
}

template <class V, Is<DeviceSection> D>
void fields(V& v, D& d) {
  v.text("kind", d.kind);
  v.check("kind", [&] { Device::parse(d.kind); });
  v.integer("threads", d.threads, 0, 4096);
  v.text("isa", d.isa);
  v.choice("capture", d.capture, capture_names);
  v.integer("graph_calls", d.graph_calls, 1, 1'000'000);
  v.boolean("fuse", d.fuse);
  v.boolean("reuse", d.reuse);
  v.boolean("check_each", d.check_each);
}

template <class V, Is<Recipe> R>
void fields(V& v, R& r) {
  v.require("data", "model");
  v.text("name", r.name);
  v.text("description", r.description);
  v.section("data", r.data);
  v.section("model", r.model);
  v.section("optimizer", r.optimizer);
  v.section("schedule", r.schedule);
  v.section("loss", r.loss);
  v.section("train", r.train);
  v.section("device", r.device);
}

}  // namespace norma::app
