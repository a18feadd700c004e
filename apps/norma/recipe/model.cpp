// Turns a recipe into the library's modules, trainer options and data.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "apps/norma/recipe/values.h"
#include "norma/error.h"

namespace norma::app {
namespace {

// An instance norm, except for one value a channel, as after a linear layer: it would leave only 0.
struct InstanceNormOfPlanes {
  static constexpr const char* kind = nn::InstanceNorm::kind;
  nn::InstanceNorm norm;
  Value operator()(Builder& b, Value x) const { return b.shape(x).rank() == 2 ? x : norm(b, x); }
};

// A layer that multiplies by weights, which model.weight_init and model.bias_init start.
template <class M>
concept has_weights = requires(M m) {
  m.out;
  m.bias;
  m.weight_init;
};

// Both overloads of a layer: one that stands for itself, and those the model's fields decide.
class ModelBuilder {
 public:
  explicit ModelBuilder(const ModelSection& model) : model_(model) {}

  nn::Sequential sequence(const std::vector<LayerSpec>& layers, std::int64_t repeat = 1) const {
    nn::Sequential net;
    for (const LayerSpec& l : arranged(layers, repeat))
      if (std::optional<Module> m = std::visit([this](const auto& layer) { return module(layer); }, l.layer))
        net.append(nn::Sequential::Child(l.name, std::move(*m)));
    return net;
  }

  // The layers there are, as without_norms() wants them; prefix: of their paths.
  std::vector<LayerSpec> without(const std::vector<LayerSpec>& layers, const std::string& prefix, const std::set<std::string>& norms,
                                 const std::set<std::string>& biased, std::int64_t repeat = 1) const {
    std::vector<LayerSpec> kept;
    std::map<std::string, int> count;  // as nn::Sequential numbers its children
    for (LayerSpec l : arranged(layers, repeat)) {
      const std::optional<Module> m = std::visit([this](const auto& layer) { return module(layer); }, l.layer);
      if (!m) continue;
      const int number = ++count[m->kind()];
      if (l.name.empty()) l.name = m->kind() + std::to_string(number);
      const std::string path = prefix + l.name;
      if (norms.contains(path)) continue;
      if (biased.contains(path)) {
        std::visit(
            []<class M>(M& layer) {
              if constexpr (has_weights<M>) layer.bias = true;
            },
            l.layer);
      }
      if (auto* s = std::get_if<SequentialLayer>(&l.layer)) {
        s->layers = without(s->layers, path + "/", norms, biased, s->repeat);
        s->repeat = 1;
        if (s->layers.empty()) continue;
      }
      if (auto* r = std::get_if<ResidualLayer>(&l.layer)) {
        r->body = without(r->body, path + "/body/", norms, biased);
        r->projection = without(r->projection, path + "/projection/", norms, biased);
      }
      kept.push_back(std::move(l));
    }
    return kept;
  }

 private:
  // Layers in the net's order. Repeated layers get their number after their name. Norms stand on their side of the activation.
  std::vector<LayerSpec> arranged(const std::vector<LayerSpec>& layers, std::int64_t repeat) const {
    std::vector<LayerSpec> all;
    for (std::int64_t time = 1; time <= repeat; ++time)
      for (LayerSpec l : layers) {
        if (repeat > 1 && !l.name.empty()) l.name += std::to_string(time);
        all.push_back(std::move(l));
      }
    if (model_.norm_position == NormPosition::after)
      for (std::size_t i = 0; i + 1 < all.size(); ++i)
        if (std::holds_alternative<NormLayer>(all[i].layer) && std::holds_alternative<ActivationLayer>(all[i + 1].layer))
          std::swap(all[i], all[i + 1]), ++i;
    return all;
  }

  template <class M>
  std::optional<Module> module(M layer) const {
    if constexpr (has_weights<M>) {
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
      case NormKind::instance: return Module(InstanceNormOfPlanes{model_.instance_norm});
      case NormKind::group: return Module(model_.group_norm);
    }
    return {};
  }
  std::optional<Module> module(const ActivationLayer&) const {
    if (model_.activation == Activation::none) return {};
    return Module(nn::Activate{model_.activation, model_.activation_option});
  }
  std::optional<Module> module(const SequentialLayer& l) const { return Module(sequence(l.layers, l.repeat)); }
  std::optional<Module> module(const ResidualLayer& l) const {
    nn::Residual r{Module(sequence(l.body)), {}};
    if (!l.projection.empty()) r.projection = Module(sequence(l.projection));
    return Module(std::move(r));
  }

