// The page of a run: its sections, top to bottom.
#include "apps/norma/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "apps/norma/markup.h"
#include "apps/norma/report_tables.h"
#include "apps/norma/svg.h"

namespace norma::app {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// ---- charts

template <class F>
std::vector<double> column(const RunReport& r, F value) {
  std::vector<double> v;
  for (const EpochMetrics& m : r.epochs) v.push_back(value(m));
  return v;
}

Chart by_epoch(const RunReport& r, std::string title, std::vector<Series> series) {
  Chart c;
  c.title = std::move(title);
  c.x_name = "epoch";
  for (const EpochMetrics& m : r.epochs) c.x.push_back(m.epoch);
  c.series = std::move(series);
  return c;
}

Chart loss_chart(const RunReport& r) {
  std::vector<Series> series = {{"train", column(r, [](const EpochMetrics& m) { return m.train_loss; })}};
  if (std::ranges::any_of(r.epochs, [](const EpochMetrics& m) { return m.test_loss.has_value(); }))
    series.push_back({"test", column(r, [](const EpochMetrics& m) { return m.test_loss.value_or(nan); })});
  Chart c = by_epoch(r, "Loss", std::move(series));
  c.scale = Chart::Scale::automatic;
  return c;
}

Chart accuracy_chart(const RunReport& r) {
  std::vector<Series> series = {{"train", column(r, [](const EpochMetrics& m) { return m.train_accuracy; })}};
  if (std::ranges::any_of(r.epochs, [](const EpochMetrics& m) { return m.test_accuracy.has_value(); }))
    series.push_back({"test", column(r, [](const EpochMetrics& m) { return m.test_accuracy.value_or(nan); })});
  Chart c = by_epoch(r, "Accuracy", std::move(series));
  c.unit = Chart::Unit::percent;
  return c;
}

Chart learning_rate_chart(const RunReport& r) {
  Chart c = by_epoch(r, "Learning rate", {{"learning rate", column(r, [](const EpochMetrics& m) { return m.learning_rate; })}});
  c.unit = Chart::Unit::rate;
  c.from_zero = true;
  return c;
}

Chart seconds_chart(const RunReport& r) {
  Chart c = by_epoch(r, "Time",
                     {{"training", column(r, [](const EpochMetrics& m) { return m.train_seconds; })},
                      {"with evaluation", column(r, [](const EpochMetrics& m) { return m.seconds; })}});
  c.unit = Chart::Unit::seconds;
  c.from_zero = true;
  return c;
}

// ---- sections

std::string tile(std::string_view name, const std::string& value, std::string_view note = {}) {
  return fmt::format("<div class=\"tile\"><dt>{}</dt><dd>{}{}</dd></div>\n", name, escape(value),
                     note.empty() ? "" : fmt::format("<small>{}</small>", escape(note)));
}

// The epoch with the highest test accuracy, if that is not the last.
std::string best_note(const RunReport& r) {
  const auto accuracy = [](const EpochMetrics& m) { return m.test_accuracy.value_or(-1); };
  const auto best = std::ranges::max_element(r.epochs, {}, accuracy);
  if (accuracy(*best) <= accuracy(r.epochs.back())) return {};
  return fmt::format("best {} in epoch {}", format_percent(accuracy(*best)), best->epoch);
}

std::string final_figures(const RunReport& r) {
  std::string out = "<dl class=\"tiles\">\n";
  if (!r.epochs.empty()) {
    const EpochMetrics& last = r.epochs.back();
    if (last.test_accuracy) out += tile("Test accuracy", format_percent(*last.test_accuracy), best_note(r));
    if (last.test_loss) out += tile("Test loss", format_number(*last.test_loss));
    out += tile("Train accuracy", format_percent(last.train_accuracy));
    out += tile("Train loss", format_number(last.train_loss));
    double seconds = 0, train_seconds = 0;
    for (const EpochMetrics& m : r.epochs) {
      seconds += m.seconds;
      train_seconds += m.train_seconds;
    }
    out += tile("Time", format_seconds(seconds), fmt::format("{} training", format_seconds(train_seconds)));
    out += tile("Samples a second", format_count(last.samples_per_second), "training, last epoch");
  }
  if (r.parameter_count > 0) out += tile("Parameters", format_count(static_cast<double>(r.parameter_count)));
  out += tile("Epochs", r.epochs_planned > static_cast<std::int64_t>(r.epochs.size())
                            ? fmt::format("{} of {}", r.epochs.size(), r.epochs_planned)
                            : fmt::format("{}", r.epochs.size()));
  return out + "</dl>\n";
}

// Name, picture, and what the picture shows in words and numbers.
std::string figure(const Chart& c) {
  Table t;
  t.caption = c.title + " by epoch";
  t.columns = {{c.x_name, true}};
  for (const Series& s : c.series) t.columns.push_back({s.name, true});
  for (std::size_t i = 0; i < c.x.size(); ++i) {
    std::vector<std::string> row = {std::to_string(c.x[i])};
    for (const Series& s : c.series) row.push_back(format_value(s.y[i], c.unit));
    t.rows.push_back(std::move(row));
  }
  return fmt::format(
      "<figure>\n<figcaption>{0}</figcaption>\n{1}<details><summary>{0} in words and as a table</summary>\n<p class=\"words\">{2}</p>\n"
      "{3}</details>\n</figure>\n",
      escape(c.title), inline_svg(c), escape(describe(c)), to_html(t));
}

std::string curves(const RunReport& r) {
  if (r.epochs.empty()) return "<p>No epoch has finished yet, so there are no curves.</p>\n";
  std::string out = "<div class=\"figures\">\n";
  for (const Chart& c : {loss_chart(r), accuracy_chart(r), learning_rate_chart(r), seconds_chart(r)}) out += figure(c);
  return out + "</div>\n";
}

std::string scatter_section(const RunReport& r) {
  if (!r.scatter) return {};
  return fmt::format("<figure class=\"square\">\n<figcaption>{}</figcaption>\n{}<p class=\"words\">{}</p>\n</figure>\n",
                     escape(r.scatter->title), inline_svg(*r.scatter), escape(describe(*r.scatter)));
}

std::string section(std::string_view name, const std::string& content) {
  return content.empty() ? std::string() : fmt::format("<section>\n<h2>{}</h2>\n{}</section>\n", name, content);
}

std::string collapsed(std::string_view summary, const std::string& content) {
  return fmt::format("<details>\n<summary>{}</summary>\n{}</details>\n", escape(summary), content);
}

std::string epochs_section(const RunReport& r) {
  if (r.epochs.empty()) return {};
  const std::string table = to_html(epochs_table(r.epochs));
  constexpr std::size_t shown = 30;
  return r.epochs.size() <= shown ? table : collapsed(fmt::format("All {} epochs", r.epochs.size()), table);
}

std::string batch_norm_section(const RunReport& r) {
  const std::vector<BatchNormLayer> layers = batch_norm_layers(r.model);
  if (layers.empty()) return {};
  std::string out =
      "<p>Each cell: the smallest, the mean and the largest over the layer's channels. A \xce\xb3 near 0 switches its channel off; a "
      "running "
      "variance near 0 is a channel that hardly varies.</p>\n" +
      to_html(batch_norm_table(layers));
  std::size_t channels = 0;
  std::string each;
  for (const BatchNormLayer& layer : layers) {
    channels += std::max(layer.gamma.size(), layer.running_mean.size());
    each += to_html(channel_table(layer));
  }
  constexpr std::size_t most = 2048;  // rows that a page still shows at once
  if (channels <= most) return out + collapsed(fmt::format("Every channel ({})", channels), each);
  return out + fmt::format("<p>{} channels are too many to list here; norma inspect prints them.</p>\n", channels);
}

std::string plan_section(const RunReport& r) {
  if (r.plan.empty()) return {};
  double bytes = 0, flops = 0;
  for (const PlanLine& line : r.plan) {
    bytes += line.bytes;
    flops += line.flops;
  }
  return fmt::format(
             "<p>One training step is {} calls, which move {} and compute {}; sizes are counted, not measured. Its activations share "
             "memory: each in a place of its own, they would take {}.</p>\n",
             r.plan.size(), format_bytes(bytes), format_flops(flops),
             format_bytes(static_cast<double>(r.memory.activations_without_reuse))) +
         collapsed("The calls", to_html(plan_table(r.plan))) + to_html(memory_table(r.memory));
}

std::string facts_section(const RunReport& r) {
  std::vector<std::pair<std::string, std::string>> rows = r.facts;
  if (!r.epochs.empty()) rows.emplace_back("Parameters\xe2\x80\x99 hash", r.epochs.back().parameters_hash);
  for (auto& row : describe(r.environment)) rows.push_back(std::move(row));
  std::string out = "<dl class=\"facts\">\n";
  for (const auto& [name, value] : rows) out += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(name), escape(value));
  return out + "</dl>\n";
}

