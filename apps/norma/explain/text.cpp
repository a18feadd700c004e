// `norma explain batchnorm` as a page of 80 columns, and as JSON.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/norma/explain/batch_norm.h"
#include "apps/norma/files/json_lines.h"

namespace norma::app {
namespace {

using nlohmann::ordered_json;

// Cells of 8 characters, all whole numbers or all with four decimals.
std::string cells(const std::vector<double>& values, std::size_t begin, std::size_t count, bool whole) {
  std::string out;
  for (std::size_t i = begin; i < begin + count; ++i) {
    const double v = std::abs(values[i]) < 5e-5 ? 0 : values[i];  // no "-0.0000"
    out += whole ? fmt::format("{:8.0f}", v) : fmt::format("{:8.4f}", v);
  }
  return out;
}

bool all_whole(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return v == std::round(v); });
}

class Page {
 public:
  void text(std::string_view line) { out_ += fmt::format("{}{}\n", line.empty() ? "" : "   ", line); }
  void heading(int number, std::string_view title) { out_ += fmt::format("\n{}. {}\n", number, title); }
  void plain(std::string_view line) { out_ += fmt::format("{}\n", line); }

  // A value for each channel.
  void row(std::string_view label, const std::vector<double>& values) {
    out_ += fmt::format("   {:<38}{}\n", label, cells(values, 0, values.size(), all_whole(values)));
  }
  void number(std::string_view label, const std::string& value) { out_ += fmt::format("   {:<38}{:>8}\n", label, value); }

  // (N,C): the samples below each other. (N,C,H,W): the channels side by side, under the label.
  void tensor(std::string_view label, const Tensor& t) {
    const bool whole = all_whole(t.values);
    const auto dim = [&](int i) { return static_cast<std::size_t>(t.shape[i]); };
    if (t.shape.rank() == 2) {
      for (std::size_t n = 0; n < dim(0); ++n)
        out_ += fmt::format("   {:<38}{}\n", n == 0 ? label : "", cells(t.values, n * dim(1), dim(1), whole));
      return;
    }
    text(label);
    for (std::size_t n = 0; n < dim(0); ++n)
      for (std::size_t h = 0; h < dim(2); ++h) {
        std::string line = "  ";
        for (std::size_t c = 0; c < dim(1); ++c) line += " " + cells(t.values, ((n * dim(1) + c) * dim(2) + h) * dim(3), dim(3), whole);
        out_ += line + "\n";
      }
  }

  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

void normalised_batch(Page& page, const NormalisedBatch& b) {
  page.tensor("x", b.x);
  page.row("mean", b.mean);
  page.tensor("x - mean", b.centred);
  page.row("variance: the mean of its square", b.variance);
  page.tensor("(x - mean) / sqrt(variance + eps)", b.normalised);
  page.row("gamma", b.gamma);
  page.row("beta", b.beta);
  page.tensor("gamma * that + beta", b.scaled);
  page.tensor("y of nn::BatchNorm", b.norma_scaled);
  page.number("largest difference", fmt::format("{:.0e}", b.difference));
}

void axes(Page& page, const BatchNormExplained& e) {
  const NormalisedBatch& b = e.channels;
  page.tensor("x", b.x);
  const char* const names[] = {"the samples", "the height", "the width"};
  const int axis[] = {0, 2, 3};
  for (std::size_t i = 0; i < b.means.size(); ++i)
    page.tensor(fmt::format("mean over axis {}, {}: {}", axis[i], names[i], to_string(b.means[i].shape)), b.means[i]);
  page.row("nn::AvgPool2d over 2, then over 3", e.pooled.back().values);
  page.row("nn::BatchNorm's mean over (0, 2, 3)", b.norma_mean);
  page.row("and its variance, divided by 9", b.norma_variance);
}

void running(Page& page, const BatchNormExplained& e) {
  const RunningStatistics& r = e.running;
  page.text("Training normalises with the batch's statistics and moves running averages of");
  page.text(fmt::format("them, which evaluation uses. They start at 0 and 1; momentum is {}.", r.momentum));
  page.text("");
  page.row("mean of the batch", r.batch_mean);
  page.row("unbiased variance, divided by 8", r.unbiased_variance);
  page.row(fmt::format("running_mean = {0} * 0 + {1} * mean", 1 - r.momentum, r.momentum), r.mean);
  page.row(fmt::format("running_var = {0} * 1 + {1} * variance", 1 - r.momentum, r.momentum), r.variance);
  page.text("");
  page.text("So the batch's first value, 0, is not the same in training and evaluation:");
  page.row("training", {r.first_in_training});
  page.row("evaluation after that one step", {r.first_in_evaluation});
  page.row(fmt::format("evaluation after {} such steps", r.many), {r.first_after_many});
}

void saturation(Page& page, const Saturation& s) {
  page.text("Far from 0 a tanh is flat: two very different inputs give almost the same");
  page.text("output, and hardly a gradient comes back. Normalised, they stay distinct.");
  page.text("");
  page.row("x", s.x);
  page.row("tanh(x)", s.tanh);
  page.text(fmt::format("{:<38}{:>8.1e}{:>8.1e}", "its slope", s.slope[0], s.slope[1]));
  page.row("nn::BatchNorm of the batch (5, 40)", s.normalised);
  page.row("tanh of that", s.tanh_after);
  page.row("its slope", s.slope_after);
}

void undone(Page& page, const Undone& u) {
  page.text("Normalising takes nothing from what a net can express: with this gamma and");
  page.text("this beta, which it could learn, a batch norm is the identity.");
  page.text("");
  page.row("gamma = sqrt(variance + eps)", u.gamma);
  page.row("beta = mean", u.beta);
  page.tensor("y of nn::BatchNorm on arange(18) as (1, 2, 3, 3)", u.y);
  page.number("largest difference from x", fmt::format("{:.0e}", u.difference));
}

void momentum(Page& page, const BatchNormExplained& e) {
  page.text("norma and PyTorch: the weight of the new value,");
  page.text("    running = (1 - momentum) * running + momentum * batch");
  page.text("Keras, and most batch norms written by hand: the weight of the old one,");
  page.text("    running = momentum * running + (1 - momentum) * batch");
  page.text("so their 0.9 is 0.1 here. running_mean from 0, each batch with a mean of 4:");
  page.text("");
  std::string head = fmt::format("{:<21}", "steps");
  for (const int s : e.steps) head += fmt::format("{:>8}", s);
  page.text(head);
  for (const Momentum& m : e.momenta) {
    const std::string name = m.momentum ? fmt::format("momentum {}", *m.momentum) : "none: the average";
    page.text(fmt::format("{:<21}{}", name, cells(m.running_mean, 0, m.running_mean.size(), false)));
  }
}

ordered_json json_of(const Tensor& t) {
  return {{"shape", std::vector<std::int64_t>(t.shape.begin(), t.shape.end())}, {"values", t.values}};
}

ordered_json json_of(const std::vector<Tensor>& tensors) {
  ordered_json list = ordered_json::array();
  for (const Tensor& t : tensors) list.push_back(json_of(t));
  return list;
}

ordered_json json_of(const NormalisedBatch& b) {
  return {{"x", json_of(b.x)},
          {"means_axis_by_axis", json_of(b.means)},
          {"mean", b.mean},
          {"variance", b.variance},
          {"centred", json_of(b.centred)},
          {"normalised", json_of(b.normalised)},
          {"gamma", b.gamma},
          {"beta", b.beta},
          {"scaled", json_of(b.scaled)},
          {"norma_mean", b.norma_mean},
          {"norma_variance", b.norma_variance},
          {"norma_scaled", json_of(b.norma_scaled)},
          {"largest_difference", b.difference}};
}

}  // namespace

