// What a recipe means to the library: its modules, trainer options and data.
#include <algorithm>

#include "apps/norma/recipe_fields.h"

namespace norma::app {
namespace {

// Both overloads of a layer: one that stands for itself, and those the model's fields decide.
class ModelBuilder {
 public:
  explicit ModelBuilder(const ModelSection& model) : model_(model) {}

  nn::Sequential sequence(const std::vector<LayerSpec>& layers) const {
    nn::Sequential net;
    const auto append = [&](const LayerSpec& l) {
      if (std::optional<Module> m = std::visit([this](const auto& layer) { return module(layer); }, l.layer))
        net.append(nn::Sequential::Child(l.name, std::move(*m)));
    };
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const bool pair = i + 1 < layers.size() && std::holds_alternative<NormLayer>(layers[i].layer) &&
                        std::holds_alternative<ActivationLayer>(layers[i + 1].layer);
      if (pair && model_.norm_position == NormPosition::after) {
        append(layers[i + 1]);
        append(layers[i++]);
      } else {
        append(layers[i]);
      }
    }
    return net;
  }

 private:
  template <class M>
  std::optional<Module> module(M layer) const {
    if constexpr (std::is_same_v<M, nn::Conv2d> || std::is_same_v<M, nn::Linear>) {
      if (layer.weight_init.kind == Init::Kind::standard) layer.weight_init = model_.weight_init;
      if (layer.bias_init.kind == Init::Kind::standard) layer.bias_init = model_.bias_init;
    }
    return Module(std::move(layer));
  }
  std::optional<Module> module(const NormLayer&) const {
    switch (model_.norm) {
      case NormKind::none: break;
      case NormKind::batch: return Module(model_.batch_norm);
      case NormKind::layer: return Module(model_.layer_norm);
      case NormKind::instance: return Module(model_.instance_norm);
      case NormKind::group: return Module(model_.group_norm);
    }
    return {};
  }
  std::optional<Module> module(const ActivationLayer&) const {
    switch (model_.activation) {
      case Activation::relu: return Module(nn::ReLU{});
      case Activation::sigmoid: return Module(nn::Sigmoid{});
      case Activation::tanh: return Module(nn::Tanh{});
      case Activation::none: break;
    }
    return {};
  }
  std::optional<Module> module(const SequentialLayer& l) const { return Module(sequence(l.layers)); }
  std::optional<Module> module(const ResidualLayer& l) const {
    nn::Residual r{Module(sequence(l.body)), {}};
    if (!l.projection.empty()) r.projection = Module(sequence(l.projection));
    return Module(std::move(r));
  }

  const ModelSection& model_;
};

}  // namespace

nn::Sequential build_model(const ModelSection& model) { return ModelBuilder(model).sequence(model.layers); }

ExecutorOptions executor_options(const DeviceSection& device) {
  return {.threads = static_cast<int>(device.threads), .isa = device.isa, .capture = device.capture, .graph_calls = device.graph_calls};
}

TrainerOptions trainer_options(const Recipe& recipe, const Shape& sample, const Device& device) {
  return {.input = sample,
          .batch = recipe.train.batch_size,
          .optimizer = recipe.optimizer,
          .schedule = recipe.schedule,
          .loss = recipe.loss,
          .transform = recipe.data.transform,
          .device = device,
          .executor = executor_options(recipe.device),
          .seed = recipe.train.seed,
          .shuffle = recipe.train.shuffle,
          .drop_last = recipe.train.drop_last,
          .fuse = recipe.device.fuse,
          .reuse = recipe.device.reuse,
          .check_each = recipe.device.check_each};
}

const char* name_of(DataSection::Source source) {
  for (const auto& [name, s] : source_names)
    if (s == source) return name;
  return "?";
}

Shape sample_shape(const DataSection& data) {
  switch (data.source) {
    case DataSection::Source::mnist:
    case DataSection::Source::fashion_mnist:
    case DataSection::Source::digits: return {1, 28, 28};
    case DataSection::Source::circles: return {2};
    case DataSection::Source::idx: break;
  }
  return load_data(data).train.sample;
}

std::int64_t training_samples(const DataSection& data) {
  switch (data.source) {
    case DataSection::Source::mnist:
    case DataSection::Source::fashion_mnist: return 60000;
    case DataSection::Source::digits: return data.train_samples;
    case DataSection::Source::circles:
    case DataSection::Source::idx: break;
  }
  return load_data(data).train.size();
}

DatasetPair load_data(const DataSection& d) {
  using Source = DataSection::Source;
  switch (d.source) {
    case Source::mnist:
    case Source::fashion_mnist: return load_dataset(name_of(d.source), d.dir.empty() ? std::nullopt : std::optional(d.dir));
    case Source::digits: return make_digits(d.train_samples, d.test_samples, d.seed);
    case Source::circles: return make_circles(d.samples, d.noise, d.factor, d.test_fraction, d.seed);
    case Source::idx: break;
  }
  DatasetPair pair{load_idx(d.train_images, d.train_labels, d.classes), load_idx(d.test_images, d.test_labels, d.classes),
                   d.train_images.parent_path().string()};
  // Without a given number, the two splits may have seen different largest labels.
  const std::size_t classes = std::max(pair.train.classes.size(), pair.test.classes.size());
  if (pair.train.classes.size() < classes) pair.train.classes = pair.test.classes;
  if (pair.test.classes.size() < classes) pair.test.classes = pair.train.classes;
  return pair;
}

}  // namespace norma::app
