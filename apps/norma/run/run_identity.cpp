#include "apps/norma/run/run_identity.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>

#include "apps/norma/system/log.h"
#include "norma/checkpoint.h"
#include "norma/error.h"
#include "norma/files.h"

namespace norma::app {
namespace {

constexpr const char *recipe_key = "norma.recipe", *data_key = "norma.data", *net_key = "norma.net";
constexpr std::size_t most_text = std::size_t{1} << 20;  // parsing takes many times a text's own memory

bool may_differ(const std::string& key) {
  constexpr std::string_view free[] = {"name",         "description",       "train.epochs",   "train.save_every", "train.log_every",
                                       "train.health", "train.tensorboard", "train.log_loss", "init.file"};  // its sha256 counts
  // Fusing changes rounding, all else of [device] does not.
  return std::ranges::find(free, key) != std::end(free) || says_where_data_lie(key) || (key.starts_with("device.") && key != "device.fuse");
}

template <class T>
std::string hash_of(const std::vector<T>& values) {
  return sha256(std::as_bytes(std::span(values)));
}

// The recipe's text without the fields that may differ and need not be UTF-8.
std::string text_of(Recipe recipe) {
  recipe.name = "run", recipe.description.clear();
  DataSection& d = recipe.data;
  for (std::filesystem::path* file : {&d.train_images, &d.train_labels, &d.test_images, &d.test_labels})
    if (!file->empty()) *file = "moves";
  d.dir.clear();
  if (!recipe.init.file.empty()) recipe.init.file = "moves";
  return write_toml(recipe);
}

// Modules, their shapes and parameters: what the weights are the weights of.
std::string hash_of(const Graph& net) {
  std::string text;
  for (const Node& n : net.nodes) text += n.path + " " + to_string(n.shape) + "\n";
  for (const ParameterInfo& p : net.parameters()) text += p.name + " " + to_string(p.shape) + "\n";
  return sha256(std::as_bytes(std::span(text)));
}

[[noreturn]] void not_ours(const std::filesystem::path& file, const char* key, const std::string& why) {
  throw Error(ErrorKind::data,
              fmt::format("{}: metadata {} {}; norma writes no such value: the file is damaged, forged, or of a later norma", file.string(),
                          key, why));
}

DataIdentity parsed_data(const std::string& text, const std::filesystem::path& file) {
  if (text.size() > most_text) not_ours(file, data_key, fmt::format("holds {} bytes", text.size()));
  try {
    return nlohmann::json::parse(text).get<DataIdentity>();
  } catch (const nlohmann::json::exception&) {
    not_ours(file, data_key, "is not a JSON object of texts");
  }
}

Recipe parsed_recipe(const std::string& text, const std::filesystem::path& file) {
  if (text.size() > most_text) not_ours(file, recipe_key, fmt::format("holds {} bytes", text.size()));
  try {
    return parse_recipe({"run", text, recipe_key, "/"});
  } catch (const Error& e) {
    not_ours(file, recipe_key, fmt::format("is not a recipe ({})", e.what()));
  }
}

void check_recipe(const Recipe& was, const Recipe& is, const std::string& source) {
  const auto before = flatten(was), now = flatten(is);
  std::string all;
  for (const std::string& key : differences(before, now))
    all += fmt::format("\n  {} is {}, the run was trained with {}", key, value_or_unset(now, key), value_or_unset(before, key));
  if (!all.empty())
    throw Error(ErrorKind::usage,
                fmt::format("{} is not the recipe that the run was trained with:{}\n  restore it there, or train anew in another folder",
                            source, all));
}

void check_data(const DataIdentity& was, const DataIdentity& is, const DataSection& section) {
  std::string all;
  const bool files = traits(section.source).own_files;
  const auto at = [](const DataIdentity& of, const std::string& key) {
    const auto found = of.find(key);
    return found == of.end() ? std::string() : found->second;
  };
  struct Field {
    const char *key, *words;  // words: a difference, with the place of its value
  };
  constexpr Field form[] = {{"samples", "{} samples"}, {"shape", "samples {}"}, {"type", "samples of {}"}};
  for (const std::string split : {"train", "test"})
    for (const std::string part : {"images", "labels"}) {
      const auto changed = [&](const std::string& key) { return at(was, key).empty() || at(was, key) == at(is, key) ? "" : key; };
      std::string differs;
      if (!changed(split + "." + part).empty()) differs = fmt::format("holds other {} than the run was trained on", part);
      for (const Field& f : form)
        if (const std::string key = changed(split + "." + f.key); !key.empty())
          differs = fmt::format("holds {}, the run was trained on {}", fmt::format(fmt::runtime(f.words), at(is, key)), at(was, key));
      if (!differs.empty())
        all += fmt::format("\n  {} {}",
                           files ? fmt::format("data.{}_{}", split, part) : fmt::format("{}/{}, {},", name_of(section.source), split, part),
                           differs);
    }
  if (const std::string before = at(was, "classes"); !before.empty() && before != at(is, "classes"))
    all += fmt::format("\n  there are {} classes, the run was trained on {}", at(is, "classes"), before);
  if (!all.empty())
    throw Error(ErrorKind::data,
                fmt::format("the data are not those that the run was trained on:{}\n  {}, or train anew in another folder", all,
                            files ? "give the original files (--set data.train_images=FILE)" : "give their folder (--data-dir DIR)"));
}

}  // namespace

bool says_where_data_lie(const std::string& key) {
  constexpr std::string_view fields[] = {"data.dir", "data.train_images", "data.train_labels", "data.test_images", "data.test_labels"};
  return std::ranges::find(fields, key) != std::end(fields);
}

std::string value_or_unset(const std::map<std::string, std::string>& flat, const std::string& key) {
  const auto found = flat.find(key);
  return found == flat.end() ? "not set" : found->second;
}

DataIdentity data_identity(const DataSection& section, const DatasetPair& data) {
  const bool published = traits(section.source).published;
  DataIdentity all{{"classes", fmt::format("{}", data.train.classes.size())}};
  for (const auto& [split, set] : {std::pair("train", &data.train), std::pair("test", &data.test)}) {
    const auto put = [&, split = split](const char* key, std::string value) { all[fmt::format("{}.{}", split, key)] = std::move(value); };
    put("samples", fmt::format("{}", set->size()));
    put("shape", to_string(set->sample));
    put("type", set->floats.empty() ? "u8" : "f32");
    put("images", published ? "as published" : set->floats.empty() ? hash_of(set->bytes) : hash_of(set->floats));
    put("labels", published ? "as published" : hash_of(set->labels));
  }
  return all;
}

std::vector<std::string> differences(const std::map<std::string, std::string>& a, const std::map<std::string, std::string>& b) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : a)
    if (!may_differ(key) && value_or_unset(b, key) != value) keys.push_back(key);
  for (const auto& [key, value] : b)
    if (!may_differ(key) && !a.contains(key)) keys.push_back(key);
  return keys;
}

