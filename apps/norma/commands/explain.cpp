// norma explain: a matter step by step, with numbers that are computed as they are shown; or every key of a recipe.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/norma/commands.h"
#include "apps/norma/explain/batch_norm.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/recipe/reference.h"
#include "apps/norma/system/choices.h"
#include "apps/norma/system/terminal.h"

namespace norma::app {
namespace {

using nlohmann::ordered_json;

struct ExplainRequest {
  std::string topic;
  bool json = false;
};

std::string name_of(TableReference::Of of) {
  switch (of) {
    case TableReference::Of::section: return "section";
    case TableReference::Of::layer: return "layer";
    case TableReference::Of::init: return "initialiser";
  }
  throw std::logic_error("a table of nothing");
}

ordered_json json_of(const FieldReference& f) {
  ordered_json with = ordered_json::object();
  for (const auto& [choice, words] : f.with) with[choice] = words;
  return {{"key", f.key},           {"with", with},
          {"values", f.values},     {"default", f.otherwise.empty() ? ordered_json(nullptr) : ordered_json(f.otherwise)},
          {"required", f.required}, {"meaning", f.help}};
}

std::string reference_json() {
  ordered_json tables = ordered_json::array();
  for (const TableReference& t : recipe_reference()) {
    ordered_json fields = ordered_json::array();
    for (const FieldReference& f : t.fields) fields.push_back(json_of(f));
    tables.push_back({{"of", name_of(t.of)}, {"name", t.name}, {"fields", fields}});
  }
  return json_document({{"topic", "recipe"}, {"tables", tables}});
}

int run(const ExplainRequest& request) {
  const std::string topics[] = {"batchnorm", "recipe"};
  if (choose("the topic", request.topic, topics) == 1) {
    print_result(request.json ? reference_json() : reference_page());
    return 0;
  }
  const BatchNormExplained e = explain_batch_norm();
  print_result(request.json ? to_json(e) : to_text(e));
  return 0;
}

}  // namespace

Command add_explain(CLI::App& norma) {
  auto request = std::make_shared<ExplainRequest>();
  CLI::App& app = *norma.add_subcommand("explain", "Batch norm step by step, with small numbers; or every key of a recipe");
  app.add_option("topic", request->topic, "batchnorm: by hand and by the kernels; recipe: keys, values and defaults")->required();
  app.add_flag("--json", request->json, "One JSON object on stdout");
  return {&app, [request] { return run(*request); }};
}

}  // namespace norma::app
