#include "apps/norma/commands/verify_table.h"

#include <fmt/format.h>

#include <cmath>

#include "apps/norma/bench/bench.h"
#include "norma/error.h"

namespace norma::app {
namespace {

using nlohmann::ordered_json;

constexpr const char* notes =
    "Every call starts from the reference's values, rounded to float. error: the\n"
    "worst of an element, as a share of the largest in its tensor. bound: the worst\n"
    "as a share of that element's allowed rounding error; above 1 is wrong.\n";

const char* name_of(Mode mode) { return mode == Mode::train ? "train" : "eval"; }

std::string line(const CallCheck& c, bool first_of_call) {
  std::string out = fmt::format("{:<34} {:<6}", first_of_call ? c.call : "", fit(c.backend, 6));
  if (c.calls == 0) return out + "     -\n";
  out += fmt::format("{:>6}{:>9}{:>7.2f}", c.calls, c.error == 0 ? "0" : fmt::format("{:.1e}", c.error), c.share);
  if (!c.passed()) out += "  WRONG " + fit(c.path + " " + c.operand, 9);
  else if (!c.path.empty()) out += "  " + fit(c.path + " " + c.operand, 15);
  return out + "\n";
}

std::string subject(const StepCheck& s) { return fmt::format("{} {}", name_of(s.mode), s.samples); }

// Every problem of the report, a line each.
std::vector<std::string> problems(const VerifyReport& report) {
  std::vector<std::string> all;
  for (const CallCheck& c : report.calls)
    if (!c.passed()) all.push_back(fmt::format("{}: {}: {} of {} calls wrong: {}", c.backend, c.call, c.wrong, c.calls, c.problem));
  for (const StepCheck& s : report.steps)
    if (!s.passed())
      all.push_back(
          fmt::format("{}: {} samples as one step differ from the same calls one by one: {}", s.backend, subject(s), s.difference));
  return all;
}

}  // namespace

std::string text(const VerifyReport& report) {
  std::string out;
  for (const VerifyReport::Backend& b : report.backends) out += fmt::format("{:<6}  {}\n", fit(b.name, 6), b.description);
  out += notes;
  out += fmt::format("\n{:<34} {:<6}{:>6}{:>9}{:>7}  {}\n", "call", "", "calls", "error", "bound", "worst at");
  std::string call;
  for (const CallCheck& c : report.calls) {
    out += line(c, c.call != call);
    call = c.call;
  }
  out += "\nWhole steps, compared with their calls run one by one:\n";
  for (const StepCheck& s : report.steps)
    out += fmt::format("{:<6}  {:<12} {} runs: {}\n", fit(s.backend, 6), subject(s), s.runs,
                       s.passed() ? "the same bits" : "WRONG: " + s.difference);
  const std::vector<std::string> wrong = problems(report);
  out += wrong.empty() ? fmt::format("\npassed: {} calls\n", report.compared) : "\n";
  for (const std::string& p : wrong) out += "FAILED  " + p + "\n";
  return out;
}

ordered_json to_json(const VerifyReport& report) {
  ordered_json backends = ordered_json::array(), calls = ordered_json::array(), steps = ordered_json::array();
  for (const VerifyReport::Backend& b : report.backends) backends.push_back({{"name", b.name}, {"description", b.description}});
  const auto number = [](double x) { return std::isfinite(x) ? ordered_json(x) : ordered_json(nullptr); };
  for (const CallCheck& c : report.calls)
    calls.push_back({{"call", c.call},
                     {"backend", c.backend},
                     {"calls", c.calls},
                     {"error", number(c.error)},
                     {"share_of_bound", number(c.share)},
                     {"path", c.path},
                     {"operand", c.operand},
                     {"wrong", c.wrong},
                     {"problem", c.problem}});
  for (const StepCheck& s : report.steps)
    steps.push_back({{"backend", s.backend},
                     {"mode", name_of(s.mode)},
                     {"samples", s.samples},
                     {"runs", s.runs},
                     {"same_bits", s.passed()},
                     {"difference", s.difference}});
  return {{"passed", report.passed()}, {"backends", backends}, {"compared", report.compared}, {"calls", calls}, {"steps", steps}};
}

void require_passed(const VerifyReport& report) {
  const std::vector<std::string> wrong = problems(report);
  if (wrong.empty()) return;
  throw Error(ErrorKind::verification,
              fmt::format("verification failed: {}{}", wrong[0], wrong.size() == 1 ? "" : fmt::format(" (and {} more)", wrong.size() - 1)));
}

}  // namespace norma::app
