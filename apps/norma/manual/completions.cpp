// Scripts that complete norma's command line. Each walks from "norma" over the words that name a command. Then it offers the words that a
// flag before takes, the flags, or commands and arguments. Where it has nothing to offer, the shell offers files.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "apps/norma/manual/command_tree.h"

namespace norma::app {
namespace {

std::vector<std::string> names_of(const std::vector<FlagEntry>& flags) {
  std::vector<std::string> all;
  for (const FlagEntry& f : flags) all.insert(all.end(), f.names.begin(), f.names.end());
  return all;
}

// Commands within it, or the words of its arguments.
std::vector<std::string> words_of(const CommandEntry& command) {
  std::vector<std::string> all;
  for (const CommandEntry& sub : command.commands) all.push_back(last_word(sub));
  for (const ArgumentEntry& a : command.arguments) all.insert(all.end(), a.choices.begin(), a.choices.end());
  return all;
}

// In single quotes of a POSIX shell.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// "'norma train --norm'": what stands before a value.
std::string value_pattern(const CommandEntry& command, const FlagEntry& flag) {
  std::vector<std::string> patterns;
  for (const std::string& name : flag.names) patterns.push_back(quoted(command.name + " " + name));
  return fmt::format("{}", fmt::join(patterns, " | "));
}

// The cases of `case "$at $word"` that name a command within another.
std::string steps(const CommandEntry& norma) {
  std::string text;
  for (const CommandEntry* c : all_commands(norma))
    if (c != &norma) text += fmt::format("{}{}", text.empty() ? "" : " | ", quoted(c->name));
  return text;
}

// Fish's own quotes.
std::string fish_quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += (c == '\'' || c == '\\' ? "\\" : "") + std::string(1, c);
  return out + "'";
}

}  // namespace

std::string bash_completions(const CommandEntry& norma) {
  std::string values, commands;
  for (const CommandEntry* c : all_commands(norma)) {
    for (const FlagEntry& f : c->flags)
      if (!f.value.empty())
        values += fmt::format("    {}) offered={} ;;\n", value_pattern(*c, f), quoted(fmt::format("{}", fmt::join(f.choices, " "))));
    commands +=
        fmt::format("    {}) flags={} words={} ;;\n", quoted(c->name), quoted(fmt::format("{}", fmt::join(names_of(c->flags), " "))),
                    quoted(fmt::format("{}", fmt::join(words_of(*c), " "))));
  }
  return fmt::format(R"(# bash completion of norma; made by: norma completions bash
_norma() {{
  local at=norma word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} flags='' words='' offered='' i
  [[ $word != = ]] || word='' # --norm=batch is three words
  [[ $before != = ]] || before=${{COMP_WORDS[COMP_CWORD - 2]}}
  for ((i = 1; i < COMP_CWORD; ++i)); do
    case "$at ${{COMP_WORDS[i]}}" in
      {}) at="$at ${{COMP_WORDS[i]}}" ;;
    esac
  done
  case "$at" in
{}  esac
  offered=$words
  [[ $word != -* ]] || offered=$flags
  case "$at $before" in
{}  esac
  mapfile -t COMPREPLY < <(compgen -W "$offered" -- "$word")
}}
complete -o bashdefault -o default -F _norma norma
)",
                     steps(norma), commands, values);
}

std::string zsh_completions(const CommandEntry& norma) {
  // A colon ends the word that is described.
  const auto described = [](const std::string& word, const std::string& help) { return quoted(word + ":" + help) + " "; };
  std::string values, commands;
  for (const CommandEntry* c : all_commands(norma)) {
    std::string flags, words;
    for (const FlagEntry& f : c->flags) {
      if (!f.value.empty()) values += fmt::format("    {}) offered=({}) value=1 ;;\n", value_pattern(*c, f), fmt::join(f.choices, " "));
      for (const std::string& name : f.names) flags += described(name, f.help);
    }
    for (const CommandEntry& sub : c->commands) words += described(last_word(sub), sub.help);
    for (const ArgumentEntry& a : c->arguments)
      for (const std::string& word : a.choices) words += described(word, a.name);
    commands += fmt::format("    {}) flags=({}) inner=({}) ;;\n", quoted(c->name), flags, words);
  }
  return fmt::format(R"(#compdef norma
# zsh completion of norma; made by: norma completions zsh
_norma() {{
  local at=norma word value=0
  local -a flags inner offered
  for word in "${{(@)words[2,CURRENT-1]}}"; do
    case "$at $word" in
      {}) at="$at $word" ;;
    esac
  done
  case "$at" in
{}  esac
  case "$at ${{words[CURRENT-1]}}" in
{}  esac
  if (( value )); then
    if (( $#offered )); then compadd -a offered; else _files; fi
  elif [[ ${{words[CURRENT]}} == -* ]]; then
    _describe -o flag flags
  else
    if (( $#inner )); then _describe word inner; fi
    _files
  fi
}}
_norma "$@"
)",
                     steps(norma), commands, values);
}

std::string fish_completions(const CommandEntry& norma) {
  std::string text = "# fish completion of norma; made by: norma completions fish\n";
  for (const CommandEntry* c : all_commands(norma)) {
    // Every word of its name was given, and none of a command within it.
    std::string seen;
    for (const CommandEntry* outer : all_commands(norma))
      if (outer != &norma && (c->name + " ").starts_with(outer->name + " "))
        seen += fmt::format("{}__fish_seen_subcommand_from {}", seen.empty() ? "" : "; and ", last_word(*outer));
    std::vector<std::string> inner;
    for (const CommandEntry& sub : c->commands) inner.push_back(last_word(sub));
    if (!inner.empty()) seen += fmt::format("{}not __fish_seen_subcommand_from {}", seen.empty() ? "" : "; and ", fmt::join(inner, " "));
    const std::string begin = fmt::format("complete -c norma -n {}", fish_quoted(seen));
    for (const CommandEntry& sub : c->commands) text += fmt::format("{} -f -a {} -d {}\n", begin, last_word(sub), fish_quoted(sub.help));
    for (const ArgumentEntry& a : c->arguments)
      if (!a.choices.empty()) text += fmt::format("{} -a {}\n", begin, fish_quoted(fmt::format("{}", fmt::join(a.choices, " "))));
    for (const FlagEntry& f : c->flags) {
      std::string names;
      for (const std::string& name : f.names) names += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      const std::string value = f.value.empty()     ? ""
                                : f.choices.empty() ? " -r"
                                                    : fmt::format(" -x -a {}", fish_quoted(fmt::format("{}", fmt::join(f.choices, " "))));
      text += fmt::format("{}{}{} -d {}\n", begin, names, value, fish_quoted(f.help));
    }
  }
  return text;
}

}  // namespace norma::app
