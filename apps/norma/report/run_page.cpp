// The page of a run: its sections, top to bottom.
#include "apps/norma/report/run_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "apps/norma/draw/markup.h"
#include "apps/norma/report/health_section.h"
#include "apps/norma/report/page.h"
#include "apps/norma/report/pictures_section.h"
#include "apps/norma/system/figures.h"

namespace norma::app {
namespace {

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
  for (const EpochMetrics& m : r.epochs) c.x.push_back(static_cast<double>(m.epoch));
  c.series = std::move(series);
  return c;
}

Chart loss_chart(const RunReport& r) {
  std::vector<Series> series = {{"train", column(r, [](const EpochMetrics& m) { return m.train_loss; })}};
  if (std::ranges::any_of(r.epochs, [](const EpochMetrics& m) { return m.test_loss.has_value(); }))
    series.push_back({"test", column(r, [](const EpochMetrics& m) { return m.test_loss.value_or(no_point); })});
  Chart c = by_epoch(r, "Loss", std::move(series));
  c.scale = r.log_loss ? Chart::Scale::logarithmic : Chart::Scale::automatic;
  return c;
}

Chart accuracy_chart(const RunReport& r) {
  std::vector<Series> series = {{"train", column(r, [](const EpochMetrics& m) { return m.train_accuracy; })}};
  if (std::ranges::any_of(r.epochs, [](const EpochMetrics& m) { return m.test_accuracy.has_value(); }))
    series.push_back({"test", column(r, [](const EpochMetrics& m) { return m.test_accuracy.value_or(no_point); })});
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
  Chart c = by_epoch(r, "Seconds",
                     {{"training", column(r, [](const EpochMetrics& m) { return m.train_seconds; })},
                      {"with evaluation", column(r, [](const EpochMetrics& m) { return m.seconds; })}});
  c.unit = Chart::Unit::seconds;
  c.from_zero = true;
  return c;
}

// ---- sections

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

std::string curves(const RunReport& r) {
  if (r.epochs.empty()) return "<p>No epoch has finished yet, so there are no curves.</p>\n";
  std::string out = "<div class=\"figures\">\n";
  for (const Chart& c : {loss_chart(r), accuracy_chart(r), learning_rate_chart(r), seconds_chart(r)}) out += figure(c);
  return out + "</div>\n";
}

std::string scatter_section(const RunReport& r) {
  if (!r.scatter) return {};
  return "<div class=\"figures\">\n" + figure(large_panel(*r.scatter), scatter_table(*r.scatter)) + "</div>\n";
}

std::string epochs_section(const RunReport& r) {
  if (r.epochs.empty()) return {};
  constexpr std::size_t at_once = 30;
  Chart figures = loss_chart(r);
  for (Series& s : accuracy_chart(r).series) figures.series.push_back(std::move(s));
  std::vector<EpochMetrics> rows;
  for (const std::size_t i : shown_points(figures, most_rows)) rows.push_back(r.epochs[i]);
  const std::string table = to_html(epochs_table(rows));
  if (rows.size() <= at_once) return table;
  if (rows.size() == r.epochs.size()) return collapsed(fmt::format("All {} epochs", rows.size()), table);
  return collapsed(
      fmt::format("{} of {} epochs: where a figure is extreme within its part; metrics.jsonl has all", rows.size(), r.epochs.size()),
      table);
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

// Time of a step by kind of Call.
std::string timed_calls(const RunReport& r) {
  if (r.call_seconds.empty())
    return "<p>The time of each call was not measured: the run was too short for three more steps, or it did not end well. norma "
           "bench calls measures it.</p>\n";
  return fmt::format(
             "<p>Measured at the end of the run, medians of {} steps whose calls ran one by one, which keeps them from being overlapped as "
             "they are in training.</p>\n",
             r.timed_steps) +
         to_html(call_kinds_table(r.plan, r.call_seconds));
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
         timed_calls(r) + collapsed("The calls", to_html(plan_table(r.plan, r.call_seconds))) + to_html(memory_table(r.memory));
}

std::string facts_section(const RunReport& r) {
  std::vector<std::pair<std::string, std::string>> rows = r.facts;
  if (!r.epochs.empty()) rows.emplace_back("Parameters\xe2\x80\x99 hash", r.epochs.back().parameters_hash);
  for (auto& row : describe(r.environment)) rows.push_back(std::move(row));
  return facts(rows);
}

std::string config_section(const RunReport& r) {
  if (r.config.empty()) return {};
  return fmt::format("<pre tabindex=\"0\" role=\"region\" aria-label=\"config.toml\">{}</pre>\n", escape(r.config));
}

}  // namespace

std::string report_html(const RunReport& r) {
  std::string out = open_page(r.recipe, r.description);
  if (!r.status.empty()) out += fmt::format("<p class=\"status{}\">{}</p>\n", r.failed ? " failed" : "", escape(r.status));
  out += final_figures(r) + "</header>\n";
  out += section("Curves", curves(r));
  out += section("Data", scatter_section(r));
  out += section("Epochs", epochs_section(r));
  if (r.test) {
    out += section("Confusions", confusion_section(*r.test));
    out += section("Samples", samples_section(*r.test));
  }
  if (const std::optional<Filters> filters = first_filters(r.model)) out += section("First filters", filters_section(*filters));
  out += section("Norms", batch_norm_section(r));
  out += section(r.health.empty() || !r.health.back().norms.empty() ? "Batch norm health" : "Activations", health_section(r.health));
  out += section("Plan", plan_section(r));
  out += section("Configuration", config_section(r));
  out += section("Run and machine", facts_section(r));
  return out += close_page();
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
