#include "apps/norma/compare/comparison_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "apps/norma/draw/markup.h"
#include "apps/norma/report/page.h"

namespace norma::app {
namespace {

// Width of UTF-8 text in characters.
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

namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

// The values of the variants' field k, in the order in which they are varied.
std::vector<std::string> values_of(const Results& results, std::size_t k) {
  std::vector<std::string> all;
  for (const Results::Variant& v : results.variants())
    if (std::find(all.begin(), all.end(), v.fields[k].second) == all.end()) all.push_back(v.fields[k].second);
  return all;
}

Fields without(Fields fields, std::size_t k) {
  fields.erase(fields.begin() + static_cast<std::ptrdiff_t>(k));
  return fields;
}

// The values of field k as numbers; empty unless every value is a number.
std::vector<double> numbers_of(const Results& results, std::size_t k) {
  std::vector<double> all;
  for (const std::string& value : values_of(results, k)) {
    char* end = nullptr;
    all.push_back(std::strtod(value.c_str(), &end));
    if (value.empty() || *end) return {};
  }
  return all;
}

// Mean and one deviation to each side, as one more point of a series; of a share not beyond what it can be.
void add(Series& series, const Spread& s, Measure m) {
  const bool share = info(m).percent;
  series.y.push_back(s.mean);
  series.low.push_back(share ? std::max(s.mean - s.deviation, 0.0) : s.mean - s.deviation);
  series.high.push_back(share ? std::min(s.mean + s.deviation, 1.0) : s.mean + s.deviation);
}

Chart::Unit unit_of(Measure m) { return info(m).percent ? Chart::Unit::percent : Chart::Unit::number; }

std::string capitalised(std::string text) {
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

// The measure over the values of the field that is varied last, a series for each combination of the others.
std::vector<Chart> over_words(const Results& results) {
  const Measure measure = results.comparison().measure;
  const Fields& fields = results.variants().front().fields;
  if (fields.empty()) return {};
  const std::size_t last = fields.size() - 1;
  Chart c{capitalised(info(measure).words), last_part(fields[last].first), {}, {}};
  c.unit = unit_of(measure);
  const std::vector<std::string> values = values_of(results, last);
  for (std::size_t i = 0; i < values.size(); ++i) c.x.push_back(static_cast<double>(i + 1)), c.labels.push_back(plain(values[i]));
  std::vector<Fields> rests;
  for (const Results::Variant& v : results.variants()) {
    const Fields rest = without(v.fields, last);
    auto at = std::find(rests.begin(), rests.end(), rest);
    if (at == rests.end()) {
      if (rests.size() == most_series) continue;  // the table has all
      at = rests.insert(rests.end(), rest);
      c.series.push_back({rest.empty() ? info(measure).words : label(rest, true), {}});
    }
    add(c.series[static_cast<std::size_t>(at - rests.begin())], spread(v.values(measure)), measure);
  }
  return {c};
}

// The measure over the numbers that a field takes, a line for each combination of the others.
std::vector<Chart> over_numbers(const Results& results) {
  const Measure measure = results.comparison().measure;
  std::size_t best = 0;
  std::vector<double> xs;
  for (std::size_t k = 0; k < results.variants().front().fields.size(); ++k)
    if (std::vector<double> n = numbers_of(results, k); n.size() > std::max<std::size_t>(xs.size(), 1)) best = k, xs = std::move(n);
  if (xs.empty()) return over_words(results);
  std::vector<std::pair<Fields, std::vector<std::pair<double, Spread>>>> lines;
  for (const Results::Variant& v : results.variants()) {
    const Fields rest = without(v.fields, best);
    auto line = std::find_if(lines.begin(), lines.end(), [&](const auto& l) { return l.first == rest; });
    if (line == lines.end()) line = lines.insert(lines.end(), {rest, {}});
    line->second.emplace_back(std::strtod(v.fields[best].second.c_str(), nullptr), spread(v.values(measure)));
  }
  std::sort(xs.begin(), xs.end());
  const std::string field = last_part(results.variants().front().fields[best].first);
  std::vector<Chart> charts;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i % most_series == 0) {
      Chart c{capitalised(info(measure).words), field, xs, {}};
      c.logarithmic_x = xs.front() > 0 && xs.back() / xs.front() >= 8;
      c.scale = info(measure).percent ? Chart::Scale::linear : Chart::Scale::automatic;
      c.unit = unit_of(measure);
      charts.push_back(std::move(c));
    }
    auto& [rest, points] = lines[i];
    std::sort(points.begin(), points.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    Series s{rest.empty() ? info(measure).words : label(rest, true), {}};
    for (const auto& [x, value] : points) add(s, value, measure);
    charts.back().series.push_back(std::move(s));
  }
  return charts;
}

// Charts by epoch of the mean over seeds. The charted field is that of the checks, or the first. Each combination of the other fields has a
// chart.
std::vector<Chart> by_epoch(const Results& results, Measure measure, double (*value)(const EpochMetrics&)) {
  const Comparison& c = results.comparison();
  const Fields& fields = results.variants().front().fields;
  std::size_t main = 0;
  for (std::size_t k = 0; k < fields.size(); ++k)
    if (!c.checks.empty() && fields[k].first == c.checks.front().field) main = k;
  std::vector<std::pair<Fields, Chart>> charts;
  for (const Results::Variant& v : results.variants()) {
    std::size_t epochs = 0;
    for (const RunResult* r : v.by_seed)
      if (r) epochs = std::max(epochs, r->epochs.size());
    if (epochs == 0) continue;
    const Fields rest = fields.empty() ? Fields{} : without(v.fields, main);
    auto at = std::find_if(charts.begin(), charts.end(), [&](const auto& made) { return made.first == rest; });
    if (at == charts.end()) {
      Chart chart{capitalised(info(measure).words) + (rest.empty() ? "" : ", " + label(rest, true)), "epoch", {}, {}};
      chart.scale = info(measure).percent ? Chart::Scale::linear : Chart::Scale::automatic;
      chart.unit = unit_of(measure);
      at = charts.insert(charts.end(), {rest, std::move(chart)});
    }
    if (at->second.series.size() == most_series) continue;  // the table has all
    Series s{fields.empty() ? info(measure).words : label({v.fields[main]}), {}};
    for (std::size_t e = 0; e < epochs; ++e) {
      std::vector<double> values;
      for (const RunResult* r : v.by_seed)
        if (r && e < r->epochs.size()) values.push_back(value(r->epochs[e]));
      add(s, spread(values), measure);
      if (e >= at->second.x.size()) at->second.x.push_back(static_cast<double>(e + 1));
    }
    at->second.series.push_back(std::move(s));
  }
  std::vector<Chart> out;
  for (auto& [rest, chart] : charts) out.push_back(std::move(chart));
  return out;
}

Table results_table(const Results& results) {
  const Comparison& c = results.comparison();
  Table t;
  t.caption = fmt::format("Mean and standard deviation over {} seed{}, after the last epoch", c.seeds, c.seeds == 1 ? "" : "s");
  for (const auto& [field, value] : results.variants().front().fields) t.columns.push_back({field, false});
  if (t.columns.empty()) t.columns.push_back({"variant", false});
  std::vector<Measure> with_values{c.measure};  // it first, then what is counted, then all others
  for (const MeasureInfo& m : measures)
    if (m.measure != c.measure &&
        std::any_of(results.variants().begin(), results.variants().end(), [&](const auto& v) { return !v.values(m.measure).empty(); }))
      with_values.push_back(m.measure);
  t.columns.push_back({info(c.measure).words, true});
  for (const char* name : {"wins", "runs", "diverged"}) t.columns.push_back({name, true});
  for (const Measure m : with_values)
    if (m != c.measure) t.columns.push_back({info(m).words, true});
  t.columns.push_back({"seconds a run", true});
  for (const Results::Variant& v : results.variants()) {
    std::vector<std::string> row;
    for (const auto& [field, value] : v.fields) row.push_back(plain(value));
    if (row.empty()) row.push_back(label({}));
    row.push_back(shown(c.measure, spread(v.values(c.measure))));
    double seconds = 0;
    std::size_t runs = 0;
    for (const RunResult* r : v.by_seed)
      if (r) seconds += r->seconds, ++runs;
    row.push_back(std::to_string(v.wins));
    row.push_back(std::to_string(runs));
    row.push_back(std::to_string(v.diverged()));
    for (const Measure m : with_values)
      if (m != c.measure) row.push_back(shown(m, spread(v.values(m))));
    row.push_back(runs ? fmt::format("{:.2f}", seconds / static_cast<double>(runs)) : "-");
    t.rows.push_back(std::move(row));
  }
  return t;
}

std::string figures(const std::vector<Chart>& charts) {
  if (charts.empty()) return {};
  std::string out = "<div class=\"figures\">\n";
  for (const Chart& c : charts) out += figure(c);
  return out + "</div>\n";
}

std::string divergences(const Results& results) {
  std::string out;
  for (const Results::Variant& v : results.variants())
    for (const RunResult* r : v.by_seed)
      if (r && r->diverged) out += fmt::format("<li>{}: {}</li>\n", escape(r->name), escape(r->detail.substr(0, r->detail.find('\n'))));
  return out.empty() ? out : "<ul class=\"words\">\n" + out + "</ul>\n";
}

std::vector<Chart> losses_of(const Results& results) {
  return by_epoch(results, Measure::train_loss, [](const EpochMetrics& m) { return m.train_loss; });
}

std::vector<Chart> accuracies_of(const Results& results) {
  return by_epoch(results, Measure::test_accuracy,
                  [](const EpochMetrics& m) { return m.test_accuracy.value_or(std::numeric_limits<double>::quiet_NaN()); });
}

}  // namespace

std::string comparison_html(const Results& results, const Verdict& found) {
  const Comparison& c = results.comparison();
  std::string page = open_page(c.claim.empty() ? c.name : c.claim + "?", c.description);
  page += fmt::format("<p class=\"status\">{}</p>\n", escape(found.words));
  if (results.ended() < results.planned())
    page += fmt::format("<p class=\"status failed\">Unfinished: {} of {} runs have ended.</p>\n", results.ended(), results.planned());
  page += "</header>\n";
  std::vector<Chart> by_epochs = losses_of(results);
  for (Chart& chart : accuracies_of(results)) by_epochs.push_back(std::move(chart));
  page += section("In one picture", figures(over_numbers(results)));
  page +=
      section("Results", to_html(results_table(results)) + (found.checks.size() > 1 ? "<p>Checks:</p>\n<ul>\n" +
                                                                                          [&] {
                                                                                            std::string items;
                                                                                            for (const std::string& words : found.checks)
                                                                                              items += "<li>" + escape(words) + "</li>\n";
                                                                                            return items;
                                                                                          }() +
                                                                                          "</ul>\n"
                                                                                    : std::string()));
  page += section("By epoch", (by_epochs.empty() ? "" : "<p>Lines are means over seeds, areas one standard deviation to each side.</p>\n") +
                                  figures(by_epochs));
  page += section("Runs that diverged", divergences(results));
  page += section("What was compared",
                  fmt::format("<pre tabindex=\"0\" role=\"region\" aria-label=\"comparison.toml\">{}</pre>\n", escape(write_toml(c))));
  return page += close_page();
}

std::string comparison_svg(const Results& results, const Verdict& found) {
  const Comparison& c = results.comparison();
  std::vector<Panel> panels;
  for (const std::vector<Chart>& charts : {over_numbers(results), losses_of(results), accuracies_of(results)})
    for (const Chart& chart : charts)
      if (panels.size() < 3) panels.push_back(panel(chart));
  return svg_document(c.claim.empty() ? c.name : c.claim + "?", found.words, panels);
}

}  // namespace norma::app
