// A recipe: everything one training run needs, as a TOML file says it. One list of fields per section (recipe_fields.h) serves reading,
// overriding by flags, and writing the config.toml from which the run can be repeated.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "norma/dataset.h"
#include "norma/loss.h"
#include "norma/module.h"
#include "norma/trainer.h"

namespace norma::app {

// [data]: a known set, one made by code, or any IDX files; then the transform.
struct DataSection {
  enum class Source : std::uint8_t { mnist, fashion_mnist, digits, circles, idx };
  Source source = Source::mnist;
  std::filesystem::path dir;                                                   // mnist, fashion-mnist: looked in first
  std::filesystem::path train_images, train_labels, test_images, test_labels;  // idx
  std::int64_t classes = 0;                                                    // idx; 0: one more than the largest label
  std::int64_t first_train = 0, first_test = 0;             // train_samples, test_samples of mnist, fashion-mnist, idx; 0: all of them
  std::int64_t train_samples = 10000, test_samples = 2000;  // digits
  std::int64_t samples = 2000;                              // circles
  double noise = 0.05, factor = 0.5, test_fraction = 0.2;
  std::uint64_t seed = 0;  // digits, circles
  Transform transform;
};

// One row a source. Whatever only some sources have is asked of the row, never of a name.
struct DataSource {
  DataSection::Source source;
  const char* name;
  bool published = false;    // known files (norma/dataset.h): looked for in data.dir, fetched, of known classes
  bool own_files = false;    // the user's, which have no name
  bool dark_ground = false;  // its pictures are bright on dark ground
};
inline constexpr DataSource data_sources[] = {
    {.source = DataSection::Source::mnist, .name = "mnist", .published = true, .dark_ground = true},
    {.source = DataSection::Source::fashion_mnist, .name = "fashion-mnist", .published = true, .dark_ground = true},
    {.source = DataSection::Source::digits, .name = "digits", .dark_ground = true},
    {.source = DataSection::Source::circles, .name = "circles"},
    {.source = DataSection::Source::idx, .name = "idx", .own_files = true},
};
constexpr const DataSource& traits(DataSection::Source s) { return data_sources[static_cast<std::size_t>(s)]; }
static_assert(
    [] {
      for (const DataSource& s : data_sources)
        if (&traits(s.source) != &s) return false;
      return true;
    }(),
    "the rows stand in the order of the enumerators");

struct LayerSpec;

// The meaning of {type = "norm"}; none: those layers are left out.
enum class NormKind : std::uint8_t { none, batch, layer, instance, group };
// Position of a {type = "norm"} and the {type = "activation"} right behind it: norm before the activation, or after it.
enum class NormPosition : std::uint8_t { before, after };

// {type = "norm"}: what model.norm says.
struct NormLayer {};
// {type = "activation"}: what model.activation says.
struct ActivationLayer {};
struct SequentialLayer {
  std::vector<LayerSpec> layers;
  std::int64_t repeat = 1;  // number of copies of the layers, one after the other
};
struct ResidualLayer {
  std::vector<LayerSpec> body, projection;
};

// One row a layer: the name in {type = "..."} and what it is. The layer's options stand in fields.h.
template <std::size_t size>
struct LayerName {
  char text[size];
  consteval LayerName(const char (&name)[size]) { std::copy_n(name, size, text); }  // NOLINT: names convert
};
template <LayerName layer_name, class L>
struct LayerRow {
  static constexpr const char* name = layer_name.text;
  using type = L;
};
template <class... Row>
struct LayerRows {
  using Layer = std::variant<typename Row::type...>;
  static constexpr const char* names[] = {Row::name...};  // [alternative of Layer]
};
// clang-format off
using LayerTable = LayerRows<
    LayerRow<"conv2d", nn::Conv2d>,
    LayerRow<"conv_transpose2d", nn::ConvTranspose2d>,
    LayerRow<"linear", nn::Linear>,
    LayerRow<"norm", NormLayer>,
    LayerRow<"batch_norm", nn::BatchNorm>,
    LayerRow<"layer_norm", nn::LayerNorm>,
    LayerRow<"instance_norm", nn::InstanceNorm>,
    LayerRow<"group_norm", nn::GroupNorm>,
    LayerRow<"activation", ActivationLayer>,
    LayerRow<"relu", nn::ReLU>,
    LayerRow<"sigmoid", nn::Sigmoid>,
    LayerRow<"tanh", nn::Tanh>,
    LayerRow<"gelu", nn::GELU>,
    LayerRow<"silu", nn::SiLU>,
    LayerRow<"leaky_relu", nn::LeakyReLU>,
    LayerRow<"elu", nn::ELU>,
    LayerRow<"max_pool2d", nn::MaxPool2d>,
    LayerRow<"avg_pool2d", nn::AvgPool2d>,
    LayerRow<"global_avg_pool2d", nn::GlobalAvgPool2d>,
    LayerRow<"dropout", nn::Dropout>,
    LayerRow<"flatten", nn::Flatten>,
    LayerRow<"sequential", SequentialLayer>,
    LayerRow<"residual", ResidualLayer>>;
// clang-format on
using Layer = LayerTable::Layer;

struct LayerSpec {
  std::string name;  // empty: by kind and number
  Layer layer;
};

struct ModelSection {
  Activation activation = Activation::relu;  // none: those layers are left out
  double activation_option = traits(activation).standard;
  NormKind norm = NormKind::batch;
  NormPosition norm_position = NormPosition::before;
  Init weight_init, bias_init;  // of every conv2d and linear that has the standard one
  nn::BatchNorm batch_norm;     // what a norm of each kind is
  nn::LayerNorm layer_norm;
  nn::InstanceNorm instance_norm;
  nn::GroupNorm group_norm{.groups = 2};
  std::vector<LayerSpec> layers;
};

// The weights that training begins with.
struct InitSection {
  std::filesystem::path file;  // empty: those that the seed draws
  std::string key;
  std::vector<std::string> rename;  // OLD=NEW
  LoadOptions::Missing missing = LoadOptions::Missing::refuse;
  LoadOptions::Extra extra = LoadOptions::Extra::refuse;
  std::string sha256;  // of the file; in config.toml, where the run wrote it

