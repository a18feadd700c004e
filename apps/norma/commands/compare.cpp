// norma compare: recipes and variations of their fields, side by side.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/norma/commands.h"
#include "apps/norma/compare/comparison_page.h"
#include "apps/norma/compare/comparison_runs.h"
#include "apps/norma/compare/verdict.h"
#include "apps/norma/files/folders.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/recipe/flags.h"
#include "apps/norma/run/run_identity.h"
#include "apps/norma/system/choices.h"
#include "apps/norma/system/figures.h"
#include "apps/norma/system/log.h"
#include "apps/norma/system/progress.h"
#include "apps/norma/system/signals.h"
#include "norma/error.h"
#include "norma/text.h"

namespace norma::app {
namespace fs = std::filesystem;
namespace {

using nlohmann::ordered_json;

struct CompareRequest {
  std::vector<std::string> names;  // of recipes, or of one comparison
  std::vector<std::string> vary;
  std::vector<Override> overrides;
  std::string measure;
  std::int64_t seeds = 0;  // 0: the comparison's
  int jobs = 0;
  fs::path out;
  bool resume = false, force = false, json = false, quiet = false, list = false;
  ProgressMode progress = ProgressMode::automatic;
};

// "batch_size" -> "train.batch_size": the recipe's one field of this name. Throws Error(usage) where there are several.
std::string full_field(const std::string& field, const std::string& recipe) {
  if (field.find('.') != std::string::npos) return field;
  std::vector<std::string> found;
  for (const auto& [key, value] : flatten(parse_recipe(find_recipe(recipe))))
    if (last_part(key) == field && key.find("layers.") == std::string::npos) found.push_back(key);
  if (found.size() > 1) throw Error(ErrorKind::usage, fmt::format("--vary {}: ambiguous name, it could be {}", field, join(found)));
  return found.empty() ? field : found.front();
}

// Sets fields of all runs.
void set(Comparison& c, const std::vector<Override>& overrides) {
  for (Override o : overrides) {
    o.value = toml_value(o.value);
    if (std::any_of(c.vary.begin(), c.vary.end(), [&](const Variation& v) { return v.field == o.key; }))
      throw Error(ErrorKind::usage, fmt::format("{}: {} is varied", o.flag, o.key));
    std::erase_if(c.set, [&](const Override& old) { return old.key == o.key; });
    c.set.push_back(std::move(o));
  }
}

// Finds what is wrong with it before anything is written. Files of data are named so that they are found from any folder.
Comparison checked(Comparison c) {
  const std::map<std::string, std::string> fields = flatten(planned_runs(c).front().recipe);
  for (Override& o : c.set)
    if (says_where_data_lie(o.key)) o.value = fields.at(o.key);
  return c;
}

// The comparison that the words and flags of the command line describe.
Comparison requested(const CompareRequest& request) {
  Comparison c;
  const std::optional<RecipeSource> shipped = request.names.empty() ? std::nullopt : find_comparison(request.names.front());
  if (shipped && request.names.size() > 1)
    throw Error(ErrorKind::usage, fmt::format("{} is a comparison: give it alone, without {}", request.names[0], request.names[1]));
  if (shipped) {
    c = parse_comparison(*shipped);
  } else {
    for (const std::string& name : request.names) {
      std::vector<std::string> known;
      for (const EmbeddedRecipe& e : embedded_comparisons()) known.emplace_back(e.name);
      for (const EmbeddedRecipe& e : embedded_recipes()) known.emplace_back(e.name);
      if (const std::string near = nearest(name, known); near != name && !near.empty() && find_comparison(near))
        throw Error(ErrorKind::usage, fmt::format("unknown recipe or comparison \"{}\"; did you mean \"{}\"?", name, near));
    }
    for (const std::string& name : request.names)
      if (!is_utf8(name))
        throw Error(ErrorKind::usage,
                    fmt::format("recipe {} has a path that is not UTF-8, which comparison.toml must be: rename it", name));
    c.recipes = request.names;
    c.name = request.names.size() == 1 ? find_recipe(request.names.front()).name : "comparison";
  }
  for (const std::string& text : request.vary) {
    Variation v = parse_variation(text);
    v.field = full_field(v.field, c.recipes.front());
    const auto same = std::find_if(c.vary.begin(), c.vary.end(), [&](const Variation& old) { return old.field == v.field; });
    if (same != c.vary.end() && shipped) *same = std::move(v);
    else c.vary.push_back(std::move(v));
  }
  set(c, request.overrides);
  if (request.seeds > 0) c.seeds = request.seeds;
  if (!request.measure.empty()) c.measure = measure_called(request.measure, "--measure");
  return c;
}

std::string list_of_comparisons() {
  std::string out;
  for (const EmbeddedRecipe& e : embedded_comparisons())
    out += fmt::format("{:<20} {}\n", e.name, parse_comparison(*find_comparison(std::string(e.name))).claim);
  return out;
}

ordered_json to_json(const Results::Variant& v, const Comparison& c) {
  ordered_json j;
  for (const auto& [field, value] : v.fields) j["fields"][field] = plain(value);
  for (const MeasureInfo& m : measures) {
    const Spread s = spread(v.values(m.measure));
    if (s.count > 0) j[m.name] = {{"mean", s.mean}, {"deviation", s.deviation}, {"runs", s.count}};
  }
  j["diverged"] = v.diverged();
  if (c.seeds > 0) j["wins"] = v.wins;
  return j;
}

class CompareCommand {
 public:
  explicit CompareCommand(const CompareRequest& request)
      : request_(request), progress_(request.progress, request.quiet, detect_terminal(fileno(stderr))) {}

