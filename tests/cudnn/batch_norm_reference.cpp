// Batch norm in double, from the float inputs that norma and cuDNN get.
#include <algorithm>
#include <cmath>

#include "tests/cudnn/batch_norm.h"
#include "tests/support/cases.h"

namespace norma::test {
namespace {

template <class F>
void for_each_of_channel(const kernels::Dims& d, std::int64_t c, F f) {
  for (std::int64_t n = 0; n < d.n; ++n)
    for (std::int64_t i = 0; i < d.plane(); ++i) f(static_cast<std::size_t>((n * d.c + c) * d.plane() + i));
}

struct Moments {
  double mean, var;
};

// The corrected two-pass algorithm: the second pass also sums what rounding left of the mean.
Moments moments(const kernels::Dims& d, std::int64_t c, const std::vector<float>& x) {
  const double m = static_cast<double>(d.n * d.plane());
  double centre = 0, sum = 0, squares = 0;
  for_each_of_channel(d, c, [&](std::size_t i) { centre += static_cast<double>(x[i]); });
  centre /= m;
  for_each_of_channel(d, c, [&](std::size_t i) {
    const double off = static_cast<double>(x[i]) - centre;
    sum += off;
    squares += off * off;
  });
  return {centre + sum / m, (squares - sum * sum / m) / m};
}

}  // namespace

BatchNormInputs make_inputs(const BatchNormCase& c) {
  BatchNormInputs in;
  in.of = c;
  Random random(20261122);
  const kernels::Dims& d = c.shape;
  in.gamma = random.normals(d.c, 1, 0.5);
  in.beta = random.normals(d.c, 0, 1);
  in.x.resize(static_cast<std::size_t>(d.count()));
  for (std::int64_t channel = 0; channel < d.c; ++channel) {
    const double centre = c.mean + (c.offset ? 0 : c.deviation * random.normal());
    for_each_of_channel(d, channel, [&](std::size_t i) { in.x[i] = static_cast<float>(random.normal(centre, c.deviation)); });
    const Moments s = moments(d, channel, in.x);
    in.saved_mean.push_back(static_cast<float>(s.mean));
    in.saved_rstd.push_back(static_cast<float>(1 / std::sqrt(s.var + c.eps)));
    in.given_mean.push_back(static_cast<float>(s.mean + random.normal(0, 0.1 * c.deviation)));
    in.given_var.push_back(static_cast<float>(s.var * random.uniform(0.8, 1.2)));
    in.given_rstd.push_back(static_cast<float>(1 / std::sqrt(static_cast<double>(in.given_var.back()) + c.eps)));
  }
  in.dy = random.normals(d.count(), 0, 1);
  return in;
}

std::vector<BatchNormQuantity> expected_outputs(const BatchNormInputs& in) {
  const kernels::Dims& d = in.of.shape;
  const double m = static_cast<double>(in.of.channel_elements());
  const std::size_t elements = in.x.size();
  const double f = static_cast<double>(momentum);

  Quantity y{.name = "y"}, mean{.name = "mean"}, rstd{.name = "rstd"}, var{.name = "variance"};
  std::array<Quantity, 2> running_mean{{{.name = "running mean, 1st"}, {.name = "running mean, 2nd"}}};
  std::array<Quantity, 2> running_var{{{.name = "running variance, 1st"}, {.name = "running variance, 2nd"}}};
  Quantity y_inference{.name = "y, inference"}, dx{.name = "dx"}, dgamma{.name = "dgamma"}, dbeta{.name = "dbeta"};
  y.expected.resize(elements), y_inference.expected.resize(elements), dx.expected.resize(elements);

  double mean_in_y = 0;  // largest effect on y of an error of the mean's own size
  for (std::int64_t c = 0; c < d.c; ++c) {
    const auto at = static_cast<std::size_t>(c);
    const double gamma = static_cast<double>(in.gamma[at]), beta = static_cast<double>(in.beta[at]);
    const Moments s = moments(d, c, in.x);
    const double r = 1 / std::sqrt(s.var + in.of.eps), unbiased = s.var * m / (m - 1);
    mean.expected.push_back(s.mean);
    mean.scale = std::max({mean.scale, std::abs(s.mean), std::sqrt(s.var)});
    var.expected.push_back(s.var);
    rstd.expected.push_back(r);
    const double rest = 1 - f;
    running_mean[0].expected.push_back(f * s.mean);
    running_mean[1].expected.push_back(rest * f * s.mean + f * s.mean);
    running_var[0].expected.push_back(rest + f * unbiased);
    running_var[1].expected.push_back(rest * (rest + f * unbiased) + f * unbiased);
    mean_in_y = std::max(mean_in_y, std::abs(gamma * r * s.mean));

    const double given_mean = static_cast<double>(in.given_mean[at]);
    const double given_rstd = 1 / std::sqrt(static_cast<double>(in.given_var[at]) + in.of.eps);
    const double saved_mean = static_cast<double>(in.saved_mean[at]), saved_rstd = static_cast<double>(in.saved_rstd[at]);
    double sum = 0, product = 0, squares = 0, product_squares = 0;
    for_each_of_channel(d, c, [&](std::size_t i) {
      const double x = static_cast<double>(in.x[i]), g = static_cast<double>(in.dy[i]);
      const double z = gamma * ((x - s.mean) * r), given = gamma * ((x - given_mean) * given_rstd), t = g * ((x - saved_mean) * saved_rstd);
      y.expected[i] = z + beta;
      y_inference.expected[i] = given + beta;
      y.scale = std::max({y.scale, std::abs(z), std::abs(beta)});
      y_inference.scale = std::max({y_inference.scale, std::abs(given), std::abs(beta)});
      sum += g, product += t;
      squares += g * g, product_squares += t * t;
    });
    dbeta.expected.push_back(sum);
    dgamma.expected.push_back(product);
    dbeta.scale = std::max({dbeta.scale, std::abs(sum), std::sqrt(squares)});
    dgamma.scale = std::max({dgamma.scale, std::abs(product), std::sqrt(product_squares)});
    const double k = gamma * saved_rstd;
    for_each_of_channel(d, c, [&](std::size_t i) {
      const double g = static_cast<double>(in.dy[i]), xhat = (static_cast<double>(in.x[i]) - saved_mean) * saved_rstd;
      dx.expected[i] = k * (g - sum / m - xhat * product / m);
      dx.scale = std::max(dx.scale, std::abs(k) * std::max({std::abs(g), std::abs(sum / m), std::abs(xhat * product / m)}));
    });
  }
  y.floor += ulp * mean_in_y / y.scale;  // the mean is a float
  rstd.scale = largest(rstd.expected);
  rstd.floor = 1e-6;  // half the variance's error, and two roundings
  for (Quantity* q : {&var, &running_var[0], &running_var[1]}) q->floor = 1e-6, q->beside_cudnn = false;
  running_mean[0].scale = f * mean.scale;
  running_mean[1].scale = f * (2 - f) * mean.scale;
  dx.floor = 6 * ulp;                     // three terms
  dgamma.floor = dbeta.floor = 16 * ulp;  // sums of floats

  using Outputs = const BatchNormOutputs&;
  using Member = const std::vector<float>&;
  std::vector<BatchNormQuantity> all;
  all.push_back({std::move(y), [](Outputs o) -> Member { return o.y; }});
  all.push_back({std::move(mean), [](Outputs o) -> Member { return o.mean; }});
  all.push_back({std::move(rstd), [](Outputs o) -> Member { return o.rstd; }});
  all.push_back({std::move(var), [](Outputs o) -> Member { return o.var; }});
  all.push_back({std::move(running_mean[0]), [](Outputs o) -> Member { return o.running_mean[0]; }});
  all.push_back({std::move(running_mean[1]), [](Outputs o) -> Member { return o.running_mean[1]; }});
  all.push_back({std::move(running_var[0]), [](Outputs o) -> Member { return o.running_var[0]; }});
  all.push_back({std::move(running_var[1]), [](Outputs o) -> Member { return o.running_var[1]; }});
  all.push_back({std::move(y_inference), [](Outputs o) -> Member { return o.y_inference; }});
  all.push_back({std::move(dx), [](Outputs o) -> Member { return o.dx; }});
  all.push_back({std::move(dgamma), [](Outputs o) -> Member { return o.dgamma; }});
  all.push_back({std::move(dbeta), [](Outputs o) -> Member { return o.dbeta; }});
  return all;
}

}  // namespace norma::test
