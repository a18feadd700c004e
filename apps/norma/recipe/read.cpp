// Turns a recipe's text and the flags of a command line into a Recipe.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "apps/norma/recipe/reader.h"
#include "norma/file_kind.h"
#include "norma/files.h"
#include "norma/text.h"
#include "norma/types.h"

namespace norma::app {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void usage(const std::string& message) { throw Error(ErrorKind::usage, message); }

std::string read_text(const fs::path& file) {
  constexpr std::uintmax_t largest = 1 << 20;  // a recipe is a page; this is somebody's data set
  const std::string text = read_file(file, ErrorKind::usage, largest, Accept::files_and_pipes);
  const std::string kind = file_kind(text);
  if (!kind.empty() && !kind.starts_with("text")) usage(fmt::format("{}: is {}, a recipe is text", file.string(), kind));
  return text;
}

// Paths in a recipe start from its folder; in one from /dev/stdin or a shell's pipe, from here.
RecipeSource source_of(const fs::path& file) {
  const fs::path folder = fs::absolute(file).parent_path();
  const bool given = folder == "/dev" || folder == "/dev/fd" || folder == "/proc/self/fd";
  return {printable(file.stem().string()), read_text(file), file.string(), given ? fs::current_path() : folder};
}

// "model.layers[0].out" and "model.layers.0.out" -> model, layers, 0, out
std::vector<std::string> split(const Override& o) {
  std::vector<std::string> parts(1);
  for (const char c : o.key) {
    if (c == '.' || c == '[') parts.emplace_back();
    if (c != '.' && c != '[' && c != ']') parts.back() += c;
  }
  if (std::any_of(parts.begin(), parts.end(), [](const std::string& p) { return p.empty(); }))
    usage(fmt::format("{}: \"{}\" is not a key; an example: --set optimizer.lr=0.1", o.flag, o.key));
  if (parts.size() > most_key_parts) usage(fmt::format("{}: a key of more than {} parts", o.flag.substr(0, 40), most_key_parts));
  return parts;
}

// The override's value as the only entry of a table.
toml::table parse_value(const Override& o) {
  if (!is_utf8(o.value)) usage(fmt::format("{}: {} is not UTF-8, which a recipe must be", o.flag, o.value));
  const bool quoted_or_compound = o.value.find_first_of("\"'[]{}\n") != std::string::npos;
  try {
    toml::table t = parse_toml("value = " + o.value);
    if (t.size() == 1 && o.value.find('\n') == std::string::npos) return t;
  } catch (const toml::parse_error& e) {
    if (quoted_or_compound) usage(fmt::format("{}: {} is not a TOML value: {}", o.flag, o.value, e.description()));
  }
  if (quoted_or_compound || o.value.empty())
    usage(fmt::format("{}: {} is not a TOML value", o.flag, o.value.empty() ? "nothing" : o.value));
  return toml::table{{"value", o.value}};  // a bare word
}

std::size_t index_of(const Override& o, const std::string& part, const toml::array& array) {
  std::size_t index = 0;
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
  if (error != std::errc{} || end != part.data() + part.size() || index >= array.size())
    usage(fmt::format("{}: \"{}\" is not an index of the {} entries there", o.flag, part, array.size()));
  return index;
}

// Sections in which another kind means other fields.
void restart_section(toml::table& table, const std::vector<std::string>& parts, const toml::node& value) {
  if (parts.size() != 2 || (parts[1] != "kind" && parts[1] != "name")) return;
  const std::string_view defaults[][2] = {{"optimizer", "sgd"}, {"schedule", "constant"}, {"loss", "cross_entropy"}, {"data", ""}};
  for (const auto& [section, standard] : defaults) {
    if (parts[0] != section) continue;
    toml::table* t = table[section].as_table();
    if (!t || value.value_or(std::string_view{}) == (*t)[parts[1]].value_or(standard)) return;
    const auto kept = [&](std::string_view key) {
      return parts[0] == "data" && (key == "to_unit" || key == "mean" || key == "std" || key == "resize" || key == "dir");
    };
    const bool on_disk =
        std::ranges::any_of(data_sources, [&](const DataSource& s) { return s.published && value.value_or(std::string_view{}) == s.name; });
    std::vector<std::string> gone;
    for (const auto& [key, node] : *t)
      if (!kept(key.str()) || (key.str() == "dir" && !on_disk)) gone.emplace_back(key.str());
    for (const std::string& key : gone) t->erase(key);
  }
}

// Another activation has not the option of the one before.
void drop_option(toml::table& table, const std::vector<std::string>& parts, const toml::node& value) {
  toml::table* model = table["model"].as_table();
  if (!model || parts != std::vector<std::string>{"model", "activation"}) return;
  for (const ActivationTraits& t : activation_table)
    if (t.option && value.value_or(std::string_view{}) != t.name) model->erase(t.option);
}

// A digest is that of the file beside it.
void drop_digest(toml::table& table, const std::vector<std::string>& parts, const toml::node& value) {
  toml::table* init = table["init"].as_table();
  if (!init || parts != std::vector<std::string>{"init", "file"}) return;
  const fs::path given = fs::absolute(value.value_or(std::string())).lexically_normal();
  if (given != (*init)["file"].value_or(std::string())) init->erase("sha256");
}

void apply(toml::table& table, const Override& o, RecipeOrigin& origin) {
  const std::vector<std::string> parts = split(o);
  toml::table parsed = parse_value(o);
  toml::node& value = *parsed.get("value");
  restart_section(table, parts, value);
  drop_option(table, parts, value);
  drop_digest(table, parts, value);
  toml::node* at = &table;
  std::string path;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const bool last = i + 1 == parts.size();
    path += (i ? "." : "") + parts[i];
    if (toml::array* a = at->as_array()) {
      const std::size_t index = index_of(o, parts[i], *a);
      if (last) value.visit([&](auto& v) { a->replace(a->cbegin() + static_cast<std::ptrdiff_t>(index), std::move(v)); });
      at = a->get(index);
    } else if (toml::table* t = at->as_table()) {
      if (last) value.visit([&](auto& v) { t->insert_or_assign(parts[i], std::move(v)); });
      else if (!t->contains(parts[i])) {
        t->insert(parts[i], toml::table{});
        origin.flags[path] = o.flag;  // if there is no such section, this flag is at fault
      }
      at = t->get(parts[i]);
    } else {
      usage(fmt::format("{}: {} holds {}, not a table", o.flag, path.substr(0, path.rfind('.')), describe(*at)));
    }
  }
  origin.flags[path] = o.flag;
}

