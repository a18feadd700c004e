#include "apps/norma/report_comparison.h"

#include <fmt/format.h>

#include <algorithm>

namespace norma::app {
namespace {

// Of UTF-8 text, in characters.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

}  // namespace

std::string comparison_table(const Results& results) {
  const Comparison& c = results.comparison();
  std::vector<Measure> shown_measures{c.measure};
  for (const Measure m : {Measure::test_accuracy, Measure::train_loss})
    if (m != c.measure) shown_measures.push_back(m);
  const bool wins = results.variants().size() > 1 && c.seeds > 1;
  const bool diverged = std::any_of(results.variants().begin(), results.variants().end(), [](const auto& v) { return v.diverged() > 0; });

  std::vector<std::vector<std::string>> rows(1);
  for (const auto& [field, value] : results.variants().front().fields) rows[0].push_back(last_part(field));
  const std::size_t names = rows[0].size();
  for (const Measure m : shown_measures) rows[0].emplace_back(info(m).words);
  if (wins) rows[0].emplace_back("wins");
  if (diverged) rows[0].emplace_back("diverged");
  for (const Results::Variant& v : results.variants()) {
    std::vector<std::string> row;
    for (const auto& [field, value] : v.fields) row.push_back(plain(value));
    for (const Measure m : shown_measures) row.push_back(shown(m, spread(v.values(m))));
    if (wins) row.push_back(v.wins ? std::to_string(v.wins) : "");
    if (diverged) row.push_back(v.diverged() ? fmt::format("{} of {}", v.diverged(), v.by_seed.size()) : "");
    rows.push_back(std::move(row));
  }
  std::vector<std::size_t> widths(rows[0].size());
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string gap(widths[i] - width(row[i]), ' ');
      line += (i ? "  " : "") + (i < names ? row[i] + gap : gap + row[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

void write_report(const std::filesystem::path&, const Results&, const Verdict&) {}

}  // namespace norma::app
