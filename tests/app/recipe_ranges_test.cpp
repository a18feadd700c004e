// A recipe's ranges are the library's: at the edges of every number, both accept a value or both refuse it.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "apps/norma/recipe/fields.h"
#include "apps/norma/recipe/reference.h"
#include "norma/error.h"
#include "tests/support/recipe_texts.h"
#include "tests/support/sanitizers.h"

namespace norma::app {
namespace {

// Visitor that finds the numbers of a recipe, and sets one of them without asking for its range.
class NumberSetter {
 public:
  static constexpr bool reading = false;

  struct Place {
    std::string path, table, key;  // table: as on the reference page
  };

  NumberSetter(std::size_t index, double value) : index_(index), value_(value) {}

  void number(const char* key, double& value, Range, const char*) {
    meet(key, [&] { value = value_; });
  }
  void number_or_none(const char* key, std::optional<double>& value, Range, const char*) {
    meet(key, [&] { value = value_; });
  }
  void number(const char* key, std::optional<double>& value, Range, const char*) {
    meet(key, [&] { value = value_; });
  }
  void groups(const char* key, std::vector<ParameterGroup>& value, const char*) {
    for (std::size_t i = 0; i < value.size(); ++i) within(std::string(key) + "." + std::to_string(i), "train.groups", value[i]);
  }
  template <class S>
  void section(const char* key, S& value, const char*) {
    within(key, path_.empty() ? key : path_ + "." + key, value);
  }
  void init(const char* key, Init& value, const char*) { within(key, "initialiser", value); }
  void layers(const char* key, std::vector<LayerSpec>& value, std::size_t, const char*) {
    for (std::size_t i = 0; i < value.size(); ++i) within(std::string(key) + "." + std::to_string(i), "", value[i]);
  }
  template <class E, std::size_t N>
  void choice(const char* key, const E& value, const Names<E, N>& names, const char*) {
    if (key == std::string("type"))
      for (const auto& [name, e] : names)
        if (e == value) table_ = name;
  }
  template <class... Rest>
  void require(const Rest&...) {}
  template <class F>
  void check(const char*, F) {}
  template <class... Rest>
  void boolean(const Rest&...) {}
  template <class... Rest>
  void text(const Rest&...) {}
  template <class... Rest>
  void texts(const Rest&...) {}
  template <class... Rest>
  void path(const Rest&...) {}
  template <class... Rest>
  void numbers(const Rest&...) {}  // each depends on the others
  template <class... Rest>
  void integer(const Rest&...) {}
  template <class... Rest>
  void seed(const Rest&...) {}
  template <class... Rest>
  void size(const Rest&...) {}

  // The number that was set; nothing where there are not so many.
  const std::optional<Place>& place() const { return place_; }

 private:
  template <class F>
  void meet(const char* key, F set) {
    if (met_++ != index_) return;
    place_ = Place{path_.empty() ? key : path_ + "." + key, table_, key};
    set();
  }
  template <class S>
  void within(const std::string& key, std::string table, S& value) {
    const std::string path = path_, outer = table_;
    path_ += (path_.empty() ? "" : ".") + key;
    table_ = std::move(table);
    fields(*this, value);
    path_ = path, table_ = outer;
  }

  std::size_t index_, met_ = 0;
  double value_;
  std::string path_, table_;
  std::optional<Place> place_;
};

// Nothing where f accepts.
template <class F>
std::string refusal_of(F f) {
  try {
    f();
    return "";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage) << e.what();
    return e.what();
  }
}

std::string library_refusal(const Recipe& r) {
  return refusal_of([&] {
    if (r.data.source == DataSection::Source::circles) load_data(r.data);
    const Trainer trainer(Module(build_model(r.model)), trainer_options(r, sample_shape(r.data), Device::cpu()));
  });
}

const std::string norms = R"(
  { type = "conv2d", out = 4, kernel = 3, weight_init = { kind = "normal" }, bias_init = { kind = "constant", value = 0.5 } },
  { type = "batch_norm" }, { type = "layer_norm" },
  { type = "instance_norm", track_running_stats = true }, { type = "group_norm", groups = 2 }, { type = "norm" }, { type = "dropout" },
  { type = "flatten" }, { type = "linear", out = 6, weight_init = "xavier_uniform" },
  { type = "linear", out = 10, weight_init = { kind = "uniform", low = -1, high = 2 } },
])";