bool selects_kind(const Override& o) { return o.key.ends_with(".kind") || o.key == "data.name" || o.key == "model.activation"; }

}  // namespace

template <class T>
const toml::array* RecipeReader::tables(const char* key, std::vector<T>& value, const char* of) {
  const toml::node* n = find(key);
  if (!n) return nullptr;
  const toml::array* a = n->as_array();
  if (!a) fail(key, *n, fmt::format("must be an array of {}, got {}", of, describe(*n)));
  value.clear();
  for (std::size_t i = 0; i < a->size(); ++i) {
    RecipeReader inner = table_reader(fmt::format("{}.{}", key, i), *a->get(i));
    fields(inner, value.emplace_back());
    inner.finish();
  }
  return a;
}

void RecipeReader::layers(const char* key, std::vector<LayerSpec>& value, std::size_t least, const char*) {
  const toml::array* a = tables(key, value, "layers");
  if (a && a->size() < least) fail(key, *a, "must hold at least one layer");
}

void RecipeReader::groups(const char* key, std::vector<ParameterGroup>& value, const char*) {
  const toml::array* a = tables(key, value, "groups");
  for (std::size_t i = 0; a && i < a->size(); ++i)
    value[i].origin = origin_.place(fmt::format("{}.{}.pattern", path_of(key), i), (*a)[i].as_table()->get("pattern")->source());
}