std::string to_text(const BatchNormExplained& e) {
  Page page;
  page.plain("Batch norm, step by step. All is computed now, nothing is quoted: by hand in");
  page.plain(fmt::format("double, and by norma's kernels (nn::BatchNorm run alone). eps is {}.", e.eps));
  page.heading(1, "Features: arange(6) as (3, 2), 3 samples of 2 features");
  page.text("Each feature is normalised over the samples, axis 0.");
  page.text("");
  normalised_batch(page, e.features);
  page.heading(2, "Images: arange(18) as (1, 2, 3, 3), 1 sample of 2 channels, 3 x 3");
  page.text("Each channel is normalised over samples, height and width: axes 0, 2 and 3.");
  page.text("");
  normalised_batch(page, e.image);
  page.heading(3, "A mean over (0, 2, 3) is three means: arange(27) as (1, 3, 3, 3)");
  axes(page, e);
  page.heading(4, "Running statistics, after one step on that batch");
  running(page, e);
  page.heading(5, "Why: tanh(5) is about tanh(40)");
  saturation(page, e.saturation);
  page.heading(6, "gamma and beta can undo it");
  undone(page, e.undone);
  page.heading(7, "Two meanings of momentum");
  momentum(page, e);
  return page.take();
}

std::string to_json(const BatchNormExplained& e) {
  ordered_json momenta = ordered_json::array();
  for (const Momentum& m : e.momenta)
    momenta.push_back({{"momentum", m.momentum ? ordered_json(*m.momentum) : ordered_json(nullptr)}, {"running_mean", m.running_mean}});
  const RunningStatistics& r = e.running;
  const Saturation& s = e.saturation;
  return json_document({{"topic", "batchnorm"},
                        {"eps", e.eps},
                        {"features", json_of(e.features)},
                        {"image", json_of(e.image)},
                        {"channels", json_of(e.channels)},
                        {"average_pooled", json_of(e.pooled)},
                        {"running",
                         {{"momentum", r.momentum},
                          {"batch_mean", r.batch_mean},
                          {"unbiased_variance", r.unbiased_variance},
                          {"running_mean", r.mean},
                          {"running_var", r.variance},
                          {"first_value_in_training", r.first_in_training},
                          {"first_value_in_evaluation", r.first_in_evaluation},
                          {"steps", r.many},
                          {"first_value_in_evaluation_after_steps", r.first_after_many}}},
                        {"saturation",
                         {{"x", s.x},
                          {"tanh", s.tanh},
                          {"slope", s.slope},
                          {"normalised", s.normalised},
                          {"tanh_normalised", s.tanh_after},
                          {"slope_normalised", s.slope_after}}},
                        {"undone",
                         {{"gamma", e.undone.gamma},
                          {"beta", e.undone.beta},
                          {"x", json_of(e.undone.x)},
                          {"y", json_of(e.undone.y)},
                          {"largest_difference", e.undone.difference}}},
                        {"momentum", {{"steps", e.steps}, {"runs", momenta}}}});
}

}  // namespace norma::app
