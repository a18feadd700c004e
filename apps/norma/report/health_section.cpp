#include "apps/norma/report/health_section.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>

#include "apps/norma/draw/markup.h"
#include "apps/norma/report/page.h"
#include "apps/norma/report/tables.h"
#include "apps/norma/system/figures.h"

namespace norma::app {
namespace {

// ---- tables of the last epoch

std::string optional_number(const std::optional<double>& v) { return v ? format_number(*v) : dash; }
std::string spread(const std::optional<ChannelSpread>& s) {
  return s ? fmt::format("{} \xc2\xb7 {} \xc2\xb7 {}", format_number(s->least), format_number(s->mean), format_number(s->largest)) : dash;
}

Table norm_table(const EpochHealth& h) {
  Table t{fmt::format("Batch norms after epoch {}", h.epoch),
          {{"layer", false},
           {"channels", true},
           {"mean off by (std)", true},
           {"variance ratio", true},
           {"\xce\xb3: least \xc2\xb7 mean \xc2\xb7 largest", true},
           {"\xce\xb2", true},
           {"\xce\xb3 near 0", true},
           {"dead", true}},
          {},
          {}};
  for (const NormHealth& n : h.norms)
    t.rows.push_back({n.layer, std::to_string(n.channels), optional_number(n.mean_drift), optional_number(n.variance_ratio),
                      spread(n.gamma), spread(n.beta), n.gamma ? std::to_string(n.switched_off.size()) : dash,
                      std::to_string(n.dead.size())});
  return t;
}

Table table_of_activations(const EpochHealth& h) {
  Table t{fmt::format("Activations after epoch {}", h.epoch),
          {{"layer", false}, {"kind", false}, {"saturated", true}, {"dead channels", true}},
          {},
          {}};
  for (const ActivationHealth& a : h.activations)
    t.rows.push_back({a.layer, name_of(a.kind), traits(a.kind).saturates() ? format_percent(a.saturated) : dash,
                      traits(a.kind).can_die() ? std::to_string(a.dead.size()) : dash});
  return t;
}

// ---- charts

// One series for each of the last epoch's layers, the first eight; value(epoch, layer's number) may be NaN.
Chart by_layer(std::span<const EpochHealth> epochs, const char* title, const std::vector<std::string>& layers,
               const std::function<double(const EpochHealth&, std::size_t)>& value) {
  Chart c;
  c.title = title;
  c.x_name = "epoch";
  for (const EpochHealth& h : epochs) c.x.push_back(static_cast<double>(h.epoch));
  for (std::size_t k = 0; k < std::min(most_series, layers.size()); ++k) {
    Series s;
    s.name = layers[k];
    for (const EpochHealth& h : epochs) s.y.push_back(value(h, k));
    c.series.push_back(std::move(s));
  }
  return c;
}

std::string charts(std::span<const EpochHealth> epochs) {
  const EpochHealth& last = epochs.back();
  std::vector<std::string> norms, activations;
  for (const NormHealth& n : last.norms)
    if (n.mean_drift) norms.push_back(n.layer);
  for (const ActivationHealth& a : last.activations) activations.push_back(a.layer);
  const auto of_norm = [&](std::optional<double> NormHealth::*figure) {
    return [&norms, figure](const EpochHealth& h, std::size_t k) {
      const auto found = std::ranges::find(h.norms, norms[k], &NormHealth::layer);
      return found == h.norms.end() ? no_point : ((*found).*figure).value_or(no_point);
    };
  };
  std::string out;
  if (!norms.empty()) {
    Chart drift = by_layer(epochs, "Batch mean off the running mean, in standard deviations", norms, of_norm(&NormHealth::mean_drift));
    drift.from_zero = true;
    out += figure(drift) + figure(by_layer(epochs, "Batch variance / running variance", norms, of_norm(&NormHealth::variance_ratio)));
  }
  if (!activations.empty()) {
    Chart saturated = by_layer(epochs, "Saturated outputs", activations, [&](const EpochHealth& h, std::size_t k) {
      const auto found = std::ranges::find(h.activations, activations[k], &ActivationHealth::layer);
      return found == h.activations.end() ? no_point : found->saturated;
    });
    saturated.unit = Chart::Unit::percent;
    out += figure(saturated);
  }
  if (!last.norms.empty()) {
    Chart gap = by_layer(epochs, "Loss of the same samples in both modes", {"training", "evaluation"},
                         [](const EpochHealth& h, std::size_t k) { return k == 0 ? h.train_loss : h.evaluation_loss; });
    gap.scale = Chart::Scale::automatic;
    out += figure(gap);
  }
  return "<div class=\"figures\">\n" + out + "</div>\n";
}

// ---- histograms by epoch

// The indices of the epochs that are shown, of n.
std::vector<std::size_t> columns_of(std::size_t n) {
  constexpr std::size_t most_columns = 40;
  const std::size_t columns = std::min(most_columns, n);
  std::vector<std::size_t> all;
  for (std::size_t k = 0; k < columns; ++k) all.push_back(columns == 1 ? n - 1 : k * (n - 1) / (columns - 1));
  return all;
}

// The histograms that are shown, all on one grid of at most most_bins bins.
HistogramsByEpoch on_one_grid(const HistogramsByEpoch& all) {
  constexpr std::int64_t most_bins = 64;
  HistogramsByEpoch h{all.title, {}, {}};
  for (const std::size_t i : columns_of(all.epochs.size())) {
    h.epochs.push_back(all.epochs[i]);
    h.histograms.push_back(all.histograms[i]);
  }
  double width = std::ranges::max(h.histograms, {}, &Histogram::width).width;
  for (;; width *= 2) {
    std::int64_t first = std::numeric_limits<std::int64_t>::max(), end = std::numeric_limits<std::int64_t>::min();
    for (Histogram& one : h.histograms) {
      one = coarsen(one, width);
      first = std::min(first, one.first);
      end = std::max(end, one.first + static_cast<std::int64_t>(one.counts.size()));
    }
    if (end - first <= most_bins) return h;
  }
}

std::int64_t total(const Histogram& h) { return std::accumulate(h.counts.begin(), h.counts.end(), std::int64_t{0}); }

// Value below which `share` of the counted values lies, interpolated linearly between the edges of its bin.
double quantile(const Histogram& h, double share) {
  const double wanted = share * static_cast<double>(total(h));
  double below = 0;
  for (std::size_t i = 0; i < h.counts.size(); ++i) {
    const auto here = static_cast<double>(h.counts[i]);
    if (below + here >= wanted && here > 0)
      return h.width * (static_cast<double>(h.first) + static_cast<double>(i) + (wanted - below) / here);
    below += here;
  }
  return h.width * static_cast<double>(h.first + static_cast<std::int64_t>(h.counts.size()));
}

std::string words_of(const HistogramsByEpoch& h) {
  const auto one = [](const Histogram& d) {
    return fmt::format("nine tenths from {} to {}, median {}", format_short(quantile(d, 0.05)), format_short(quantile(d, 0.95)),
                       format_short(quantile(d, 0.5)));
  };
  std::string text = fmt::format("Epoch {}: {}", h.epochs.front(), one(h.histograms.front()));
  if (h.epochs.size() > 1) text += fmt::format("; epoch {}: {}", h.epochs.back(), one(h.histograms.back()));
  return text + ".";
}

Table quantile_table(const HistogramsByEpoch& h) {
  Table t{h.title + " by epoch",
          {{"epoch", true},
           {"5 %", true},
           {"25 %", true},
           {"median", true},
           {"75 %", true},
           {"95 %", true},
           {"zeros", true},
           {"not finite", true}},
          {},
          {}};
  for (std::size_t i = 0; i < h.epochs.size(); ++i) {
    const Histogram& d = h.histograms[i];
    std::vector<std::string> row{std::to_string(h.epochs[i])};
    for (const double share : {0.05, 0.25, 0.5, 0.75, 0.95}) row.push_back(format_short(quantile(d, share)));
    row.push_back(std::to_string(d.zeros));
    row.push_back(std::to_string(d.not_finite));
    t.rows.push_back(std::move(row));
  }
  return t;
}

std::string histograms_of(std::span<const EpochHealth> epochs, const std::string& title,
                          const std::function<const Histogram*(const EpochHealth&)>& get) {
  std::vector<const EpochHealth*> with;
  for (const EpochHealth& h : epochs)
    if (const Histogram* d = get(h); d && !d->counts.empty()) with.push_back(&h);
  if (with.empty()) return {};
  HistogramsByEpoch all{title, {}, {}};
  for (const std::size_t i : columns_of(with.size())) {
    all.epochs.push_back(with[i]->epoch);
    all.histograms.push_back(*get(*with[i]));
  }
  return figure(panel(all), quantile_table(on_one_grid(all)));
}

std::string layer_histograms(std::span<const EpochHealth> epochs) {
  struct Kind {
    const char* title;
    Histogram NormHealth::*histogram;
  };
  constexpr std::array<Kind, 4> kinds = {{{"{}: input", &NormHealth::before},
                                          {"{}: output", &NormHealth::after},
                                          {"{}: log10 |gradient| by its input", &NormHealth::gradient_before},
                                          {"{}: log10 |gradient| by its output", &NormHealth::gradient_after}}};
  std::string out;
  for (const NormHealth& n : epochs.back().norms) {
    std::string pictures;
    for (const Kind& kind : kinds)
      pictures += histograms_of(epochs, fmt::format(fmt::runtime(kind.title), n.layer), [&](const EpochHealth& h) -> const Histogram* {
        const auto found = std::ranges::find(h.norms, n.layer, &NormHealth::layer);
        return found == h.norms.end() ? nullptr : &((*found).*(kind.histogram));
      });
    out += collapsed(n.layer + ", histograms by epoch", "<div class=\"figures\">\n" + pictures + "</div>\n");
  }
  std::string inputs;
  for (const ActivationHealth& a : epochs.back().activations)
    inputs += histograms_of(epochs, a.layer + ": input", [&](const EpochHealth& h) -> const Histogram* {
      const auto found = std::ranges::find(h.activations, a.layer, &ActivationHealth::layer);
      return found == h.activations.end() ? nullptr : &found->input;
    });
  return inputs.empty() ? out
                        : out + collapsed("Inputs of activations, histograms by epoch", "<div class=\"figures\">\n" + inputs + "</div>\n");
}

std::string finding_list(const EpochHealth& h) {
  if (h.findings.empty()) return fmt::format("<p>Nothing remarkable after epoch {}.</p>\n", h.epoch);
  std::string list;
  for (const std::string& f : h.findings) list += fmt::format("<li>{}</li>\n", escape(f));
  return fmt::format("<p>After epoch {}:</p>\n<ul>\n{}</ul>\n", h.epoch, list);
}

}  // namespace

Panel panel(const HistogramsByEpoch& all) {
  constexpr double width = 400, height = 250, left = 52, right = 388, top = 12, bottom = 212;
  constexpr std::size_t shades = 8;
  const HistogramsByEpoch h = on_one_grid(all);
  const double bin = h.histograms[0].width;
  std::int64_t first = std::numeric_limits<std::int64_t>::max(), end = std::numeric_limits<std::int64_t>::min();
  double largest = 0;
  for (const Histogram& d : h.histograms) {
    first = std::min(first, d.first), end = std::max(end, d.first + static_cast<std::int64_t>(d.counts.size()));
    for (const std::int64_t n : d.counts) largest = std::max(largest, static_cast<double>(n) / static_cast<double>(total(d)));
  }
  const double cell_w = (right - left) / static_cast<double>(h.epochs.size()), cell_h = (bottom - top) / static_cast<double>(end - first);
  const auto y_of = [&](double v) { return bottom - (v / bin - static_cast<double>(first)) * cell_h; };
  // A path for each shade keeps the page small.
  std::array<std::string, shades> cells;
  std::string columns;
  for (std::size_t k = 0; k < h.epochs.size(); ++k) {
    const Histogram& d = h.histograms[k];
    const double x = left + static_cast<double>(k) * cell_w;
    for (std::size_t i = 0; i < d.counts.size(); ++i) {
      const double share = static_cast<double>(d.counts[i]) / static_cast<double>(total(d));
      if (d.counts[i] == 0) continue;
      const auto shade = static_cast<std::size_t>(std::ceil(std::sqrt(share / largest) * shades));  // the square root shows tails, too
      const double y = y_of(bin * static_cast<double>(d.first + static_cast<std::int64_t>(i) + 1));
      cells[std::clamp<std::size_t>(shade, 1, shades) - 1] +=
          fmt::format("M{:.1f} {:.1f}h{:.1f}v{:.1f}h-{:.1f}z", x, y, cell_w, cell_h, cell_w);
    }
    columns += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.0f}\" width=\"{:.1f}\" height=\"{:.0f}\" fill=\"transparent\"><title>epoch {}: 5 % {}, median {}, 95 % "
        "{}</title></rect>",
        x, top, cell_w, bottom - top, h.epochs[k], format_short(quantile(d, 0.05)), format_short(quantile(d, 0.5)),
        format_short(quantile(d, 0.95)));
  }
  Panel p{all.title, words_of(h), {}, width, height};
  for (std::size_t s = 0; s < shades; ++s)
    if (!cells[s].empty())
      p.body +=
          fmt::format("<path style=\"fill:var(--series-0);fill-opacity:{:.2f}\" d=\"{}\"/>", static_cast<double>(s + 1) / shades, cells[s]);
  const double low = bin * static_cast<double>(first), high = bin * static_cast<double>(end);
  for (const double t : linear_axis(low, high, 5).ticks)
    if (t >= low && t <= high)
      p.body += fmt::format("<path class=\"grid\" d=\"M{:.0f} {:.1f}h-5\"/><text class=\"tick end\" x=\"{:.0f}\" y=\"{:.1f}\">{}</text>",
                            left, y_of(t), left - 7, y_of(t) + 4, format_short(t));
  p.body += fmt::format("<path class=\"axis\" d=\"M{:.0f} {:.0f}H{:.0f}\"/>", left, bottom, right);
  for (const std::size_t k : {std::size_t{0}, h.epochs.size() - 1})
    p.body += fmt::format("<text class=\"tick middle\" x=\"{:.1f}\" y=\"{:.0f}\">{}</text>", left + (static_cast<double>(k) + 0.5) * cell_w,
                          bottom + 17, h.epochs[k]);
  p.body += fmt::format("<text class=\"tick middle\" x=\"{:.0f}\" y=\"{:.0f}\">epoch</text>", (left + right) / 2, height - 5) + columns;
  return p;
}

