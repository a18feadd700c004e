// Tables of the report: epochs, batch norms, plan, memory.
#include "apps/norma/report/tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <numeric>

#include "apps/norma/draw/markup.h"
#include "apps/norma/report/norm_layers.h"
#include "apps/norma/system/figures.h"

namespace norma::app {
namespace {

std::string optional_text(const std::optional<double>& v, std::string (*format)(double)) { return v ? format(*v) : dash; }

// "0.812 · 0.998 · 1.164"
std::string spread(const std::vector<float>& values) {
  if (values.empty()) return dash;
  double sum = 0;
  for (const float v : values) sum += v;
  const auto [least, most] = std::ranges::minmax(values);
  return fmt::format("{} \xc2\xb7 {} \xc2\xb7 {}", format_number(least), format_number(sum / static_cast<double>(values.size())),
                     format_number(most));
}

std::string at(const std::vector<float>& values, std::size_t i) { return i < values.size() ? format_number(values[i]) : dash; }

std::string format_microseconds(double s) { return fmt::format("{:.1f} \xc2\xb5s", s * 1e6); }

// "conv1 (256, 6, 24, 24), ..."; a value with no name stands for itself by its role.
std::string operands(const PlanLine& line, bool written) {
  std::string out;
  for (const PlanOperand& o : line.operands) {
    if (o.written != written) continue;
    if (!out.empty()) out += ", ";
    out += fmt::format("{} {}", o.value.empty() ? o.role : o.value, to_string(o.shape));
  }
  return out.empty() ? dash : out;
}

}  // namespace

std::string to_html(const Table& t) {
  const auto cell = [&](const char* tag, std::size_t i, const std::string& text, const char* scope) {
    const bool number = i < t.columns.size() && t.columns[i].number;
    if (i < t.columns.size() && t.columns[i].bar && *scope == '\0')
      return fmt::format("<{0} class=\"n bar\" style=\"--share:{1:.1f}%\">{2}</{0}>", tag, std::strtod(text.c_str(), nullptr),
                         escape(text));
    return fmt::format("<{0}{1}{2}>{3}</{0}>", tag, number ? " class=\"n\"" : "", scope, escape(text));
  };
  const auto row = [&](const std::vector<std::string>& cells) {
    std::string out = "<tr>";
    for (std::size_t i = 0; i < cells.size(); ++i) out += i == 0 ? cell("th", i, cells[i], " scope=\"row\"") : cell("td", i, cells[i], "");
    return out + "</tr>\n";
  };
  std::string out =
      fmt::format("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\">\n<table>\n<caption>{0}</caption>\n<thead><tr>",
                  escape(t.caption));
  for (std::size_t i = 0; i < t.columns.size(); ++i) out += cell("th", i, t.columns[i].name, " scope=\"col\"");
  out += "</tr></thead>\n<tbody>\n";
  for (const std::vector<std::string>& cells : t.rows) out += row(cells);
  out += "</tbody>\n";
  if (!t.total.empty()) out += "<tfoot>\n" + row(t.total) + "</tfoot>\n";
  return out + "</table>\n</div>\n";
}

Table epochs_table(std::span<const EpochMetrics> epochs) {
  Table t{"Figures by epoch",
          {{"epoch", true},
           {"train loss", true},
           {"test loss", true},
           {"train accuracy", true},
           {"test accuracy", true},
           {"learning rate", true},
           {"time", true},
           {"samples/s", true},
           {"parameters\xe2\x80\x99 hash", false}},
          {},
          {}};
  for (const EpochMetrics& m : epochs)
    t.rows.push_back({std::to_string(m.epoch), format_number(m.train_loss), optional_text(m.test_loss, format_number),
                      format_percent(m.train_accuracy), optional_text(m.test_accuracy, format_percent), format_short(m.learning_rate),
                      format_seconds(m.seconds), format_count(m.samples_per_second), m.parameters_hash});
  return t;
}

std::vector<BatchNormLayer> batch_norm_layers(const Checkpoint& model) {
  std::vector<BatchNormLayer> layers;
  const auto values = [](const StoredTensor* t) { return t ? t->floats() : std::vector<float>(); };
  for_each_norm(model, [&](const NormTensors& n) {
    layers.push_back({n.path, values(n.gamma), values(n.beta), values(n.running_mean), values(n.running_var), n.batches});
  });
  return layers;
}

Table batch_norm_table(std::span<const BatchNormLayer> layers) {
  Table t{"Norms as saved: least \xc2\xb7 mean \xc2\xb7 largest over the channels",
          {{"layer", false},
           {"channels", true},
           {"\xce\xb3 (weight)", true},
           {"\xce\xb2 (bias)", true},
           {"running mean", true},
           {"running variance", true},
           {"batches", true}},
          {},
          {}};
  for (const BatchNormLayer& l : layers)
    t.rows.push_back({l.path, std::to_string(std::max(l.gamma.size(), l.running_mean.size())), spread(l.gamma), spread(l.beta),
                      spread(l.running_mean), spread(l.running_var), l.batches ? std::to_string(*l.batches) : dash});
  return t;
}

Table channel_table(const BatchNormLayer& l) {
  Table t{l.path + ", channel by channel",
          {{"channel", true}, {"\xce\xb3", true}, {"\xce\xb2", true}, {"running mean", true}, {"running variance", true}},
          {},
          {}};
  for (std::size_t c = 0; c < std::max(l.gamma.size(), l.running_mean.size()); ++c)
    t.rows.push_back({std::to_string(c), at(l.gamma, c), at(l.beta, c), at(l.running_mean, c), at(l.running_var, c)});
  return t;
}

Table plan_table(std::span<const PlanLine> plan, std::span<const double> seconds) {
  Table t{"Calls of one training step, in order", {{"#", true}, {"call"}, {"module"}, {"options"}}, {}, {}};
  const bool timed = !seconds.empty();
  if (timed) t.columns.insert(t.columns.end(), {{"time", true}, {"of the step", true, true}});
  t.columns.insert(t.columns.end(), {{"moved", true}, {"computed", true}, {"writes"}, {"reads"}});
  const double all = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  double bytes = 0, flops = 0;
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const PlanLine& l = plan[i];
    t.rows.push_back({std::to_string(i), l.call, l.path, l.detail});
    if (timed) t.rows.back().insert(t.rows.back().end(), {format_microseconds(seconds[i]), format_percent(seconds[i] / all)});
    t.rows.back().insert(t.rows.back().end(), {format_bytes(l.bytes), format_flops(l.flops), operands(l, true), operands(l, false)});
    bytes += l.bytes;
    flops += l.flops;
  }
  t.total = {"", "sum", "", ""};
  if (timed) t.total.insert(t.total.end(), {format_microseconds(all), format_percent(1)});
  t.total.insert(t.total.end(), {format_bytes(bytes), format_flops(flops), "", ""});
  return t;
}

