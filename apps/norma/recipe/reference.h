// The reference of recipes: every key with its values, default and meaning, as the field table (fields.h) says them.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace norma::app {

struct FieldReference {
  enum class Kind : std::uint8_t { boolean, integer, number, word, path, compound };

  std::string key;
  Kind kind = Kind::compound;
  std::vector<std::string> choices;  // of a word that is one of these
  std::string values;                // "a number above 0"
  std::string otherwise;             // the default, as TOML; empty: the key can be left out, or is required
  bool required = false;
  std::string help;
  // Choices in the same table on which the key depends, with the values for which it exists: kind, {"adam", "adamw"}.
  std::vector<std::pair<std::string, std::vector<std::string>>> with;
};

struct TableReference {
  enum class Of : std::uint8_t { section, layer, init };

  Of of = Of::section;
  std::string name;  // a section's path, empty for the keys outside of all sections; a layer's type
  std::string help;
  std::vector<FieldReference> fields;
};

// Sections in the order of config.toml, then what all layers have, each layer type, and initialisers.
const std::vector<TableReference>& recipe_reference();

// The page apps/recipes/reference.md.
std::string reference_page();

// The field at a dotted path in a section, such as optimizer.lr. Where it differs between choices: of the first, without saying so.
// Throws std::logic_error if there is none.
FieldReference field_reference(std::string_view path);

}  // namespace norma::app