std::string health_section(std::span<const EpochHealth> epochs) {
  if (epochs.empty() || (epochs.back().norms.empty() && epochs.back().activations.empty())) return {};
  const EpochHealth& last = epochs.back();
  std::string out = fmt::format(
      "<p>Measured after each logged epoch on the same {} training samples, without changing the run. Drift: the batch\xe2\x80\x99s "
      "statistics "
      "against the running ones. Saturated: a sigmoid below 0.05 or above 0.95, |tanh| above 0.9, a ReLU\xe2\x80\x99s zeros. Dead: a "
      "channel whose "
      "ReLU gives 0 for all of them. Histograms: of the first of these samples, as many as have {} values, 16 at least.</p>\n",
      last.samples, histogram_values);
  out += finding_list(last);
  if (!last.norms.empty()) out += to_html(norm_table(last));
  if (!last.activations.empty()) out += to_html(table_of_activations(last));
  out += charts(epochs) + layer_histograms(epochs);
  constexpr std::size_t most_lists = 100;
  std::vector<const EpochHealth*> with;
  for (const EpochHealth& h : epochs.first(epochs.size() - 1))
    if (!h.findings.empty()) with.push_back(&h);
  if (with.empty()) return out;
  std::string earlier;
  for (std::size_t i = with.size() - std::min(with.size(), most_lists); i < with.size(); ++i) earlier += finding_list(*with[i]);
  return out + collapsed(with.size() <= most_lists
                             ? "Findings of earlier epochs"
                             : fmt::format("Findings of earlier epochs, the last {} of {}; health.jsonl has all", most_lists, with.size()),
                         earlier);
}

}  // namespace norma::app
