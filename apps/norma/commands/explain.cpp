// norma explain: a matter step by step, with numbers that are computed as they are shown.
#include <CLI/CLI.hpp>

#include "apps/norma/commands.h"
#include "apps/norma/explain/batch_norm.h"
#include "apps/norma/system/choices.h"
#include "apps/norma/system/terminal.h"

namespace norma::app {
namespace {

struct ExplainRequest {
  std::string topic;
  bool json = false;
};

int run(const ExplainRequest& request) {
  const std::string topics[] = {"batchnorm"};
  choose("the topic", request.topic, topics);
  const BatchNormExplained e = explain_batch_norm();
  print_result(request.json ? to_json(e) : to_text(e));
  return 0;
}

}  // namespace

Command add_explain(CLI::App& norma) {
  auto request = std::make_shared<ExplainRequest>();
  CLI::App& app = *norma.add_subcommand("explain", "Batch norm step by step, with small numbers, by hand and by the kernels");
  app.add_option("topic", request->topic, "batchnorm")->required();
  app.add_flag("--json", request->json, "One JSON object on stdout");
  return {&app, [request] { return run(*request); }};
}

}  // namespace norma::app
