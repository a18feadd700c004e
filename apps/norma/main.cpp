// norma: the command line. Flags in, one catch, an honest exit code out.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <new>

#include "apps/norma/commands.h"
#include "apps/norma/system/choices.h"
#include "apps/norma/system/log.h"
#include "apps/norma/system/out_of_memory.h"
#include "apps/norma/system/terminal.h"
#include "norma/norma.h"

namespace norma::app {
namespace {

// Before all other initialisers, which take memory.
[[gnu::init_priority(101)]] EndsWithoutMemory ends_without_memory;

constexpr const char* footer = R"(Examples:
  norma train fashion-lenet-bn-sigmoid        train; results in runs/
  norma train mnist-lenet-bn --epochs 3 --lr 0.05 --out runs/try
  norma train mnist-lenet-bn --init lenet.pt  from weights of PyTorch
  norma train mnist-lenet-bn --resume --out runs/try --epochs 10
  norma eval runs/try                         accuracy on the test set
  norma compare mnist-lenet-bn --vary model.norm=none,batch --vary optimizer.lr=0.02,0.2
                                              side by side, with means and spreads
  norma predict runs/try seven.png            classes of pictures
  norma plan mnist-lenet-bn                   every kernel call of a step
  norma verify --device cuda                  each of them against double precision
  norma bench calls mnist-lenet-bn            each of them: time, share of the roofline
  norma inspect runs/try                      batch norm statistics, weight norms
  norma convert lenet.pt lenet.safetensors    weights of PyTorch as safetensors
  norma bn-recalibrate runs/try --out runs/exact   statistics of the whole set
  norma bn-fold runs/try --out runs/folded    no batch norms, the same outputs
  norma export runs/try lenet.c --check       the net as one C file
  norma export runs/try lenet.onnx            ... as an ONNX model
  norma explain batchnorm                     what it does, step by step
  norma explain recipe                        every key: values, default, meaning
  norma data fetch mnist                      download a data set
  norma doctor                                what this machine offers
  source <(norma completions bash)            words that come next, by a tab

Exit codes:
  0 ok   1 failure   2 usage   3 data missing or corrupt   4 device unavailable
  5 diverged (not finite)   6 verification failed   130/143 stopped by a signal
  141 the reader of standard output went away

Files and environment:
  Data sets: --data-dir, $NORMA_DATA_DIR, ~/.cache/norma/datasets, /usr/share/datasets.
  Recipes: a path, or a name in $NORMA_RECIPE_DIR or built in. NO_COLOR is honoured.)";

std::vector<std::string> subcommand_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands({})) names.push_back(sub->get_name());
  return names;
}

// The innermost command that was named.
const CLI::App& innermost(const CLI::App& app) {
  const std::vector<CLI::App*> parsed = app.get_subcommands();
  return parsed.empty() ? app : innermost(*parsed.back());
}

// "norma data fetch"
std::string full_name(const CLI::App& app) {
  return app.get_parent() ? full_name(*app.get_parent()) + " " + app.get_name() : app.get_name();
}

std::string usage_message(const CLI::App& app, const CLI::ParseError& e) {
  const CLI::App& at = innermost(app);
  const std::string help = "; see " + full_name(at) + " --help";
  const std::vector<std::string> extras = at.remaining();
  // "norma trian" lacks a command as much as it has one too many.
  if ((dynamic_cast<const CLI::ExtrasError*>(&e) || dynamic_cast<const CLI::RequiredError*>(&e)) && !extras.empty()) {
    const std::string& word = extras.front();
    std::vector<std::string> known;
    if (word.starts_with('-'))
      for (const CLI::Option* o : at.get_options())
        for (const std::string& name : o->get_lnames()) known.push_back("--" + name);
    else known = subcommand_names(at);
    const std::string flag = word.substr(0, word.find('='));
    const std::string what = word.starts_with('-') ? "unknown flag" : known.empty() ? "unexpected argument" : "unknown command";
    return what + " \"" + flag + "\"" + did_you_mean(flag, known) + help;
  }
  if (dynamic_cast<const CLI::RequiredError*>(&e) && !subcommand_names(at).empty())
    return "a command is needed: " + join(subcommand_names(at)) + help;
  return e.what() + help;
}

// --json=3 is refused: a flag is given or not.
void refuse_flag_values(CLI::App& app) {
  for (CLI::Option* o : app.get_options([](const CLI::Option* option) { return option->get_items_expected_max() == 0; }))
    o->disable_flag_override();
  for (CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) refuse_flag_values(*sub);
}

int run(int argc, char** argv) {
  CLI::App app("norma trains batch-normalised convolutional networks.", "norma");
  app.set_version_flag("--version", std::string("norma ") + version);
  app.footer(footer);
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::simple);
  const Command commands[] = {add_train(app),          add_eval(app),    add_predict(app), add_convert(app), add_compare(app),
                              add_plan(app),           add_verify(app),  add_bench(app),   add_inspect(app), add_export(app),
                              add_bn_recalibrate(app), add_bn_fold(app), add_explain(app), add_data(app),    add_doctor(app),
                              add_completions(app),    add_man(app)};
  refuse_flag_values(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForVersion& e) {
    print_result(std::string(e.what()) + "\n");
    return 0;
  } catch (const CLI::CallForHelp&) {
    if (!innermost(app).remaining().empty())  // help for what?
      throw Error(ErrorKind::usage, usage_message(app, CLI::ExtrasError(innermost(app).remaining())));
    print_result(app.help());  // of the innermost command that was named
    return 0;
  } catch (const CLI::ParseError& e) {
    throw Error(ErrorKind::usage, usage_message(app, e));
  }
  for (const Command& c : commands)
    if (c.app->parsed()) return c.run();
  throw std::logic_error("a command without a function");
}

}  // namespace
}  // namespace norma::app

namespace {

// The next opened file would get a closed descriptor 0, 1 or 2, and the program's output would go into that file. Reading from the stand-in
// finds nothing. Writing to that of stdout fails, as to a closed one.
void open_standard_streams() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (fcntl(descriptor, F_GETFD) == -1 && errno == EBADF) [[maybe_unused]]
      const int opened = open("/dev/null", descriptor == STDERR_FILENO ? O_RDWR : O_RDONLY);
}

// Without a log, or without memory for a line of it, the words alone go to stderr.
void report(const char* what, bool logs) noexcept {
  try {
    if (logs) return norma::app::log_error(what);
  } catch (...) {
  }
  for (const char* text : {"norma: error: ", what, "\n"})
    [[maybe_unused]] const auto written = write(STDERR_FILENO, text, std::strlen(text));
}

}  // namespace

int main(int argc, char** argv) {
  open_standard_streams();
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error of the write
  std::signal(SIGXFSZ, SIG_IGN);  // as is a file that reaches the limit (ulimit -f)
  bool logs = false;
  try {
    norma::app::set_up_log(norma::app::detect_terminal(STDERR_FILENO), false);
    logs = true;
    return norma::app::run(argc, argv);
  } catch (const norma::Error& e) {
    report(e.what(), logs);
    return e.exit_code();
  } catch (const norma::app::ClosedPipe&) {
    return 128 + SIGPIPE;  // what a process that does not catch the signal leaves
  } catch (const std::bad_alloc&) {
    report("out of memory", logs);
  } catch (const std::exception& e) {
    report(e.what(), logs);
  }
  return static_cast<int>(norma::ErrorKind::failure);
}
