#include "apps/norma/manual/command_tree.h"

#include <CLI/CLI.hpp>
#include <iterator>

#include "apps/norma/recipe/flags.h"
#include "apps/norma/recipe/recipe.h"

namespace norma::app {
namespace {

std::vector<std::string> words_of_argument(const std::string& name) {
  std::vector<std::string> words;
  if (name == "shell") words.assign(std::begin(shells), std::end(shells));
  if (name == "recipe")
    for (const EmbeddedRecipe& r : embedded_recipes()) words.emplace_back(r.name);
  return words;
}

// Without what is checked of it.
std::string placeholder_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  return type.substr(0, type.find(':'));
}

FlagEntry flag_entry(const CLI::Option& option) {
  FlagEntry f;
  for (const std::string& name : option.get_snames()) f.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) f.names.push_back("--" + name);
  if (option.get_items_expected_max() > 0) f.value = placeholder_of(option);
  f.help = option.get_description();
  f.choices = choices_of_flag(f.names.back());
  f.of_recipe = option.get_group() == recipe_flag_group;
  f.hidden = option.get_group().empty();
  return f;
}

ArgumentEntry argument_entry(const CLI::Option& option) {
  const std::string name = option.get_name(true);
  return {name, option.get_description(), option.get_required(), option.get_items_expected_max() > 1, words_of_argument(name)};
}

CommandEntry command_entry(const CLI::App& app, const std::string& outer) {
  CommandEntry c;
  c.name = outer + app.get_name();
  c.help = app.get_description();
  if (!app.get_parent() || app.get_footer() != app.get_parent()->get_footer()) c.footer = app.get_footer();  // else it is inherited
  for (const CLI::Option* o : app.get_options()) {
    if (o->get_positional()) c.arguments.push_back(argument_entry(*o));
    else c.flags.push_back(flag_entry(*o));
  }
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; }))
    c.commands.push_back(command_entry(*sub, c.name + " "));
  return c;
}

}  // namespace

CommandEntry command_tree(const CLI::App& app) { return command_entry(app, ""); }

std::vector<const CommandEntry*> all_commands(const CommandEntry& command) {
  std::vector<const CommandEntry*> all{&command};
  for (const CommandEntry& sub : command.commands) {
    const std::vector<const CommandEntry*> inner = all_commands(sub);
    all.insert(all.end(), inner.begin(), inner.end());
  }
  return all;
}

std::string last_word(const CommandEntry& command) { return command.name.substr(command.name.rfind(' ') + 1); }

}  // namespace norma::app
