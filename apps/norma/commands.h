// The commands of norma: each .cpp declares its flags and runs.
#pragma once
#include <functional>

namespace CLI {
class App;
}

namespace norma::app {

// run is called after the flags were parsed; it returns the exit code, or throws norma::Error.
struct Command {
  CLI::App* app = nullptr;
  std::function<int()> run;
};

Command add_train(CLI::App& norma);
Command add_eval(CLI::App& norma);
Command add_predict(CLI::App& norma);
Command add_compare(CLI::App& norma);
Command add_plan(CLI::App& norma);
Command add_inspect(CLI::App& norma);
Command add_export(CLI::App& norma);
Command add_convert(CLI::App& norma);
Command add_bn_recalibrate(CLI::App& norma);
Command add_bn_fold(CLI::App& norma);
Command add_explain(CLI::App& norma);
Command add_verify(CLI::App& norma);
Command add_bench(CLI::App& norma);
Command add_data(CLI::App& norma);
Command add_doctor(CLI::App& norma);
Command add_completions(CLI::App& norma);
Command add_man(CLI::App& norma);

}  // namespace norma::app