std::map<std::string, std::string> identity_metadata(const Recipe& recipe, const DataIdentity& data, const Graph& net) {
  std::map<std::string, std::string> all{{data_key, nlohmann::json(data).dump()}, {net_key, hash_of(net)}};
  if (std::string text = text_of(recipe); text.size() <= most_text) all.emplace(recipe_key, std::move(text));
  return all;
}

void check_data_identity(const std::map<std::string, std::string>& saved, const DataSection& section, const DatasetPair& data,
                         const std::filesystem::path& training) {
  if (const auto was = saved.find(data_key); was != saved.end())
    check_data(parsed_data(was->second, training), data_identity(section, data), section);
}

void check_identity(const std::map<std::string, std::string>& saved, const Recipe& recipe, const DataIdentity& data, const Graph& net,
                    const std::filesystem::path& training, const std::string& source) {
  const auto was_recipe = saved.find(recipe_key), was_data = saved.find(data_key), was_net = saved.find(net_key);
  if (was_recipe != saved.end()) check_recipe(parsed_recipe(was_recipe->second, training), recipe, source);
  if (was_data != saved.end()) check_data(parsed_data(was_data->second, training), data, recipe.data);
  if (was_net != saved.end() && was_net->second != hash_of(net))
    throw Error(ErrorKind::data,
                fmt::format("{}: the recipe's net is not the one that the run was trained with: this norma makes another of "
                            "the same recipe; go on with the norma that began the run",
                            training.string()));
  if (was_recipe == saved.end() || was_data == saved.end() || was_net == saved.end())
    log_warning(
        fmt::format("{} does not say what recipe, data and net it was trained with, as an older norma wrote it: they are taken to "
                    "be the same",
                    training.string()));
}

}  // namespace norma::app