  int run() {
    set_up_log(detect_terminal(fileno(stderr)), request_.quiet);
    if (request_.list) {
      print_result(list_of_comparisons());
      return 0;
    }
    watch_signals("finished runs are saved; resume with norma compare --resume --out and its folder");
    ComparisonDirectory directory = open();
    const Comparison comparison = directory.comparison();
    const std::vector<PlannedRun> runs = planned_runs(comparison);
    directory.check_results(runs);
    const std::size_t before = directory.results().size();
    log_info(fmt::format("comparison: {} runs ({} variants, {} seed{} each){}, in {}", runs.size(),
                         runs.size() / static_cast<std::size_t>(comparison.seeds), comparison.seeds, comparison.seeds == 1 ? "" : "s",
                         before ? fmt::format(", {} of them done before", before) : "", directory.path().string()));
    train(runs, directory, comparison, before);
    const std::vector<RunResult> ended = directory.results();
    const Results results(comparison, runs, ended);
    const Verdict found = verdict(results);
    directory.write_report(comparison_html(results, found), comparison_svg(results, found));
    print(results, found, directory.path());
    if (results.ended() == results.planned()) {
      stdout_.check();
      const auto finished = [](const RunResult& r) { return !r.diverged; };
      if (std::ranges::any_of(ended, finished)) return 0;
      log_error("no run finished: all of them diverged; try lower learning rates");
      return static_cast<int>(ErrorKind::diverged);
    }
    log_info(fmt::format("stopped: {} of {} runs have ended, current runs are saved; resume with: norma compare --resume --out {}",
                         results.ended(), results.planned(), shell_word(directory.path().string())));
    return 128 + stop_signal();
  }

 private:
  ComparisonDirectory open() const {
    if (request_.resume) {
      ComparisonDirectory opened = ComparisonDirectory::open(request_.out);
      if (request_.overrides.empty()) return opened;
      Comparison moved = opened.comparison();
      set(moved, request_.overrides);
      opened.write(checked(std::move(moved)));
      return opened;
    }
    const Comparison c = checked(requested(request_));
    const fs::path out = request_.out.empty() ? claim_folder("runs/compare-" + folder_name(c.name), "the folder") : request_.out;
    return ComparisonDirectory::create(out, c, request_.force);
  }

  void train(const std::vector<PlannedRun>& runs, ComparisonDirectory& directory, const Comparison& comparison, std::size_t before) {
    const auto start = std::chrono::steady_clock::now();
    std::size_t done = before;
    RunsOptions options;
    options.jobs = request_.jobs;
    options.on_result = [&](const PlannedRun& run, const RunResult& r) {
      ++done;
      const std::string what =
          r.diverged ? "diverged"
                     : fmt::format("{} {}", info(comparison.measure).words, shown(comparison.measure, r.measured[comparison.measure]));
      progress_.line(
          fmt::format("run {}/{}  {}, seed {}  {}  {:.2f} s", done, runs.size(), label(run.fields, true), run.seed, what, r.seconds));
      if (request_.json) {
        ordered_json j{{"run", r.name}, {"status", r.diverged ? "diverged" : "finished"}, {"seed", run.seed}};
        for (const auto& [field, value] : run.fields) j["fields"][field] = plain(value);
        for (const MeasureInfo& m : measures)
          if (std::isfinite(r.measured[m.measure])) j[m.name] = r.measured[m.measure];
        j["parameters_hash"] = r.parameters_hash;
        stdout_.print(json_document(j));
      }
    };
    options.on_wait = [&] {
      const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      const double share = static_cast<double>(done) / static_cast<double>(runs.size());
      std::vector<std::string> more{fmt::format("{} runs", runs.size())};
      if (done > before)
        more.push_back("eta " + short_duration(took * static_cast<double>(runs.size() - done) / static_cast<double>(done - before)));
      progress_.share(fmt::format("run {}/{}", done, runs.size()), share, more);
    };
    try {
      run_all(runs, directory, options);
    } catch (...) {
      progress_.clear();
      log_info(fmt::format("{} of {} runs have ended; when the cause is fixed: norma compare --resume --out {}", done, runs.size(),
                           shell_word(directory.path().string())));
      throw;
    }
    progress_.clear();
  }