std::string config_section(const RunReport& r) {
  if (r.config.empty()) return {};
  return fmt::format("<pre tabindex=\"0\" role=\"region\" aria-label=\"config.toml\">{}</pre>\n", escape(r.config));
}

constexpr std::string_view page_style =
    R"(*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1040px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:26px;line-height:1.25;margin:0;overflow-wrap:anywhere}
h2{font-size:18px;margin:40px 0 12px}
p{margin:6px 0 12px;max-width:72ch}
.lead,.words,caption,small,.note{color:var(--muted)}
.status{font-weight:600;overflow-wrap:anywhere}
.status::first-letter{text-transform:uppercase}
.failed{color:var(--bad)}
dl,dd,dt,figure{margin:0}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(200px,1fr));gap:12px;margin-top:20px}
.tile,figure,.scroll,pre,.facts{background:var(--surface);border:1px solid var(--grid);border-radius:8px}
.tile{padding:12px 14px}
.tile dt{color:var(--muted);font-size:13px}
.tile dd{font-size:22px;font-weight:600;line-height:1.3;font-variant-numeric:tabular-nums}
.tile small{display:block;font-size:12px;font-weight:400}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:16px}
figure{padding:14px 16px;min-width:0}
figcaption{font-weight:600}
.square{max-width:520px}
.chart{display:block;width:100%;height:auto;margin:6px 0}
.words{font-size:13px;margin:4px 0 8px}
summary{cursor:pointer;padding:4px 0}
figure summary{font-size:13px;color:var(--muted)}
details>.scroll{margin-top:8px}
section>details{margin-bottom:14px}
.scroll{overflow-x:auto;margin:0 0 14px;width:fit-content;max-width:100%}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:8px 10px;font-size:13px}
th,td{text-align:left;padding:5px 10px;border-top:1px solid var(--grid);vertical-align:top;white-space:nowrap}
thead th{color:var(--muted);font-weight:600;border-top:0;vertical-align:bottom}
tbody th{font-weight:500}
tfoot th,tfoot td{font-weight:600}
.n{text-align:right}
code,pre,.hash{font-family:ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",monospace;font-size:12.5px}
pre{margin:0;padding:14px 16px;overflow-x:auto;line-height:1.45}
.facts{padding:6px 16px}
.facts div{display:grid;grid-template-columns:clamp(96px,24%,170px) 1fr;gap:12px;padding:5px 0}
.facts div+div{border-top:1px solid var(--grid)}
.facts dt{color:var(--muted)}
.facts dd{overflow-wrap:anywhere}
:focus-visible{outline:2px solid var(--series-0);outline-offset:2px}
@media (max-width:520px){main{padding:20px 12px 40px}h1{font-size:22px}.tiles{grid-template-columns:1fr 1fr;gap:8px}.tile dd{font-size:19px}figure{padding:12px}}
@media print{body{background:none}figure,.tile{break-inside:avoid}}
)";

}  // namespace

