// The one list of a recipe's fields. Each function walks a section with a visitor: RecipeReader (reader.h) fills it from TOML, RecipeWriter
// (write.cpp) writes it, RecipeDescriber (reference.cpp) prints it for apps/recipes/reference.md. A field added here can be read, checked,
// set by --set, written and looked up. The last argument of each is its line on that page and in --help.
#pragma once
#include <limits>
#include <stdexcept>
#include <string_view>
#include <type_traits>

#include "apps/norma/recipe/values.h"
#include "norma/error.h"
#include "norma/loss.h"

namespace norma::app {
// T or const T
template <class X, class T>
concept Is = std::is_same_v<std::remove_const_t<X>, T>;

// ---------------------------------------------------------------------------------------------- layers
template <class V, Is<Init> I>
void fields(V& v, I& i) {
  const Init::Kind before = i.kind;
  v.require("kind");
  v.choice("kind", i.kind, init_names, "Distribution");
  if constexpr (V::reading)
    if (i.kind != before) {
      if (i.kind == Init::Kind::normal || i.kind == Init::Kind::uniform) i = {i.kind, 0, 1};
      if (i.kind == Init::Kind::xavier_uniform || i.kind == Init::Kind::xavier_normal) i = {i.kind, 1, 0};
      if (i.kind == Init::Kind::he_uniform || i.kind == Init::Kind::he_normal) i = {i.kind, Init::he_normal().a, 0};
    }
  switch (i.kind) {
    case Init::Kind::standard: break;
    case Init::Kind::constant: v.number("value", i.a, any_number, "Every value"); break;
    case Init::Kind::uniform:
      v.number("low", i.a, any_number, "Least value");
      v.number("high", i.b, any_number, "Largest value");
      break;
    case Init::Kind::normal:
      v.number("mean", i.a, any_number, "Mean");
      v.number("std", i.b, at_least_zero, "Standard deviation");
      break;
    case Init::Kind::xavier_uniform:
    case Init::Kind::xavier_normal:
    case Init::Kind::he_uniform:
    case Init::Kind::he_normal: v.number("gain", i.a, at_least_zero, "Factor of the standard deviation"); break;
  }
  v.check("low", [&] {
    if (i.kind == Init::Kind::uniform && i.a > i.b) throw Error(ErrorKind::usage, "must be at most high");
  });
}

template <class V, class L>
requires(Is<L, nn::Conv2d> || Is<L, nn::ConvTranspose2d>) void fields(V& v, L& l) {
  v.require("out", "kernel");
  v.integer("out", l.out, 1, huge, help::out);
  v.size("kernel", l.kernel, 1, huge, help::kernel);
  v.size("stride", l.stride, 1, huge, help::stride);
  constexpr bool transposed = requires { l.output_padding; };
  v.size("padding", l.padding, 0, huge, transposed ? "Rows and columns taken off each side of the output" : help::padding);
  if constexpr (transposed) v.size("output_padding", l.output_padding, 0, huge, "Rows and columns added at the end of the output");
  v.size("dilation", l.dilation, 1, huge, help::dilation);
  v.integer("groups", l.groups, 1, huge, "Groups of channels; each sees its own inputs only");
  v.boolean("bias", l.bias, help::bias);
  v.init("weight_init", l.weight_init, help::weight_init);
  v.init("bias_init", l.bias_init, help::bias_init);
}

template <class V, Is<nn::Linear> L>
void fields(V& v, L& l) {
  v.require("out");
  v.integer("out", l.out, 1, huge, help::out);
  v.boolean("bias", l.bias, help::bias);
  v.init("weight_init", l.weight_init, help::weight_init);
  v.init("bias_init", l.bias_init, help::bias_init);
}

// Fields of the norms that can have running statistics.
template <class V, class L>
requires(Is<L, nn::BatchNorm> || Is<L, nn::InstanceNorm>) void fields(V& v, L& l) {
  v.number("eps", l.eps, at_least_zero, help::eps);
  v.number_or_none("momentum", l.momentum, of_whole, "Weight of a new batch in the running statistics; \"none\": their plain average");
  v.boolean("affine", l.affine, help::affine);
  v.boolean("track_running_stats", l.track_running_stats, "Keeps running statistics, and evaluates by them");
  v.number("initial_running_var", l.initial_running_var, at_least_zero, "Running variance before the first batch");
  v.init("weight_init", l.weight_init, help::gamma_init);
  v.init("bias_init", l.bias_init, help::beta_init);
}

template <class V, Is<nn::LayerNorm> L>
void fields(V& v, L& l) {
  v.number("eps", l.eps, at_least_zero, help::eps);
  v.boolean("elementwise_affine", l.elementwise_affine, "Learns a scale for each element");
  v.boolean("bias", l.bias, "Learns a shift, too, where there is a scale");
  v.init("weight_init", l.weight_init, help::gamma_init);
  v.init("bias_init", l.bias_init, help::beta_init);
}

template <class V, Is<nn::GroupNorm> L>
void fields(V& v, L& l) {
  if (l.groups == 0) v.require("groups");  // a layer; the section has a default
  v.integer("groups", l.groups, 1, huge, "Groups of channels, each normalised by itself");
  v.number("eps", l.eps, at_least_zero, help::eps);
  v.boolean("affine", l.affine, help::affine);
  v.init("weight_init", l.weight_init, help::gamma_init);
  v.init("bias_init", l.bias_init, help::beta_init);
}

template <class V, Is<nn::MaxPool2d> L>
void fields(V& v, L& l) {
  v.require("kernel");
  v.size("kernel", l.kernel, 1, huge, help::kernel);
  v.size("stride", l.stride, 1, huge, help::pool_stride);
  v.size("padding", l.padding, 0, huge, help::padding);
  v.size("dilation", l.dilation, 1, huge, help::dilation);
  v.boolean("ceil_mode", l.ceil_mode, help::ceil_mode);
}

template <class V, Is<nn::AvgPool2d> L>
void fields(V& v, L& l) {
  v.require("kernel");
  v.size("kernel", l.kernel, 1, huge, help::kernel);
  v.size("stride", l.stride, 1, huge, help::pool_stride);
  v.size("padding", l.padding, 0, huge, help::padding);
  v.boolean("ceil_mode", l.ceil_mode, help::ceil_mode);
  v.boolean("count_include_pad", l.count_include_pad, "The padding counts in the mean");
}

template <class V, Is<nn::GELU> L>
void fields(V& v, L& l) {
  v.choice("approximate", l.approximate, approximate_names, "none: exact, by the error function; tanh: close to it");
}

template <class V, Is<nn::LeakyReLU> L>
void fields(V& v, L& l) {
  v.number("negative_slope", l.negative_slope, any_number, "Slope below 0");
}

template <class V, Is<nn::ELU> L>
void fields(V& v, L& l) {
  v.number("alpha", l.alpha, any_number, "Limit below 0 is -alpha");
}

template <class V, Is<nn::Dropout> L>
void fields(V& v, L& l) {
  v.number("p", l.p, probability, "Probability of a 0 in training");
}

template <class V, Is<SequentialLayer> L>
void fields(V& v, L& l) {
  v.require("layers");
  v.layers("layers", l.layers, 1, "One after the other");
  v.integer("repeat", l.repeat, 1, 10'000, "Copies of the layers, one after the other");
}

template <class V, Is<ResidualLayer> L>
void fields(V& v, L& l) {
  v.require("body");
  v.layers("body", l.body, 1, "Their output is added to the input");
  v.layers("projection", l.projection, 0, "The input passes through these before it is added");
}

// Layers without options.
template <class V, class L>
requires(std::is_empty_v<L>) void fields(V&, L&) {}

template <std::size_t I = 0>
Layer layer_of(std::size_t alternative) {
  if constexpr (I < std::variant_size_v<Layer>) return alternative == I ? Layer(std::in_place_index<I>) : layer_of<I + 1>(alternative);
  else throw std::logic_error("a layer type without an alternative");
}

template <class V, Is<LayerSpec> L>
void fields(V& v, L& l) {
  v.require("type");
  std::size_t type = l.layer.index();
  v.choice("type", type, layer_names.all, "Kind of the layer");
  if constexpr (V::reading) l.layer = layer_of(type);
  v.text("name", l.name, "Part of the names of its parameters; by kind and number, where it is left out");
  v.check("name", [&] {
    if (l.name.find_first_of("./ \t\n") != std::string::npos)
      throw Error(ErrorKind::usage, "must have no '.', '/' or blanks: it becomes part of parameter names");
  });
  std::visit([&](auto& layer) { fields(v, layer); }, l.layer);
}

// ---------------------------------------------------------------------------------------------- sections
template <class V, Is<DataSection> D>
void fields(V& v, D& d) {
  using Source = DataSection::Source;
  v.require("name");
  v.choice("name", d.source, source_names.all, "Data set");
  switch (d.source) {
    case Source::mnist:
    case Source::fashion_mnist:
      v.path("dir", d.dir, "Folder that is searched first for data sets");
      v.integer("train_samples", d.first_train, 0, huge, help::first_train);
      v.integer("test_samples", d.first_test, 0, huge, help::first_test);
      break;
    case Source::digits:
      v.integer("train_samples", d.train_samples, 1, most_samples, "Training samples to make");
      v.integer("test_samples", d.test_samples, 1, most_samples, "Test samples to make");
      v.seed("seed", d.seed, any_seed, help::data_seed);
      break;
    case Source::circles:
      v.integer("samples", d.samples, 2, most_samples, "Points of both splits together");
      v.number("noise", d.noise, at_least_zero, "Standard deviation of the noise on each coordinate");
      v.number("factor", d.factor, {.low = 0, .high = 1, .high_open = true}, "Radius of the inner circle; that of the outer one is 1");
      v.number("test_fraction", d.test_fraction, inside_zero_and_one, "Share of the points that is for testing");
      v.seed("seed", d.seed, std::numeric_limits<std::uint32_t>::max(), help::data_seed);
      break;
    case Source::idx:
      if constexpr (V::reading)
        v.refuse("dir",
                 "idx files are named one by one: --set data.train_images=FILE, and so on for train_labels, test_images, test_labels");
      v.require("train_images", "train_labels", "test_images", "test_labels");
      v.path("train_images", d.train_images, "IDX file, gzip or raw");
      v.path("train_labels", d.train_labels, "IDX file, gzip or raw");
      v.path("test_images", d.test_images, "IDX file, gzip or raw");
      v.path("test_labels", d.test_labels, "IDX file, gzip or raw");
      v.integer("classes", d.classes, 0, huge, "Number of classes; 0: one more than the largest label");
      v.integer("train_samples", d.first_train, 0, huge, help::first_train);
      v.integer("test_samples", d.first_test, 0, huge, help::first_test);
      break;
  }
  v.boolean("to_unit", d.transform.to_unit, "Bytes 0 to 255 become 0 to 1, before all else");
  v.numbers("mean", d.transform.mean, any_number, "Subtracted from each value; one number, or one for each channel");
  v.numbers("std", d.transform.stddev, above_zero, "Divides each value, after that; one number, or one for each channel");
  v.size("resize", d.transform.resize, 1, largest_side, "Size that images are scaled to; their own, where it is left out");
}

template <class V, Is<ModelSection> M>
void fields(V& v, M& m) {
  v.require("layers");
  const Activation before = m.activation;
  v.choice("activation", m.activation, activation_names.all, "Activation that { type = \"activation\" } stands for");
  if constexpr (V::reading)
    if (m.activation != before) m.activation_option = traits(m.activation).standard;
  if (const char* option = traits(m.activation).option) v.number(option, m.activation_option, any_number, help::activation_option);
  v.choice("norm", m.norm, norm_names, "Norm that { type = \"norm\" } stands for");
  v.choice("norm_position", m.norm_position, position_names, "Place of each { type = \"norm\" } beside an activation");
  v.init("weight_init", m.weight_init, "Initial weights of each conv2d and linear that names none");
  v.init("bias_init", m.bias_init, "Initial biases of each conv2d and linear that names none");
  v.layers("layers", m.layers, 1, "The net, from input to output");
  v.section("batch_norm", m.batch_norm, "Options of the norms that norm = \"batch\" stands for");
  v.section("layer_norm", m.layer_norm, "Options of the norms that norm = \"layer\" stands for");
  v.section("instance_norm", m.instance_norm, "Options of the norms that norm = \"instance\" stands for");
  v.section("group_norm", m.group_norm, "Options of the norms that norm = \"group\" stands for");
}

template <class V, Is<Sgd> O>
void fields(V& v, O& o) {
  v.number("lr", o.lr, at_least_zero, help::lr);
  v.number("momentum", o.momentum, at_least_zero, help::momentum);
  v.number("dampening", o.dampening, any_number, "Share of the gradient that momentum leaves out");
  v.number("weight_decay", o.weight_decay, at_least_zero, help::weight_decay);
  v.boolean("nesterov", o.nesterov, "Nesterov momentum; needs momentum, and no dampening");
}

template <class V, Is<Adam> O>
void fields(V& v, O& o) {
  v.number("lr", o.lr, at_least_zero, help::lr);
  v.number("beta1", o.beta1, below_one, "Decay of the gradient's mean");
  v.number("beta2", o.beta2, below_one, "Decay of the squared gradient's mean");
  v.number("eps", o.eps, at_least_zero, help::root_eps);
  v.number("weight_decay", o.weight_decay, at_least_zero, help::weight_decay);
}

template <class V, Is<RMSprop> O>
void fields(V& v, O& o) {
  v.number("lr", o.lr, at_least_zero, help::lr);
  v.number("alpha", o.alpha, below_one, "Decay of the squared gradient's mean");
  v.number("eps", o.eps, at_least_zero, help::root_eps);
  v.number("weight_decay", o.weight_decay, at_least_zero, help::weight_decay);
  v.number("momentum", o.momentum, at_least_zero, help::momentum);
  v.boolean("centered", o.centered, "Divides by the deviation: takes the mean's square off the squared gradient's mean");
}

template <class V, Is<Optimizer> O>
void fields(V& v, O& o) {
  std::size_t kind = o.index();
  for (std::size_t i = 0; i < std::size(optimizer_kinds); ++i)
    if (std::string_view(name_of(optimizer_kinds[i].second)) == name_of(o)) kind = i;
  v.choice("kind", kind, optimizer_names.all, "Optimizer, with its own defaults");
  if constexpr (V::reading) o = optimizer_kinds[kind].second;
  std::visit([&](auto& options) { fields(v, options); }, o);
  v.check("kind", [&] { validate(o); });
}

template <class V, Is<Schedule> S>
void fields(V& v, S& s) {
  v.choice("kind", s.kind, schedule_names, "Course of the learning rate");
  switch (s.kind) {
    case Schedule::Kind::constant: break;
    case Schedule::Kind::step:
      v.integer("step_epochs", s.step_epochs, 1, huge, "Epochs between two changes");
      v.number("gamma", s.gamma, at_least_zero, "Factor of each change");
      break;
    case Schedule::Kind::cosine: v.number("final_factor", s.final_factor, at_least_zero, "Factor of lr at the end"); break;
    case Schedule::Kind::one_cycle:
      v.number("pct_start", s.pct_start, inside_zero_and_one, "Share of the run in which the rate rises to lr");
      v.number("div_factor", s.div_factor, above_zero, "The rate starts at lr divided by this");
      v.number("final_div_factor", s.final_div_factor, above_zero, "The rate ends at its start divided by this");
      break;
  }
  v.number("warmup_epochs", s.warmup_epochs, {.low = 0, .high = 1e6},  // as train.epochs: a longer one never ends
           "Linear warm-up of the learning rate");
  v.number("warmup_start", s.warmup_start, of_whole, "Factor of lr at the start of the warm-up");
  v.check("kind", [&] { validate(s); });
}

template <class V, Is<Loss> L>
void fields(V& v, L& l) {
  LossKind kind = std::holds_alternative<MeanSquared>(l) ? LossKind::mse : LossKind::cross_entropy;
  v.choice("kind", kind, loss_names, "Loss");
  if constexpr (V::reading) {
    if (kind == LossKind::mse) l = MeanSquared{};
    if (kind == LossKind::cross_entropy) l = CrossEntropy{};
  }
  if (auto* c = std::get_if<CrossEntropy>(&l)) {
    v.choice("reduction", c->reduction, reduction_names, help::reduction);
    v.number("label_smoothing", c->label_smoothing, of_whole, "Label smoothing: share of each target that is spread over all classes");
    v.integer("ignore_index", c->ignore_index, -huge - 1, huge, "Samples with this label do not count");
  } else if (auto* m = std::get_if<MeanSquared>(&l)) {
    v.choice("reduction", m->reduction, reduction_names, help::reduction);
  }
}

template <class V, Is<ParameterGroup> G>
void fields(V& v, G& g) {
  v.require("pattern");
  v.text("pattern", g.pattern, "Names of parameters, such as conv1.weight; each * stands for any text");
  v.check("pattern", [&] {
    if (g.pattern.empty()) throw Error(ErrorKind::usage, "must fit names of parameters, such as \"conv1.*\"; got an empty string");
  });
  v.number("rate", g.rate, at_least_zero, "Factor of the learning rate; 0 freezes");
  v.number("weight_decay", g.weight_decay, at_least_zero, "Weight decay in place of the optimizer's");
  v.boolean("frozen_statistics", g.frozen_statistics, "Batch norms normalise by their running statistics, which stay");
}

template <class V, Is<InitSection> I>
void fields(V& v, I& i) {
  if (!V::reading && i.file.empty()) return;
  v.path("file", i.file, "Weights to begin with: a .safetensors or .pt file, or a run directory");
  v.text("key", i.key, "Dictionary of a .pt file that holds several, such as model");
  v.texts("rename", i.rename, "Names in the file and in the net, each OLD=NEW; * stands for any text, the same in both");
  v.check("rename", [&] { i.renames(); });
  v.choice("missing", i.missing, missing_names, "Tensors that the file lacks; keep: they begin as the seed draws them");
  v.choice("extra", i.extra, extra_names, "Tensors that the net does not have");
  v.text("sha256", i.sha256, "Digest of the file, which must be its own; a run writes it");
  v.check("file", [&] { validate(i); });
}

template <class V, Is<TrainSection> T>
void fields(V& v, T& t) {
  v.integer("epochs", t.epochs, 1, 1'000'000, "Epochs in total");
  v.integer("batch_size", t.batch_size, 1, 1 << 24, "Samples per step");
  v.integer("save_every", t.save_every, 1, 1'000'000, "Epochs between checkpoints");
  v.integer("log_every", t.log_every, 1, 1'000'000, "Epochs between two progress lines");
  v.number_or_none("clip_norm", t.clip.norm, above_zero, "Largest norm of all gradients together, to which they are scaled down");
  v.number_or_none("clip_value", t.clip.value, above_zero, "Largest gradient; larger ones become this, with their sign");
  v.choice("precision", t.precision, precision_names, "Precision of the factors in convolutions and linear layers");
  v.seed("seed", t.seed, any_seed, "Seed of initial weights, order of samples and dropout");
  v.boolean("shuffle", t.shuffle, "Shuffle the samples in each epoch");
  v.boolean("drop_last", t.drop_last, "Leave out an epoch's last batch if it is not full");
  v.boolean("health", t.health, "Write health.jsonl: the state of norms and activations");
  v.boolean("tensorboard", t.tensorboard, "Write events.out.tfevents.norma, for TensorBoard");
  v.boolean("log_loss", t.log_loss, "Logarithmic axis of the loss; false: where it spans a factor of 10");
  v.groups("groups", t.groups, "Parameters that are trained otherwise; the last group that says something of one counts");
}

template <class V, Is<DeviceSection> D>
void fields(V& v, D& d) {
  v.text("kind", d.kind, "auto, cpu, cuda or cuda:N");
  v.check("kind", [&] { Device::parse(d.kind); });
  v.integer("threads", d.threads, 0, 4096, "CPU threads; 0: every core. The result is the same for any number");
  v.text("isa", d.isa, "auto, or a level that norma doctor lists");
  v.choice("capture", d.capture, capture_names, "Graph of kernels in which a GPU runs a step; the result is the same");
  v.integer("graph_calls", d.graph_calls, 1, huge, "Maximum number of Calls in one captured graph; the result is the same");
  v.boolean("fuse", d.fuse, "Fuse layers; changes rounding only");
  v.boolean("reuse", d.reuse, "Share memory between activations; does not change the result");
  v.boolean("check_each", d.check_each, "Look for NaN after every call, to name the layer at fault");
}

template <class V, Is<Recipe> R>
void fields(V& v, R& r) {
  v.require("data", "model");
  v.text("name", r.name, "Name of the recipe; that of its file, where it is left out");
  v.text("description", r.description, "A sentence about it");
  v.section("data", r.data, "The data set, and the transform of its samples");
  v.section("model", r.model, "The net");
  v.section("optimizer", r.optimizer, "The update of the parameters");
  v.section("schedule", r.schedule, "The learning rate of each step, as a factor of the optimizer's");
  v.section("loss", r.loss, "The number that training lowers");
  v.section("init", r.init, "The weights that training begins with; without it the seed draws them");
  v.section("train", r.train, "The run");
  v.section("device", r.device, "Device and way of running");
}

}  // namespace norma::app