  void print(const Results& results, const Verdict& found, const fs::path& out) {
    const Comparison& c = results.comparison();
    if (request_.json) {
      constexpr const char* outcomes[] = {"holds", "refuted", "undecided"};
      ordered_json j{{"final", true}, {"comparison", c.name}};
      if (!c.claim.empty()) j["claim"] = c.claim;
      j["outcome"] = outcomes[static_cast<std::size_t>(found.outcome)];
      j["verdict"] = found.words;
      for (const Results::Variant& v : results.variants()) j["variants"].push_back(to_json(v, c));
      j["directory"] = out.string();
      stdout_.print(json_document(j));
      return;
    }
    std::string text = comparison_table(results);
    if (!c.claim.empty()) text += fmt::format("\nclaim    {}\nverdict  {}\n", c.claim, found.words);
    else text += fmt::format("\n{}\n", found.words);
    text += fmt::format("report   {}/report.html\n", printable(out.string()));
    stdout_.print(text);
  }

  const CompareRequest& request_;
  ProgressDisplay progress_;
  ResultStream stdout_;
};

}  // namespace

Command add_compare(CLI::App& norma) {
  auto request = std::make_shared<CompareRequest>();
  CLI::App& app = *norma.add_subcommand("compare", "Train variations of recipes side by side: means, spreads, one report");
  app.add_option("names", request->names, "Recipes, or one comparison: a name of --list, or a TOML file");
  app.add_option("--vary", request->vary, "A field and its values; repeat the flag for more fields. Every combination runs")
      ->type_name("KEY=V,V,...")
      ->allow_extra_args(false);
  app.add_option("--seeds", request->seeds, "Runs of each variant, with seeds from 0; default 3")
      ->type_name("N")
      ->check(CLI::Range(1, 1000));
  app.add_option("--measure", request->measure, "Measure to compare: test_accuracy, test_loss, train_loss, overfit, ...")
      ->type_name("NAME");
  app.add_option("--jobs", request->jobs, "Parallel runs; default one a core, on a GPU one")->type_name("N")->check(CLI::Range(1, 4096));
  app.add_option("--out", request->out, "Folder of the comparison; default runs/compare-<name>")->type_name("DIR");
  app.add_flag("--resume", request->resume, "Resume the comparison in --out. Finished runs stay; the data may lie elsewhere");
  app.add_flag("--force", request->force, "Replace the comparison in --out");
  app.add_flag("--list", request->list, "List the comparisons that come with norma, and the question of each");
  app.add_flag("--json", request->json, "One JSON object a run on stdout, then one with \"final\": true");
  app.add_flag("--quiet", request->quiet, "Show only warnings and results");
  app.add_option_function<std::string>(
         "--progress",
         [request](const std::string& when) {
           const std::string known[] = {"auto", "always", "never"};
           request->progress = static_cast<ProgressMode>(choose("--progress", when, known));
         },
         "Progress bar: auto (on a terminal), always or never. A line a run is always printed")
      ->type_name("WHEN");
  add_recipe_flags(app, FlagScope::all, request->overrides);
  add_init_flags(app, request->overrides);
  app.footer(
      "Examples:\n"
      "  norma compare learning-rates\n"
      "  norma compare mnist-lenet-bn --vary model.norm=none,batch,layer --vary train.batch_size=4,32,256 --seeds 5 --epochs 2\n"
      "  norma compare circles circles-bn\n"
      "Ctrl-C saves the current runs and exits with 130; --resume --out DIR resumes them.");
  return {&app, [request] {
            if (request->resume && request->out.empty())
              throw Error(ErrorKind::usage, "--resume needs --out DIR, the comparison to resume");
            const auto other = std::ranges::find_if(request->overrides, [](const Override& o) { return !says_where_data_lie(o.key); });
            const bool overrides = other != request->overrides.end();
            if (request->resume && (request->force || !request->names.empty() || !request->vary.empty() || overrides ||
                                    request->seeds > 0 || !request->measure.empty()))
              throw Error(ErrorKind::usage,
                          fmt::format("{}--resume continues the comparison in --out unchanged: no recipe, no --force, no --vary, "
                                      "no --set except the location of the data (--data-dir, --set data.train_images=FILE and so on)",
                                      overrides ? other->flag + ": " : ""));
            if (request->list && (request->resume || !request->names.empty() || !request->vary.empty() || !request->overrides.empty()))
              throw Error(ErrorKind::usage, "--list stands alone: no recipe, nothing varied, no --resume");
            if (!request->resume && !request->list && request->names.empty())
              throw Error(ErrorKind::usage,
                          "a recipe or a comparison is needed, such as norma compare learning-rates; see norma compare --list");
            return CompareCommand(*request).run();
          }};
}

}  // namespace norma::app