  const ModelSection& model_;
};

}  // namespace

nn::Sequential build_model(const ModelSection& model) { return ModelBuilder(model).sequence(model.layers); }

ModelSection without_norms(const ModelSection& model, const std::set<std::string>& norms, const std::set<std::string>& biased) {
  ModelSection changed = model;
  changed.layers = ModelBuilder(model).without(model.layers, "", norms, biased);
  changed.norm_position = NormPosition::before;  // the layers are in their order
  return changed;
}

ExecutorOptions executor_options(const DeviceSection& device) {
  return {.threads = static_cast<int>(device.threads), .isa = device.isa, .capture = device.capture, .graph_calls = device.graph_calls};
}

TrainerOptions trainer_options(const Recipe& recipe, const Shape& sample, const Device& device) {
  return {.input = sample,
          .batch = recipe.train.batch_size,
          .optimizer = recipe.optimizer,
          .groups = recipe.train.groups,
          .clip = recipe.train.clip,
          .schedule = recipe.schedule,
          .loss = recipe.loss,
          .transform = recipe.data.transform,
          .device = device,
          .executor = executor_options(recipe.device),
          .precision = recipe.train.precision,
          .seed = recipe.train.seed,
          .shuffle = recipe.train.shuffle,
          .drop_last = recipe.train.drop_last,
          .fuse = recipe.device.fuse,
          .reuse = recipe.device.reuse,
          .check_each = recipe.device.check_each};
}

const char* name_of(DataSection::Source source) { return traits(source).name; }

namespace {

// Adds the remedy for every command: the fields that name an IDX file, where the file does not exist.
void refuse_moved(const Error& e, const char* field, const std::filesystem::path& file) {
  if (std::error_code error; std::filesystem::exists(file, error)) return;
  throw Error(e.kind(), fmt::format("{}\n  if the files have moved: --set data.{}=FILE, and so on for the other three", e.what(), field));
}

// (count, 1, height, width)
Shape training_images(const DataSection& d) {
  try {
    return idx_shape(d.train_images);
  } catch (const Error& e) {
    refuse_moved(e, "train_images", d.train_images);
    throw;
  }
}

}  // namespace

Shape sample_shape(const DataSection& data) {
  switch (data.source) {
    case DataSection::Source::mnist:
    case DataSection::Source::fashion_mnist:
    case DataSection::Source::digits: return {1, 28, 28};
    case DataSection::Source::circles: return {2};
    case DataSection::Source::idx: break;
  }
  const Shape set = training_images(data);
  return {set[1], set[2], set[3]};
}

std::int64_t training_samples(const DataSection& data) {
  switch (data.source) {
    case DataSection::Source::mnist:
    case DataSection::Source::fashion_mnist: return data.first_train > 0 ? data.first_train : 60000;
    case DataSection::Source::digits: return data.train_samples;
    case DataSection::Source::circles: return load_data(data).train.size();
    case DataSection::Source::idx: break;
  }
  return data.first_train > 0 ? data.first_train : training_images(data)[0];
}

namespace {

// Its first samples alone; 0: all of them.
Dataset first(Dataset d, std::int64_t samples, const char* key) {
  if (samples == 0) return d;
  if (samples > d.size())
    throw Error(ErrorKind::usage, std::string("data.") + key + " is " + std::to_string(samples) + ", but " + d.name + " has " +
                                      std::to_string(d.size()) + " samples");
  const auto values = static_cast<std::size_t>(samples * d.sample.elements());
  if (!d.bytes.empty()) d.bytes.resize(values);
  if (!d.floats.empty()) d.floats.resize(values);
  d.labels.resize(static_cast<std::size_t>(samples));
  return d;
}

DatasetPair first(DatasetPair pair, const DataSection& d) {
  return {first(std::move(pair.train), d.first_train, "train_samples"), first(std::move(pair.test), d.first_test, "test_samples"),
          std::move(pair.source)};
}

}  // namespace

namespace {

Dataset idx_split(const DataSection& d, bool train) {
  const std::filesystem::path &images = train ? d.train_images : d.test_images, &labels = train ? d.train_labels : d.test_labels;
  try {
    return load_idx(images, labels, d.classes);
  } catch (const Error& e) {
    refuse_moved(e, train ? "train_labels" : "test_labels", labels);  // which are read first
    refuse_moved(e, train ? "train_images" : "test_images", images);
    throw;
  }
}

}  // namespace

DatasetPair load_data(const DataSection& d) {
  using Source = DataSection::Source;
  switch (d.source) {
    case Source::mnist:
    case Source::fashion_mnist: return first(load_dataset(name_of(d.source), d.dir.empty() ? std::nullopt : std::optional(d.dir)), d);
    case Source::digits: return make_digits(d.train_samples, d.test_samples, d.seed);
    case Source::circles: return make_circles(d.samples, d.noise, d.factor, d.test_fraction, d.seed);
    case Source::idx: break;
  }
  DatasetPair pair{idx_split(d, true), idx_split(d, false), d.train_images.parent_path().string()};
  // Without a given number, the two splits may have seen different largest labels.
  const std::size_t classes = std::max(pair.train.classes.size(), pair.test.classes.size());
  if (pair.train.classes.size() < classes) pair.train.classes = pair.test.classes;
  if (pair.test.classes.size() < classes) pair.test.classes = pair.train.classes;
  return first(std::move(pair), d);
}

Dataset load_split(const DataSection& d, bool train) {
  if (d.source == DataSection::Source::idx)
    return train ? first(idx_split(d, true), d.first_train, "train_samples") : first(idx_split(d, false), d.first_test, "test_samples");
  DatasetPair pair = load_data(d);
  return std::move(train ? pair.train : pair.test);
}

std::vector<Rename> InitSection::renames() const {
  std::vector<Rename> all;
  for (const std::string& r : rename) all.push_back(Rename::parse(r));
  return all;
}

void validate(const InitSection& i) {
  const bool others = !i.key.empty() || !i.rename.empty() || !i.sha256.empty() || i.missing != LoadOptions::Missing::refuse ||
                      i.extra != LoadOptions::Extra::refuse;
  if (i.file.empty() && others)
    throw Error(ErrorKind::usage, "init.file is missing, to which the other keys of init belong; --init FILE gives it");
}

}  // namespace norma::app
