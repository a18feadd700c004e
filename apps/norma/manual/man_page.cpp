// norma(1) in the macros of man(7): the commands, their flags, and last the flags that set fields of a recipe, once for all commands.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <sstream>

#include "apps/norma/manual/command_tree.h"
#include "norma/version.h"

namespace norma::app {
namespace {

// Text that groff prints as it stands. A hyphen stays one that can be copied.
std::string plain(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') out += "\\e";
    else if (c == '-') out += "\\-";
    else out += c;
  }
  return out.starts_with('.') || out.starts_with('\'') ? "\\&" + out : out;
}

// Lines as they stand.
std::string verbatim(const std::string& text) {
  std::string out = ".nf\n";
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) out += line.empty() ? ".sp\n" : plain(line) + "\n";
  return out + ".fi\n";
}

std::string bold(const std::string& text) { return "\\fB" + plain(text) + "\\fR"; }

// ".TP" of a flag: its names and value, then its help.
std::string entry(const FlagEntry& f) {
  std::vector<std::string> names;
  for (const std::string& name : f.names) names.push_back(bold(name));
  const std::string value = f.value.empty() ? "" : " \\fI" + plain(f.value) + "\\fR";
  return fmt::format(".TP\n{}{}\n{}\n", fmt::join(names, ", "), value, plain(f.help));
}

std::string usage(const CommandEntry& c) {
  std::string text = bold(c.name);
  if (!c.commands.empty()) text += " \\fICOMMAND\\fR";
  if (!c.flags.empty()) text += " [\\fIFLAG\\fR]...";
  for (const ArgumentEntry& a : c.arguments) {
    const std::string name = "\\fI" + plain(a.name) + "\\fR" + (a.many ? "..." : "");
    text += a.required ? " " + name : " [" + name + "]";
  }
  return text;
}

std::string section(const CommandEntry& c) {
  std::string text = fmt::format(".SS {}\n{}.\n.PP\n{}\n", plain(c.name), plain(c.help), usage(c));
  std::vector<std::string> of_recipe;
  for (const ArgumentEntry& a : c.arguments) text += fmt::format(".TP\n\\fI{}\\fR\n{}\n", plain(a.name), plain(a.help));
  for (const FlagEntry& f : c.flags) {
    if (f.hidden || f.names.back() == "--help") continue;
    if (f.of_recipe) of_recipe.push_back(bold(f.names.back()));
    else text += entry(f);
  }
  if (!of_recipe.empty()) text += fmt::format(".PP\nAlso, as said under RECIPE FLAGS: {}.\n", fmt::join(of_recipe, ", "));
  if (!c.footer.empty()) text += ".PP\n" + verbatim(c.footer);
  return text;
}

}  // namespace

std::string man_page(const CommandEntry& norma) {
  std::string text = fmt::format(".\\\" Made by: norma man\n.TH NORMA 1 \"\" \"norma {}\" \"User Commands\"\n", version);
  text += fmt::format(".SH NAME\nnorma \\- {}\n.SH SYNOPSIS\n{}\n.SH COMMANDS\n", "train batch\\-normalised networks", usage(norma));
  text += "Each command has a flag \\fB\\-\\-help\\fR.\n";
  std::map<std::string, std::string> of_recipe;
  for (const CommandEntry* c : all_commands(norma)) {
    if (c != &norma) text += section(*c);
    for (const FlagEntry& f : c->flags)
      if (f.of_recipe && !f.hidden) of_recipe.emplace(f.names.back(), entry(f));
  }
  text += ".SH RECIPE FLAGS\nEach overrides a field of the recipe.\n";
  for (const auto& [name, lines] : of_recipe) text += lines;
  return text + ".SH EXAMPLES, EXIT CODES, FILES\n" + verbatim(norma.footer);
}

}  // namespace norma::app