Table call_kinds_table(std::span<const PlanLine> plan, std::span<const double> seconds) {
  struct Kind {
    std::string name;
    std::int64_t calls = 0;
    double seconds = 0;
  };
  std::map<std::string, Kind> by_name;
  for (std::size_t i = 0; i < plan.size(); ++i) {
    Kind& k = by_name[plan[i].call];
    k.name = plan[i].call;
    ++k.calls;
    k.seconds += seconds[i];
  }
  std::vector<Kind> kinds;
  for (const auto& [name, kind] : by_name) kinds.push_back(kind);
  std::ranges::stable_sort(kinds, std::greater<>(), &Kind::seconds);
  const double all = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  Table t{"Time of a training step by kind of call", {{"call"}, {"calls", true}, {"time", true}, {"of the step", true, true}}, {}, {}};
  for (const Kind& k : kinds)
    t.rows.push_back({k.name, std::to_string(k.calls), format_microseconds(k.seconds), format_percent(k.seconds / all)});
  t.total = {"sum", std::to_string(plan.size()), format_microseconds(all), format_percent(1)};
  return t;
}

Table scatter_table(const Scatter& s) {
  Table t;
  t.caption = s.title;
  t.columns = {{"class", false}, {"points", true}};
  const bool has_net = s.side > 1;
  if (has_net) t.columns.insert(t.columns.end(), {{"on its side", true}, {"on the other", true}});
  for (int c = 0; c < 2; ++c) {
    const auto of_class = [&](const Scatter::Point& p) { return p.label == c; };
    const auto mistaken = [&](const Scatter::Point& p) { return p.label == c && p.mistaken; };
    const auto count = std::count_if(s.points.begin(), s.points.end(), of_class);
    const auto wrong = std::count_if(s.points.begin(), s.points.end(), mistaken);
    t.rows.push_back({s.names[c], fmt::format("{}", count)});
    if (has_net) t.rows.back().insert(t.rows.back().end(), {fmt::format("{}", count - wrong), fmt::format("{}", wrong)});
  }
  return t;
}

Table memory_table(const MemoryReport& memory) {
  Table t{"Memory by region", {{"region", false}, {"size", true}}, {}, {}};
  double sum = 0;
  for (std::size_t i = 0; i < region_count; ++i) {
    const auto bytes = static_cast<double>(memory.bytes[i]);
    t.rows.push_back({name_of(static_cast<Region>(i)), format_bytes(bytes)});
    sum += bytes;
  }
  t.total = {"sum", format_bytes(sum)};
  return t;
}

}  // namespace norma::app
