// The promise of the batch statistics: relative error of the variance against double <= 1e-6 for |mean|/std up to 1e5. It is measured and
// printed. Then the effects that a reduction must not have on constant and on non-finite data.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <limits>

#include "kernels/cuda/backend.h"
#include "tests/cuda/gpu.h"

namespace norma::test {
namespace {

using kernels::BatchNormStatistics;

struct Shaped {
  const char* name;
  Dims dims;
};

std::vector<Shaped> shapes() {
  constexpr int lanes = kernels::cuda::lanes;
  return {{"LeNet conv1 (256,6,24,24), lanes", {256, 6, 24, 24, lanes}},
          {"LeNet conv2 (256,16,8,8), lanes", {256, 16, 8, 8, lanes}},
          {"LeNet fc1 (256,120), lanes", {256, 120, 1, 1, lanes}},
          {"LeNet conv1 (256,6,24,24), NCHW", {256, 6, 24, 24, 1}},
          {"fc (1000,40), NCHW", {1000, 40, 1, 1, 1}},
          {"partial group (37,3,5,7), lanes", {37, 3, 5, 7, lanes}},
          {"large plane (3,2,613,509), NCHW", {3, 2, 613, 509, 1}}};
}

CallCase statistics(const Dims& d, Generator x) {
  CallCase c(d.lanes);
  BatchNormStatistics call{.dims = d};
  call.mean = c.flat("mean", d.c);
  call.var = c.flat("var", d.c);
  call.rstd = c.flat("rstd", d.c);
  call.partial = c.scratch("partial", call.partial_bytes());
  call.x = c.in("x", d, std::move(x));
  return c.call(call);
}

struct Statistics {
  std::vector<double> x, mean, var;  // x: as the GPU got it, NCHW
};

Statistics measure(const CallCase& c) {
  Statistics s;
  const auto& call = std::get<BatchNormStatistics>(c.plan.calls[0].call);
  s.x = c.inputs(case_seed)[static_cast<std::size_t>(call.x.index)];
  PlanMemory memory(c.plan);
  memory.write(call.x, s.x, 1e3);
  on_gpu(c, Placement::together)(c.plan.calls[0].call, memory);
  s.mean = memory.read(call.mean), s.var = memory.read(call.var);
  return s;
}

// Mean and biased variance of channel c, two passes in long double.
std::pair<double, double> exact(const std::vector<double>& x, const Dims& d, std::int64_t c) {
  const auto sum = [&](auto f) {
    long double all = 0;
    for (std::int64_t n = 0; n < d.n; ++n)
      for (std::int64_t i = 0; i < d.plane(); ++i)
        all += f(static_cast<long double>(x[static_cast<std::size_t>((n * d.c + c) * d.plane() + i)]));
    return all / static_cast<long double>(d.n * d.plane());
  };
  const long double mean = sum([](long double v) { return v; });
  return {static_cast<double>(mean), static_cast<double>(sum([&](long double v) { return (v - mean) * (v - mean); }))};
}

// Data: normal, and a ramp, whose partial sums all lie to one side.
TEST(CudaVariance, KeepsItsDigitsFarFromZero) {
  std::printf("worst relative error of the variance (bound 1e-6) and error of the mean in std, on the GPU\n%-36s %-7s", "", "");
  const double ratios[] = {0, 1e2, 1e4, 1e5};
  for (const double ratio : ratios) std::printf("  |mean|/std %-8.0e", ratio);
  std::printf("\n");
  for (const Shaped& s : shapes())
    for (const bool ramp : {false, true}) {
      const Dims d = s.dims;
      std::printf("%-36s %-7s", s.name, ramp ? "ramp" : "normal");
      for (const double ratio : ratios) {
        const double m = static_cast<double>(d.n * d.features());
        const Statistics k = measure(statistics(
            d, [=](std::int64_t e, Random& r) { return -ratio + (ramp ? (static_cast<double>(e) / m - 0.5) * 3.46 : r.normal()); }));
        double worst = 0, worst_mean = 0;
        for (std::int64_t c = 0; c < d.c; ++c) {
          const auto [mean, var] = exact(k.x, d, c);
          const double is = k.var[static_cast<std::size_t>(c)], error = std::abs(is - var) / var;
          EXPECT_LE(error, 1e-6) << s.name << ", mean/std " << ratio << ", channel " << c << ": " << is << " instead of " << var;
          worst = std::max(worst, error);
          worst_mean = std::max(worst_mean, std::abs(k.mean[static_cast<std::size_t>(c)] - mean) / std::sqrt(var));
        }
        std::printf("  %.1e, %.1e  ", worst, worst_mean);
      }
      std::printf("\n");
    }
}

TEST(CudaVariance, OfAConstantChannelIsZero) {
  for (const Shaped& s : shapes())
    for (const double value : {0.0, 0.1, -1234.567, 1e30, 1e-30}) {
      const Statistics k = measure(statistics(s.dims, constant(value)));
      for (std::int64_t c = 0; c < s.dims.c; ++c) {
        EXPECT_EQ(k.var[static_cast<std::size_t>(c)], 0) << s.name << ", " << value;
        EXPECT_EQ(k.mean[static_cast<std::size_t>(c)], static_cast<double>(static_cast<float>(value))) << s.name;
      }
    }
}

// NaN or infinity in the data must reach the statistics, or nothing would stop a step that has gone wrong.
TEST(CudaVariance, NonFiniteDataShow) {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
    for (const Shaped& s : shapes()) {
      const Dims d = s.dims;
      const std::int64_t at = d.count() - 1;  // of the last channel
      const Statistics k = measure(statistics(d, [=](std::int64_t e, Random& r) { return e == at ? bad : r.normal(); }));
      EXPECT_TRUE(std::isfinite(k.var[0])) << s.name;
      EXPECT_FALSE(std::isfinite(k.mean.back())) << s.name;
      EXPECT_TRUE(std::isnan(k.var.back())) << s.name << ": " << k.var.back();
    }
}

}  // namespace
}  // namespace norma::test