  std::vector<Rename> renames() const;  // throws Error(usage)
};
// Throws Error(usage) where keys are given without a file.
void validate(const InitSection& init);

struct TrainSection {
  Clip clip{};
  std::int64_t epochs = 1, batch_size = 256, save_every = 1;
  std::int64_t log_every = 1;  // epochs between two lines of the progress, in addition to the last one's
  Precision precision = Precision::fp32;
  std::uint64_t seed = 0;
  bool shuffle = true, drop_last = false;
  bool health = true;        // health.jsonl: with every line of the progress, how the batch norms and activations do
  bool tensorboard = false;  // events.out.tfevents.norma: what TensorBoard draws, every epoch
  bool log_loss = false;     // the pictures' loss axis is logarithmic; false: only where the losses span a factor of 10
  std::vector<ParameterGroup> groups;
};

// Device and way of running: nothing here changes the result.
struct DeviceSection {
  std::string kind = "auto";  // auto, cpu, cuda, cuda:1
  std::int64_t threads = 0;   // 0: every core this process may use
  std::string isa = "auto";
  Capture capture = Capture::branches;  // this and the next: of a GPU
  std::int64_t graph_calls = ExecutorOptions{}.graph_calls;
  bool fuse = true, reuse = true, check_each = false;
};

// Most layers of a recipe, repetitions counted.
inline constexpr std::int64_t most_layers = 100'000;

struct Recipe {
  std::string name, description;
  DataSection data;
  ModelSection model;
  Optimizer optimizer = Sgd{};
  Schedule schedule;
  Loss loss = CrossEntropy{};
  InitSection init;
  TrainSection train;
  DeviceSection device;
};

// A recipe's text and what to call it in a message: a path, or "recipe mnist-lenet-bn (built in)".
struct RecipeSource {
  std::string name;  // of the recipe: the file's stem
  std::string text, origin;
  std::filesystem::path folder;  // relative paths in the recipe start here
};

// One field set from the command line. value is TOML ("0.1", "[3, 5]", "\"relu\""); a bare word is a string.
struct Override {
  std::string key;  // "optimizer.lr", "model.layers.0.out"
  std::string value;
  std::string flag;  // for messages: "--lr", "--set optimizer.lr"
};

struct EmbeddedRecipe {
  std::string_view name, text;
};

// The recipes in apps/recipes when this binary was built.
std::span<const EmbeddedRecipe> embedded_recipes();

// A path (anything with '/' or ending in .toml), else a name looked up in $NORMA_RECIPE_DIR, then among the embedded recipes.
// Throws Error(usage): unknown name with the nearest one and the list, file that cannot be read.
RecipeSource find_recipe(const std::string& path_or_name);

// Strict: an unknown key, a wrong type or a value out of range throws Error(usage). The error names file, line and column, or the flag.
// Another kind of optimizer, schedule or loss starts that section anew; another data set keeps the keys it knows.
Recipe parse_recipe(const RecipeSource& source, std::span<const Override> overrides = {});

// The whole recipe with every default written out; parse_recipe of it gives the same recipe.
std::string write_toml(const Recipe& recipe);

// A basic string of TOML. `text` must be UTF-8, as all of TOML must.
std::string toml_string(std::string_view text);

// Dotted path -> value as TOML, for every field. Two recipes are the same where these are.
std::map<std::string, std::string> flatten(const Recipe& recipe);

// ---- what a recipe means to the library (recipe_model.cpp)

nn::Sequential build_model(const ModelSection& model);

// The model without the batch norms at these paths, its layers' names written out; those at `biased` get a bias.
ModelSection without_norms(const ModelSection& model, const std::set<std::string>& norms, const std::set<std::string>& biased);

// Options for the Executor, from [device]. Device::parse reads `kind`.
ExecutorOptions executor_options(const DeviceSection& device);
TrainerOptions trainer_options(const Recipe& recipe, const Shape& sample, const Device& device);

// Loads, generates or reads. Throws Error(data).
DatasetPair load_data(const DataSection& data);
// One split; of IDX files the other's need not be there.
Dataset load_split(const DataSection& data, bool train);
// Shape of one stored sample. Known without the data, except for IDX files, whose header is read.
Shape sample_shape(const DataSection& data);
// Number of samples of the training split. Known without the data, except for IDX files, which are read, and circles.
std::int64_t training_samples(const DataSection& data);
// "mnist", "digits"
const char* name_of(DataSection::Source source);

}  // namespace norma::app
