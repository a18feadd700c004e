#include "apps/norma/report/pictures_section.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/norma/draw/markup.h"
#include "apps/norma/report/page.h"
#include "apps/norma/system/figures.h"

namespace norma::app {
namespace {

constexpr std::size_t most_in_matrix = 25;  // classes
constexpr std::size_t most_confusions = 30;
constexpr std::size_t shown_filters = 64;

struct ClassFigures {
  std::int64_t samples = 0, predicted = 0, right = 0;
};

std::vector<ClassFigures> class_figures(const Classification& c) {
  std::vector<ClassFigures> all(c.classes.size());
  for (std::size_t label = 0; label < all.size(); ++label)
    for (std::size_t predicted = 0; predicted < all.size(); ++predicted) {
      all[label].samples += c.count(label, predicted);
      all[predicted].predicted += c.count(label, predicted);
      if (label == predicted) all[label].right = c.count(label, predicted);
    }
  return all;
}

std::string share_of(std::int64_t part, std::int64_t all) {
  return all ? format_percent(static_cast<double>(part) / static_cast<double>(all)) : "\xe2\x80\x93";
}

// A cell of the matrix. The colour's strength is the root of the share of its row, so that rare mistakes are seen.
std::string cell(const Classification& c, std::size_t label, std::size_t predicted, std::int64_t samples) {
  const std::int64_t count = c.count(label, predicted);
  if (count == 0) return "<td class=\"n none\">0</td>";
  const double share = static_cast<double>(count) / static_cast<double>(samples);
  return fmt::format("<td class=\"n {}\" style=\"--strength:{:.0f}%\" title=\"{} taken for {}: {}\">{}</td>",
                     label == predicted ? "right" : "wrong", 50 * std::sqrt(share), escape(c.classes[label]), escape(c.classes[predicted]),
                     format_percent(share), count);
}

std::string matrix(const Classification& c, const std::vector<ClassFigures>& figures) {
  std::string out = fmt::format(
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Confusion matrix\">\n<table class=\"matrix\">\n<caption>Confusion "
      "matrix of {}: a row is the true class, a column the predicted one</caption>\n<thead><tr><th scope=\"col\">true class</th>",
      escape(c.data));
  for (const std::string& name : c.classes) out += fmt::format("<th scope=\"col\" class=\"n\">{}</th>", escape(name));
  out += "<th scope=\"col\" class=\"n\">recall</th></tr></thead>\n<tbody>\n";
  for (std::size_t label = 0; label < figures.size(); ++label) {
    out += fmt::format("<tr><th scope=\"row\">{}</th>", escape(c.classes[label]));
    for (std::size_t predicted = 0; predicted < figures.size(); ++predicted) out += cell(c, label, predicted, figures[label].samples);
    out += fmt::format("<td class=\"n\">{}</td></tr>\n", share_of(figures[label].right, figures[label].samples));
  }
  out += "</tbody>\n<tfoot><tr><th scope=\"row\">precision</th>";
  std::int64_t right = 0, samples = 0;
  for (const ClassFigures& f : figures) {
    out += fmt::format("<td class=\"n\">{}</td>", share_of(f.right, f.predicted));
    right += f.right, samples += f.samples;
  }
  return out + fmt::format("<td class=\"n\">{}</td></tr></tfoot>\n</table>\n</div>\n", share_of(right, samples));
}

// Pairs of a class and the wrong prediction for it, the commonest first.
Table confusions(const Classification& c, const std::vector<ClassFigures>& figures, std::size_t most) {
  struct Pair {
    std::size_t label, predicted;
    std::int64_t count;
  };
  std::vector<Pair> pairs;
  for (std::size_t label = 0; label < figures.size(); ++label)
    for (std::size_t predicted = 0; predicted < figures.size(); ++predicted)
      if (label != predicted && c.count(label, predicted)) pairs.push_back({label, predicted, c.count(label, predicted)});
  std::ranges::stable_sort(pairs, std::greater<>(), &Pair::count);
  pairs.resize(std::min(pairs.size(), most));
  Table t{"The commonest confusions", {{"true class"}, {"taken for"}, {"samples", true}, {"of the class", true}}, {}, {}};
  for (const Pair& p : pairs)
    t.rows.push_back({c.classes[p.label], c.classes[p.predicted], std::to_string(p.count), share_of(p.count, figures[p.label].samples)});
  return t;
}

Table class_table(const Classification& c, const std::vector<ClassFigures>& figures) {
  Table t{"Class by class", {{"class"}, {"samples", true}, {"recall", true}, {"precision", true}}, {}, {}};
  for (std::size_t k = 0; k < figures.size(); ++k)
    t.rows.push_back({c.classes[k], std::to_string(figures[k].samples), share_of(figures[k].right, figures[k].samples),
                      share_of(figures[k].right, figures[k].predicted)});
  return t;
}

std::string score(const Classification& c, double value) { return c.probabilities ? format_percent(value) : format_short(value); }

std::string picture(const Image& image, const std::string& alternative) {
  return fmt::format("<img src=\"{}\" alt=\"{}\" width=\"{}\" height=\"{}\"/>", png_data_uri(image), escape(alternative), image.width,
                     image.height);
}

std::string sample_list(const Classification& c, const std::vector<Classification::Shown>& shown) {
  std::string out = "<ul class=\"pictures\">\n";
  for (const Classification::Shown& s : shown) {
    const std::string &truth = c.classes[static_cast<std::size_t>(s.label)], &said = c.classes[static_cast<std::size_t>(s.predicted)];
    const bool right = s.label == s.predicted;
    out += fmt::format("<li>{}<span class=\"{}\">{} {}</span>", picture(s.image, fmt::format("sample {}, {}", s.sample, truth)),
                       right ? "said" : "said failed", escape(said), score(c, s.score));
    out += right ? "</li>\n" : fmt::format("<small>is {} ({})</small></li>\n", escape(truth), score(c, s.label_score));
  }
  return out + "</ul>\n";
}

}  // namespace

std::string confusion_section(const Classification& c) {
  const std::vector<ClassFigures> figures = class_figures(c);
  if (figures.size() <= most_in_matrix) return matrix(c, figures);
  return to_html(confusions(c, figures, most_confusions)) +
         collapsed(fmt::format("All {} classes", figures.size()), to_html(class_table(c, figures)));
}

std::string samples_section(const Classification& c) {
  if (c.first.empty() && c.worst.empty()) return {};
  const char* const what = c.probabilities ? "probability" : "output";
  std::string out;
  if (c.worst.empty()) out += fmt::format("<p>Every sample of {} is right.</p>\n", escape(c.data));
  else
    out += fmt::format(
               "<h3>Worst mistakes</h3>\n<p>The {} of {} with the largest loss: the predicted class and its {}, then the true class and "
               "its {}.</p>\n",
               c.worst.size() == 1 ? "mistake" : fmt::format("{} mistakes", c.worst.size()), escape(c.data), what, what) +
           sample_list(c, c.worst);
  return out +
         fmt::format("<h3>First samples</h3>\n<p>The net's predictions for the first {} of {}.</p>\n", c.first.size(), escape(c.data)) +
         sample_list(c, c.first);
}

std::optional<Filters> first_filters(const Checkpoint& model) {
  const auto is_filter = [](const StoredTensor& t) {
    return t.dtype == DType::f32 && t.shape.size() == 4 && t.name.ends_with("weight") && t.shape[2] * t.shape[3] > 1;
  };
  const auto found = std::ranges::find_if(model.tensors, is_filter);
  if (found == model.tensors.end()) return {};
  const std::vector<float> w = found->floats();
  if (!std::ranges::all_of(w, [](float v) { return std::isfinite(v); })) return {};
  Filters f;
  f.layer = found->name.substr(0, found->name.rfind('.'));
  f.count = found->shape[0], f.channels = found->shape[1];
  const auto area = static_cast<std::size_t>(found->shape[2] * found->shape[3]);
  const std::size_t shown = f.channels == 3 ? 3 : 1, stride = area * static_cast<std::size_t>(f.channels);
  for (std::size_t k = 0; k < std::min(static_cast<std::size_t>(f.count), shown_filters); ++k) {
    const std::span<const float> filter(w.data() + k * stride, area * shown);
    double largest = 0;
    for (const float v : filter) largest = std::max(largest, std::abs(static_cast<double>(v)));
    Image image{found->shape[2], found->shape[3], static_cast<int>(shown), {}};
    for (std::size_t i = 0; i < area; ++i)
      for (std::size_t c = 0; c < shown; ++c)
        image.pixels.push_back(
            static_cast<std::uint8_t>(std::lround(128 + (largest > 0 ? 127 * static_cast<double>(filter[c * area + i]) / largest : 0))));
    f.images.push_back(std::move(image));
    f.largest.push_back(largest);
  }
  return f;
}

std::string filters_section(const Filters& f) {
  const auto shown = static_cast<std::int64_t>(f.images.size());
  std::string out =
      fmt::format("<p>The {} filters of {}{}. Grey is 0, {}; each is scaled by its largest weight, the number below it.</p>\n",
                  shown == f.count ? std::to_string(f.count) : fmt::format("first {} of {}", shown, f.count), escape(f.layer),
                  f.channels == 1 || f.channels == 3 ? "" : fmt::format(", of each the first of {} channels", f.channels),
                  f.channels == 3 ? "a colour more or less of that channel" : "white positive, black negative");
  out += "<ul class=\"pictures\">\n";
  for (std::size_t k = 0; k < f.images.size(); ++k)
    out += fmt::format("<li>{}<small>{}</small></li>\n", picture(f.images[k], fmt::format("filter {} of {}", k, f.layer)),
                       format_short(f.largest[k]));
  return out + "</ul>\n";
}

}  // namespace norma::app
