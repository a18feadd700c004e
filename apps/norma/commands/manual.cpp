// norma man and norma completions: what a package installs beside the program, made from the flags themselves.
#include <CLI/CLI.hpp>

#include "apps/norma/commands.h"
#include "apps/norma/manual/command_tree.h"
#include "apps/norma/system/choices.h"
#include "apps/norma/system/terminal.h"

namespace norma::app {

Command add_completions(CLI::App& norma) {
  auto shell = std::make_shared<std::string>();
  CLI::App& app = *norma.add_subcommand("completions", "Print a script with which a shell completes commands, flags and recipes");
  app.add_option("shell", *shell, "bash, zsh or fish")->required();
  app.footer("Example: source <(norma completions bash)");
  return {&app, [shell, &norma] {
            using Script = std::string (*)(const CommandEntry&);
            constexpr Script scripts[] = {bash_completions, zsh_completions, fish_completions};
            print_result(scripts[choose("the shell", *shell, shells)](command_tree(norma)));
            return 0;
          }};
}

Command add_man(CLI::App& norma) {
  CLI::App& app = *norma.add_subcommand("man", "Print the page norma(1) for man");
  app.footer("Example: norma man | man -l -");
  return {&app, [&norma] {
            print_result(man_page(command_tree(norma)));
            return 0;
          }};
}

}  // namespace norma::app