RecipeSource find_recipe(const std::string& path_or_name) {
  if (path_or_name.empty()) usage("no recipe given");
  if (path_or_name.find('/') != std::string::npos || path_or_name.ends_with(".toml")) {
    std::error_code ec;
    const fs::path config = fs::path(path_or_name) / "config.toml";  // a run directory
    return source_of(fs::exists(config, ec) ? config : fs::path(path_or_name));
  }
  std::vector<std::string> known;
  if (const char* folder = std::getenv("NORMA_RECIPE_DIR"); folder && *folder) {
    const fs::path file = fs::path(folder) / (path_or_name + ".toml");
    std::error_code ec;
    if (fs::exists(file, ec)) return source_of(file);
    for (const auto& entry : fs::directory_iterator(folder, ec))
      if (entry.path().extension() == ".toml") known.push_back(entry.path().stem().string());
  }
  for (const EmbeddedRecipe& r : embedded_recipes()) {
    if (r.name == path_or_name) return {path_or_name, std::string(r.text), "recipe " + path_or_name + " (built in)", fs::current_path()};
    known.emplace_back(r.name);
  }
  std::sort(known.begin(), known.end());
  usage(fmt::format("unknown recipe \"{}\"{}; there are {}, or give a path such as ./{}.toml", path_or_name,
                    did_you_mean(path_or_name, known), join(known), path_or_name));
}

namespace {
bool has_norm_slot(const std::vector<LayerSpec>& layers) {
  return std::any_of(layers.begin(), layers.end(), [](const LayerSpec& l) {
    if (const auto* s = std::get_if<SequentialLayer>(&l.layer)) return has_norm_slot(s->layers);
    if (const auto* r = std::get_if<ResidualLayer>(&l.layer)) return has_norm_slot(r->body) || has_norm_slot(r->projection);
    return std::holds_alternative<NormLayer>(l.layer);
  });
}

// With what repeats, and the layers that hold others.
std::int64_t count_layers(const std::vector<LayerSpec>& layers) {
  constexpr std::int64_t enough = std::int64_t{1} << 40;  // times the most repetitions it stays in range
  std::int64_t all = 0;
  for (const LayerSpec& l : layers) {
    std::int64_t of_layer = 1;
    if (const auto* s = std::get_if<SequentialLayer>(&l.layer)) of_layer += s->repeat * count_layers(s->layers);
    if (const auto* r = std::get_if<ResidualLayer>(&l.layer)) of_layer += count_layers(r->body) + count_layers(r->projection);
    all = std::min(all + of_layer, enough);
  }
  return all;
}

// The library finds this too, but not the key.
void check_rates(const Recipe& recipe, const toml::table& table, const RecipeOrigin& origin) {
  const double lr = learning_rate(recipe.optimizer);
  for (std::size_t i = 0; i < recipe.train.groups.size(); ++i)
    if (const std::optional<double> rate = recipe.train.groups[i].rate; rate && !fits_float(*rate * lr))
      origin.fail(fmt::format("train.groups.{}.rate", i), table["train"]["groups"][i]["rate"].node()->source(),
                  fmt::format("{} times the learning rate {} is no float", *rate, lr));
}
}  // namespace

Recipe parse_recipe(const RecipeSource& source, std::span<const Override> overrides) {
  RecipeOrigin origin{source.origin, source.folder, {}};
  toml::table table;
  try {
    table = parse_toml(source.text);
  } catch (const toml::parse_error& e) {
    origin.fail("", e.source(), std::string(e.description()));
  }
  for (const bool kinds : {true, false})  // a kind starts its section anew, so it goes first
    for (const Override& o : overrides)
      if (selects_kind(o) == kinds) apply(table, o, origin);
  Recipe recipe;
  recipe.name = source.name;
  RecipeReader reader(table, origin, "");
  fields(reader, recipe);
  reader.finish();
  if (const std::int64_t layers = count_layers(recipe.model.layers); layers > most_layers)
    origin.fail("model.layers", table["model"]["layers"].node()->source(),
                fmt::format("{} layers with all repetitions, and at most {} are allowed", layers, most_layers));
  check_rates(recipe, table, origin);
  for (const Override& o : overrides)
    if (o.key == "model.norm" && recipe.model.norm != NormKind::none && !has_norm_slot(recipe.model.layers))
      throw Error(ErrorKind::usage, fmt::format("{}: no layer of {} is {{ type = \"norm\" }}, which this field sets", o.flag, recipe.name));
  return recipe;
}

}  // namespace norma::app