// Together they have every number of a recipe.
std::vector<std::string> recipes() {
  std::vector<std::string> all{
      "[data]\nname = \"digits\"\n[model]\nlayers = [" + norms + "\nnorm = \"batch\"\n[schedule]\nkind = \"step\"\n" +
          "[train]\ngroups = [{ pattern = \"*\" }]\n",
      "[data]\nname = \"digits\"\n[model]\nlayers = [" + norms + "\nnorm = \"layer\"\n[schedule]\nkind = \"cosine\"\n",
      "[data]\nname = \"digits\"\n[model]\nlayers = [" + norms +
          "\nnorm = \"instance\"\n[model.instance_norm]\ntrack_running_stats = true\n" + "[schedule]\nkind = \"one_cycle\"\n",
      "[data]\nname = \"digits\"\n[model]\nlayers = [" + norms + "\nnorm = \"group\"\n[loss]\nkind = \"mse\"\n",
      "[data]\nname = \"circles\"\nsamples = 40\n[model]\nlayers = [{ type = \"linear\", out = 2 }]\n",
  };
  for (const auto& [name, options] : optimizer_kinds)
    all.push_back("[data]\nname = \"circles\"\nsamples = 40\n[model]\nlayers = [{ type = \"linear\", out = 2 }]\n" +
                  std::string("[optimizer]\nkind = \"") + name + "\"\n");
  for (const ActivationTraits& t : activation_table)
    if (t.option)
      all.push_back("[data]\nname = \"circles\"\nsamples = 40\n[model]\nactivation = \"" + std::string(t.name) +
                    "\"\nlayers = [{ type = \"linear\", out = 2 }, { type = \"activation\" }, { type = \"" + t.name + "\" }]\n");
  return all;
}

// True where the net of the recipe has what stands at this path. It has one of the four sections of norms.
bool is_used(const Recipe& r, const std::string& path) {
  const std::pair<const char*, NormKind> sections[] = {{"model.batch_norm.", NormKind::batch},
                                                       {"model.layer_norm.", NormKind::layer},
                                                       {"model.instance_norm.", NormKind::instance},
                                                       {"model.group_norm.", NormKind::group}};
  for (const auto& [section, kind] : sections)
    if (path.starts_with(section)) return r.model.norm == kind && r.data.source == DataSection::Source::digits;
  return true;
}

// The number of samples decides: one must be left for training.
bool depends_on_samples(const std::string& path, double value) { return path == "data.test_fraction" && value > 0.9 && value < 1; }

// Narrower than the library: a longer warm-up than the longest run never ends.
bool only_recipes_refuse(const std::string& path, double value) { return path == "schedule.warmup_epochs" && value > 1e6; }

TEST(RecipeRanges, AreTheLibrarys) {
  SLOW_UNDER_SANITIZERS("it makes a Trainer for every bound of every option");
  std::set<std::pair<std::string, std::string>> tried;
  for (const std::string& text : recipes()) {
    Recipe plain = parse(text);
    plain.train.batch_size = 4;
    plain.device.threads = 1;
    ASSERT_EQ(library_refusal(plain), "") << text;
    for (std::size_t i = 0;; ++i) {
      std::optional<NumberSetter::Place> place;
      for (const double value : {-1e30, -2.0, -1.0, -0.5, -1e-30, 0.0, 1e-30, 0.5, 1 - 1e-12, 1.0, 1 + 1e-6, 2.0, 25.0, 1e7, 1e30}) {
        Recipe r = plain;
        NumberSetter setter(i, value);
        fields(setter, r);
        if (!(place = setter.place()) || !is_used(r, place->path)) break;
        tried.emplace(place->table, place->key);
        if (depends_on_samples(place->path, value)) continue;
        const std::string library = library_refusal(r), recipe = refusal_of([&] { parse(write_toml(r)); });
        EXPECT_EQ(recipe.empty(), library.empty() && !only_recipes_refuse(place->path, value))
            << place->path << " = " << value << "\nlibrary: " << library << "\nrecipe: " << recipe;
        if (recipe.empty()) continue;
        EXPECT_TRUE(recipe.starts_with("test.toml:")) << recipe;
        EXPECT_NE(recipe.find(": " + place->path.substr(0, place->path.rfind('.')) + "."), std::string::npos) << recipe;
      }
      if (!place) break;
    }
  }
  for (const TableReference& t : recipe_reference())
    for (const FieldReference& f : t.fields)
      if (f.kind == FieldReference::Kind::number) {
        const std::string table = t.of == TableReference::Of::init ? "initialiser" : t.name;
        EXPECT_TRUE(tried.contains({table, f.key})) << table << ": " << f.key << " is in no recipe of this test";
      }
}

TEST(RecipeRanges, SizesReachTheLibrarysLimit) {
  const auto net = [](const std::string& layer) { return parse("[data]\nname = \"digits\"\n[model]\nlayers = [" + layer + "]\n"); };
  for (const char* field : {"out = 2147483647, kernel = 1", "out = 1, kernel = 2147483647", "out = 1, kernel = 1, padding = 2147483647"})
    EXPECT_EQ(refusal_of([&] { net(std::string("{ type = \"conv2d\", ") + field + " }"); }), "") << field;
  for (const char* field : {"out = 2147483648, kernel = 1", "out = 1, kernel = 2147483648", "out = 1, kernel = 1, padding = [0, -1]"}) {
    const std::string message = refusal_of([&] { net(std::string("{ type = \"conv2d\", ") + field + " }"); });
    EXPECT_TRUE(message.starts_with("test.toml:4:")) << field << ": " << message;
  }
  const std::string data = "[model]\nlayers = [{ type = \"flatten\" }]\n[data]\nname = \"digits\"\ntrain_samples = ";
  EXPECT_EQ(parse(data + "2147483648\n").data.train_samples, std::int64_t{1} << 31);
  EXPECT_NE(refusal_of([&] { parse(data + "2147483649\n"); }).find("from 1 to 2147483648"), std::string::npos);
}

}  // namespace
}  // namespace norma::app