std::string report_html(const RunReport& r) {
  // The policy forbids every load and every script, should a name ever slip through unescaped.
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src &#39;none&#39;; style-src &#39;unsafe-inline&#39;\"/>\n"
      "<title>{} \xc2\xb7 norma</title>\n<style>\n{}{}{}</style>\n</head>\n<body>\n<main>\n",
      escape(r.recipe), colour_style(), chart_style(), page_style);
  out += fmt::format("<header>\n<h1>{}</h1>\n", escape(r.recipe));
  if (!r.description.empty()) out += fmt::format("<p class=\"lead\">{}</p>\n", escape(r.description));
  if (!r.status.empty()) out += fmt::format("<p class=\"status{}\">{}</p>\n", r.failed ? " failed" : "", escape(r.status));
  out += final_figures(r) + "</header>\n";
  out += section("Curves", curves(r));
  out += section("Data", scatter_section(r));
  out += section("Epochs", epochs_section(r));
  out += section("Norms", batch_norm_section(r));
  out += section("Plan", plan_section(r));
  out += section("Configuration", config_section(r));
  out += section("Run and machine", facts_section(r));
  return out + "</main>\n</body>\n</html>\n";
}

std::string curves_svg(const RunReport& r) {
  std::string subtitle = r.status;
  if (!r.epochs.empty() && r.epochs.back().test_accuracy)
    subtitle = fmt::format("test accuracy {} after {} epochs", format_percent(*r.epochs.back().test_accuracy), r.epochs.size());
  std::vector<Panel> panels;
  if (r.scatter) panels.push_back(panel(*r.scatter));
  for (const Chart& c : {loss_chart(r), accuracy_chart(r)}) panels.push_back(panel(c));
  return svg_document(r.recipe, subtitle, panels);
}

}  // namespace norma::app
