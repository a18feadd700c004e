// Cases: losses.
#include "tests/support/cases.h"

namespace norma::test {
namespace {

using namespace kernels;

struct Entropy {
  std::string name;
  std::int64_t n, classes;
  Reduction reduction = Reduction::mean;
  double smoothing = 0;
  std::int32_t ignore_index = -100;
  int ignored_every = 0;  // period in samples of the ignored ones
  double spread = 3;      // of the logits
  bool gradient = true;
};

CallCase cross_entropy(const Entropy& p, int lanes) {
  CallCase c(lanes);
  SoftmaxCrossEntropy call{
      .dims = c.dims(p.n, p.classes), .reduction = p.reduction, .smoothing = p.smoothing, .ignore_index = p.ignore_index};
  call.loss = c.add_loss();
  if (p.gradient) call.dlogits = c.out_gradient("dlogits", call.dims);
  call.partial = c.scratch("partial", p.n * 8);
  call.logits = c.in("logits", call.dims, normal(0, p.spread));
  const auto label = [p](std::int64_t e, Random& r) {
    const double drawn = static_cast<double>(r.below(p.classes));
    return p.ignored_every != 0 && e % p.ignored_every == 0 ? static_cast<double>(p.ignore_index) : drawn;
  };
  call.labels = c.flat("labels", p.n, label, DType::i32);
  return c.call(call);
}

CallCase squared_error(std::int64_t n, std::int64_t features, Reduction reduction, bool gradient, int lanes) {
  CallCase c(lanes);
  MeanSquaredError call{.dims = c.dims(n, features), .reduction = reduction};
  call.loss = c.add_loss();
  if (gradient) call.dx = c.out_gradient("dx", call.dims);
  call.partial = c.scratch("partial", n * 8);
  call.x = c.in("x", call.dims, normal());
  call.target = c.in("target", call.dims, normal());
  return c.call(call);
}

}  // namespace

void add_loss_cases(std::vector<Case>& table) {
  for (const Entropy& p : std::vector<Entropy>{{"mnist", 37, 10},
                                               {"n1", 1, 10},
                                               {"n15_sum", 15, 10, Reduction::sum},
                                               {"n16_two_classes", 16, 2},
                                               {"n17_one_class", 17, 1},
                                               {"n256", 256, 10},
                                               {"n1100", 1100, 10},
                                               {"n300_c100_smoothed", 300, 100, Reduction::mean, 0.1},
                                               {"smoothed_sum", 17, 6, Reduction::sum, 0.3},
                                               {"ignored", 37, 10, Reduction::mean, 0, -100, 3},
                                               {"ignored_class", 37, 10, Reduction::mean, 0.1, 4, 5},
                                               {"ignored_sum", 37, 10, Reduction::sum, 0, -1, 2},
                                               {"all_ignored_sum", 17, 10, Reduction::sum, 0, -100, 1},
                                               {"all_ignored_mean", 17, 10, Reduction::mean, 0, -100, 1},
                                               {"confident", 37, 10, Reduction::mean, 0, -100, 0, 40},
                                               {"no_gradient", 37, 10, Reduction::mean, 0, -100, 0, 3, false}})
    table.push_back({"softmax_cross_entropy_" + p.name, [p](int lanes) { return cross_entropy(p, lanes); }});
  for (const auto& [n, features] :
       std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 1}, {15, 3}, {16, 10}, {37, 17}, {300, 10}, {1100, 2}})
    for (Reduction reduction : {Reduction::mean, Reduction::sum})
      for (bool gradient : {true, false}) {
        const std::string name =
            "n" + std::to_string(n) + (reduction == Reduction::mean ? "_mean" : "_sum") + (gradient ? "" : "_no_gradient");
        table.push_back({"mean_squared_error_" + name,
                         [=, n = n, f = features](int lanes) { return squared_error(n, f, reduction, gradient, lanes); }});
      }
}

void add_large_loss_cases(std::vector<Case>& table) {
  constexpr std::int64_t many = beyond_16_bits;
  for (const Entropy& p : std::vector<Entropy>{{"many_samples", many, 10}, {"many_classes", 5, many, Reduction::mean, 0.1}})
    table.push_back({"softmax_cross_entropy_" + p.name, [p](int lanes) { return cross_entropy(p, lanes); }});
  table.push_back({"mean_squared_error_many_samples", [](int lanes) { return squared_error(many, 10, Reduction::mean, true, lanes); }});
  table.push_back({"mean_squared_error_many_features", [](int lanes) { return squared_error(3, many, Reduction::mean, true, lanes); }});
}

}  // namespace norma::test
