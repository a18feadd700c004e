// The commands and flags of norma as plain data, read from what parses them: for its manual page and its completions.
#pragma once
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace norma::app {

struct FlagEntry {
  std::vector<std::string> names;  // "-h", "--help"
  std::string value;               // of what follows it: "DIR"; empty for a switch
  std::string help;
  std::vector<std::string> choices;  // words that may follow it; empty where any may
  bool of_recipe = false;            // it sets a field of the recipe
  bool hidden = false;               // the help of another flag speaks of it: --no-shuffle
};

struct ArgumentEntry {
  std::string name, help;
  bool required = false, many = false;
  std::vector<std::string> choices;
};

struct CommandEntry {
  std::string name;  // "norma bench step"
  std::string help, footer;
  std::vector<FlagEntry> flags;
  std::vector<ArgumentEntry> arguments;
  std::vector<CommandEntry> commands;
};

// app must be the outermost one.
CommandEntry command_tree(const CLI::App& app);

// The command itself, then those within it, depth first.
std::vector<const CommandEntry*> all_commands(const CommandEntry& command);

// The last word of its name: "step".
std::string last_word(const CommandEntry& command);

inline const std::string shells[] = {"bash", "zsh", "fish"};

// Scripts for a shell: commands, flags, recipes, and words of flags that have a choice.
std::string bash_completions(const CommandEntry& norma);
std::string zsh_completions(const CommandEntry& norma);
std::string fish_completions(const CommandEntry& norma);

// The page norma(1) for man, in the macros of man(7).
std::string man_page(const CommandEntry& norma);

}  // namespace norma::app
