// Kernels against numbers from outside: worked examples, the promised accuracy of the variance, ties and NaN.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>

#include "kernels/cpu/backend.h"
#include "src/verify/reference.h"
#include "tests/support/cases.h"
#include "tests/support/plan_memory.h"
#include "tests/support/sanitizers.h"

namespace norma::test {
namespace {

using namespace kernels;
using Numbers = std::vector<double>;

Generator given(Numbers values) {
  return [values = std::move(values)](std::int64_t e, Random&) { return values.at(static_cast<std::size_t>(e)); };
}

// The results of a case's Calls, by name.
struct Results {
  std::map<std::string, Numbers> tensors;
  LossResult loss{};
  StepState state{};
  const Numbers& operator[](const char* name) const { return tensors.at(name); }
};

Results run_on(const cpu::Backend& backend, const CallCase& c) {
  PlanMemory memory(c.plan);
  const auto inputs = c.inputs(1);
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (c.values[i].fill) memory.write(ValueId{static_cast<std::int32_t>(i)}, inputs[i], c.values[i].padding == Padding::zero ? 0 : 1e3);
  if (c.state_value) memory.as<StepState>(c.state_value) = c.state;
  for (const PlanCall& call : c.plan.calls) backend.run(call.call, Part::whole, memory.view());
  Results r;
  for (const PlanValue& v : c.plan.values)
    if (v.dtype != DType::bytes) r.tensors[v.name] = memory.read(c.plan.names.at(v.name));
  if (c.loss_value) r.loss = memory.as<LossResult>(c.loss_value);
  if (c.state_value) r.state = memory.as<StepState>(c.state_value);
  return r;
}

Results run_on_reference(const CallCase& c) {
  reference::Reference reference(c.plan);
  const auto inputs = c.inputs(1);
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (c.values[i].fill) reference.write(c.plan, ValueId{static_cast<std::int32_t>(i)}, inputs[i]);
  if (c.state_value) reference.state(c.plan, c.state_value) = c.state;
  reference.run(c.plan);
  Results r;
  for (const PlanValue& v : c.plan.values)
    if (v.dtype != DType::bytes) r.tensors[v.name] = reference.read(v.name);
  if (c.loss_value) {
    const auto& l = reference.loss(c.plan, c.loss_value);
    r.loss = {l.loss, l.loss_sum, l.correct, l.counted};
  }
  if (c.state_value) r.state = reference.state(c.plan, c.state_value);
  return r;
}

// Runs body(results) for every CPU level and for the reference.
template <class F>
void on_every_interpreter(const CallCase& c, F body) {
  for (const cpu::Backend& backend : cpu::backends()) {
    SCOPED_TRACE(backend.isa);
    body(run_on(backend, c));
  }
  SCOPED_TRACE("reference");
  body(run_on_reference(c));
}

void expect_near(const Numbers& actual, const Numbers& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], tolerance) << "element " << i;
}

// A training forward of BatchNorm: statistics, y, running statistics.
struct Training {
  CallCase c{cpu::lanes};
  BatchNormStatistics statistics;
  explicit Training(const Dims& d, Generator x) {
    statistics.dims = d;
    statistics.x = c.in("x", d, std::move(x));
    statistics.mean = c.flat("mean", d.c);
    statistics.var = c.flat("var", d.c);
    statistics.rstd = c.flat("rstd", d.c);
    statistics.partial = c.scratch("partial", statistics.partial_bytes());
    c.call(statistics);
  }
  void apply() {
    const ValueId y = c.out("y", statistics.dims);
    c.call(BatchNormApply{.y = y, .x = statistics.x, .mean = statistics.mean, .rstd = statistics.rstd, .dims = statistics.dims});
  }
  void update(Numbers mean, Numbers var, double tracked, bool cumulative) {
    const Dims& d = statistics.dims;
    BatchNormRunningUpdate::Layer u{.channels = d.c, .count = d.n * d.plane(), .cumulative = cumulative};
    u.running_mean = c.flat("running_mean", d.c, given(std::move(mean)));
    u.running_var = c.flat("running_var", d.c, given(std::move(var)));
    u.tracked = c.flat("tracked", 1, constant(tracked), DType::i64);
    u.mean = statistics.mean;
    u.var = statistics.var;
    c.call(BatchNormRunningUpdate{.layers = {u}, .used = 1});
  }
};

Numbers counting(std::size_t n, double from) {
  Numbers v(n);
  std::iota(v.begin(), v.end(), from);
  return v;
}

TEST(BatchNormValues, OfAFreshLayerOnArange27) {
  Training t({1, 3, 3, 3, cpu::lanes}, given(counting(27, 0)));
  t.apply();
  t.update({0, 0, 0}, {1, 1, 1}, 0, false);
  Numbers y;
  for (int c = 0; c < 3; ++c)
    for (double v : {-1.5492, -1.1619, -0.7746, -0.3873, 0.0, 0.3873, 0.7746, 1.1619, 1.5492}) y.push_back(v);
  on_every_interpreter(t.c, [&](const Results& r) {
    expect_near(r["mean"], {4, 13, 22}, 0);
    expect_near(r["y"], y, 5e-5);
    expect_near(r["running_mean"], {0.4, 1.3, 2.2}, 1e-6);
    expect_near(r["running_var"], {1.65, 1.65, 1.65}, 1e-6);
    EXPECT_EQ(r["tracked"], Numbers{1});
  });
}

TEST(BatchNormValues, OfRunningStatisticsOverTwoBatches) {
  struct Step {
    double x, mean, var, tracked, next_mean, next_var;
    bool cumulative;
  };
  for (const Step& s : {Step{1, 0, 1, 0, 0.25, 1.0666666, false}, Step{11, 0.25, 1.0666666, 1, 1.475, 1.1266665, false},
                        Step{1, 0, 1, 0, 2.5, 1.6666666, true}, Step{11, 2.5, 1.6666666, 1, 7.5, 1.6666666, true}}) {
    Training t({4, 1, 1, 1, cpu::lanes}, given(counting(4, s.x)));
    t.update({s.mean}, {s.var}, s.tracked, s.cumulative);
    on_every_interpreter(t.c, [&](const Results& r) {
      expect_near(r["running_mean"], {s.next_mean}, 1e-6);
      expect_near(r["running_var"], {s.next_var}, 1e-6);
      EXPECT_EQ(r["tracked"], Numbers{s.tracked + 1});
    });
  }
}

// Relative error of the variance <= 1e-6 for |mean|/std up to 1e5. Data: normal, and a ramp, whose partial sums all lie to one side.
TEST(BatchNormValues, VarianceKeepsItsDigitsFarFromZero) {
  for (double ratio : {0.0, 1e2, 1e4, 1e5}) {
    double worst = 0;
    for (double deviation : {1e-3, 1.0, 300.0})
      for (bool ramp : {false, true})
        for (const Dims& d : {Dims{33, 2, 28, 28, cpu::lanes}, Dims{37, 3, 5, 7, cpu::lanes}, Dims{1000, 2, 1, 1, cpu::lanes}}) {
          const double m = static_cast<double>(d.n * d.features());
          const Generator x = [=](std::int64_t e, Random& r) {
            const double z = ramp ? (static_cast<double>(e) / m - 0.5) * 3.46 : r.normal();
            return -ratio * deviation + deviation * z;
          };
          Training t(d, x);
          const Numbers values = t.c.inputs(1)[static_cast<std::size_t>(t.statistics.x.index)];  // rounded to float
          on_every_interpreter(t.c, [&](const Results& r) {
            for (std::int64_t c = 0; c < d.c; ++c) {
              long double sum = 0, squares = 0;
              const auto for_each = [&](auto f) {
                for (std::int64_t n = 0; n < d.n; ++n)
                  for (std::int64_t i = 0; i < d.plane(); ++i)
                    f(static_cast<long double>(values[static_cast<std::size_t>((n * d.c + c) * d.plane() + i)]));
              };
              for_each([&](long double v) { sum += v; });
              const long double count = static_cast<long double>(d.n * d.plane()), mean = sum / count;
              for_each([&](long double v) { squares += (v - mean) * (v - mean); });
              const double exact = static_cast<double>(squares / count), k = r["var"][static_cast<std::size_t>(c)];
              worst = std::max(worst, std::abs(k - exact) / exact);
              EXPECT_LE(std::abs(k - exact) / exact, 1e-6)
                  << "mean/std " << ratio << ", std " << deviation << (ramp ? ", ramp" : ", normal") << ", N " << d.n << ", channel " << c
                  << ": " << k << " instead of " << exact;
            }
          });
        }
    std::printf("|mean|/std %g: the variance is off by %.1e at worst\n", ratio, worst);
  }
}

TEST(BatchNormValues, AConstantChannelHasVarianceZero) {
  for (double value : {0.0, 0.1, -1234.567, 1e30, 1e-30})
    for (std::int64_t n : {2, 17, 333}) {
      Training t({n, 2, 5, 3, cpu::lanes}, constant(value));
      t.apply();
      on_every_interpreter(t.c, [&](const Results& r) {
        EXPECT_EQ(r["var"], (Numbers{0, 0})) << value;
        EXPECT_EQ(r["mean"], (Numbers(2, static_cast<double>(static_cast<float>(value)))));
        EXPECT_EQ(r["y"], Numbers(r["y"].size(), 0));
      });
    }
}

// NaN or infinity in the data must reach the statistics, or nothing would stop a step that has gone wrong.
TEST(BatchNormValues, NonFiniteDataShowInTheStatistics) {
  for (double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    Training t({17, 2, 3, 3, cpu::lanes}, [=](std::int64_t e, Random& r) { return e == 16 * 18 + 17 ? bad : r.normal(); });
    on_every_interpreter(t.c, [&](const Results& r) {
      EXPECT_TRUE(std::isfinite(r["var"][0]));
      EXPECT_FALSE(std::isfinite(r["mean"][1]));
      EXPECT_TRUE(std::isnan(r["var"][1])) << r["var"][1];
    });
  }
}

CallCase squared_error(Reduction reduction) {
  CallCase c(cpu::lanes);
  MeanSquaredError call{.dims = c.dims(2, 3), .reduction = reduction};
  call.loss = c.add_loss();
  call.dx = c.out_gradient("dx", call.dims);
  call.partial = c.scratch("partial", 16);
  call.x = c.in("x", call.dims, given({1, 2, 3, 4, 5, 6}));
  call.target = c.in("target", call.dims, given({0, 2, 5, 4, 4, 4}));  // squares 1 0 4, 0 1 4
  return c.call(call);
}

TEST(LossValues, MeanSquaredError) {
  on_every_interpreter(squared_error(Reduction::mean), [](const Results& r) {
    EXPECT_NEAR(r.loss.loss, 10.0 / 6, 1e-7);
    EXPECT_NEAR(r.loss.loss_sum, 5.0 / 3 + 5.0 / 3, 1e-7);
    EXPECT_EQ(r.loss.correct, 1);  // 3 and 5 stand alike; 6 and the first 4 do not
    EXPECT_EQ(r.loss.counted, 2);
    expect_near(r["dx"], {1.0 / 3, 0, -2.0 / 3, 0, 1.0 / 3, 2.0 / 3}, 1e-7);
  });
  on_every_interpreter(squared_error(Reduction::sum), [](const Results& r) {
    EXPECT_EQ(r.loss.loss, 10);
    EXPECT_EQ(r.loss.loss_sum, 10);
    expect_near(r["dx"], {2, 0, -4, 0, 2, 4}, 0);
  });
}

CallCase cross_entropy(const Numbers& labels, SoftmaxCrossEntropy call = {}) {
  CallCase c(cpu::lanes);
  const std::int64_t n = static_cast<std::int64_t>(labels.size());
  call.dims = c.dims(n, 3);
  call.loss = c.add_loss();
  call.dlogits = c.out_gradient("dlogits", call.dims);
  call.partial = c.scratch("partial", n * 8);
  call.logits =
      c.in("logits", call.dims, [](std::int64_t e, Random&) { return std::log(1.0 + static_cast<double>(e % 3)); });  // p = 1/6 1/3 1/2
  call.labels = c.flat("labels", n, given(labels), DType::i32);
  return c.call(call);
}

TEST(LossValues, CrossEntropy) {
  on_every_interpreter(cross_entropy({2, 0}), [](const Results& r) {
    EXPECT_NEAR(r.loss.loss, 1.2424533, 2e-7);  // (ln 2 + ln 6) / 2
    EXPECT_NEAR(r.loss.loss_sum, 2.4849066, 4e-7);
    EXPECT_EQ(r.loss.correct, 1);
    EXPECT_EQ(r.loss.counted, 2);
    expect_near(r["dlogits"], {1.0 / 12, 1.0 / 6, -0.25, -5.0 / 12, 1.0 / 6, 0.25}, 1e-7);
  });
  on_every_interpreter(cross_entropy({2, -100}, {.reduction = Reduction::mean, .smoothing = 0.3}), [](const Results& r) {
    EXPECT_NEAR(r.loss.loss, 0.8435549, 2e-7);  // 0.1 ln 6 + 0.1 ln 3 + 0.8 ln 2
    EXPECT_EQ(r.loss.correct, 1);
    EXPECT_EQ(r.loss.counted, 1);
    expect_near(r["dlogits"], {1.0 / 6 - 0.1, 1.0 / 3 - 0.1, -0.3, 0, 0, 0}, 1e-7);
  });
  on_every_interpreter(cross_entropy({1, 1}, {.reduction = Reduction::sum, .ignore_index = 1}), [](const Results& r) {
    EXPECT_EQ(r.loss.loss, 0);
    EXPECT_EQ(r.loss.counted, 0);
    EXPECT_EQ(r["dlogits"], Numbers(6, 0));
  });
  on_every_interpreter(cross_entropy({1}, {.ignore_index = 1}), [](const Results& r) {
    EXPECT_TRUE(std::isnan(r.loss.loss));  // 0 / 0, as in PyTorch
    EXPECT_EQ(r.loss.loss_sum, 0);
    EXPECT_EQ(r["dlogits"], Numbers(3, 0));
  });
}

CallCase max_pool(const Numbers& x) {
  CallCase c(cpu::lanes);
  MaxPoolForward call{.shape = {c.dims(1, 1, 2, 4), c.dims(1, 1, 1, 2), {2, 2, 2, 2}}};
  call.y = c.out("y", call.shape.y);
  call.argmax = c.indices("argmax", call.shape.y, DType::u8, {});
  call.x = c.in("x", call.shape.x, given(x));
  return c.call(call);
}

TEST(MaxPoolValues, TheFirstOfEqualMaximaAndNaNWin) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  on_every_interpreter(max_pool({5, 5, 1, 7, 5, 5, 7, 7}), [](const Results& r) {
    EXPECT_EQ(r["y"], (Numbers{5, 7}));
    EXPECT_EQ(r["argmax"], (Numbers{0, 1}));
  });
  on_every_interpreter(max_pool({1, nan, -inf, -inf, 3, 2, -inf, -inf}), [](const Results& r) {
    EXPECT_TRUE(std::isnan(r["y"][0]));
    EXPECT_EQ(r["y"][1], -std::numeric_limits<double>::infinity());
    EXPECT_EQ(r["argmax"], (Numbers{1, 0}));
  });
  on_every_interpreter(max_pool({3, 2, 9, 1, 1, nan, nan, 2}), [](const Results& r) {
    EXPECT_TRUE(std::isnan(r["y"][0]));
    EXPECT_TRUE(std::isnan(r["y"][1]));
    EXPECT_EQ(r["argmax"], (Numbers{3, 2}));
  });
}

TEST(ActivationValues, NaNPassesThrough) {
  for (const ActivationTraits& t : activation_table) {
    CallCase c(cpu::lanes);
    ActivationForward call{.dims = c.dims(2, 1), .act = t.act, .option = static_cast<float>(t.standard)};
    call.y = c.out("y", call.dims);
    call.x = c.in("x", call.dims, given({std::numeric_limits<double>::quiet_NaN(), 0.5}));
    on_every_interpreter(c.call(call), [&](const Results& r) {
      EXPECT_TRUE(std::isnan(r["y"][0])) << t.name;
      EXPECT_FALSE(std::isnan(r["y"][1])) << t.name;
    });
  }
}

// More than a usual last-level cache holds is written past it; cut into packs of samples the same Call is not.
template <class C>
void expect_cut_calls_to_agree(const C& call, CallCase c, const std::string& output) {
  c.call(call);
  const std::int64_t packs = call.dims.packs();
  const auto inputs = c.inputs(1);
  for (const cpu::Backend& backend : cpu::backends()) {
    PlanMemory memory(c.plan);
    for (std::size_t i = 0; i < inputs.size(); ++i)
      if (c.values[i].fill) memory.write(ValueId{static_cast<std::int32_t>(i)}, inputs[i]);
    backend.run(call, Part::whole, memory.view());
    const ValueId out = c.plan.names.at(output);
    const std::vector<std::byte> whole(memory.bytes(out).begin(), memory.bytes(out).end());
    std::memset(memory.bytes(out).data(), 0, whole.size());
    C one = call;
    one.cut(call.dims.lanes);
    for (std::int64_t pack = 0; pack < packs; ++pack) {
      std::vector<std::byte*> addresses;
      for (std::size_t i = 0; i < c.plan.values.size(); ++i) {
        const auto bytes = memory.bytes(ValueId{static_cast<std::int32_t>(i)});
        const std::size_t part = c.plan.values[i].in_lanes() ? bytes.size() / static_cast<std::size_t>(packs) : 0;
        addresses.push_back(bytes.data() + part * static_cast<std::size_t>(pack));
      }
      backend.run(one, Part::pack, {addresses.data()});
    }
    EXPECT_EQ(std::memcmp(whole.data(), memory.bytes(out).data(), whole.size()), 0) << backend.isa;
  }
}

TEST(BatchNormValues, LargeTensorsWrittenPastTheCaches) {
  SLOW_UNDER_SANITIZERS("35 MB are written by several Calls");
  const Dims d{48, 2, 300, 300, cpu::lanes};  // 35 MB
  const auto some = [](double scale) -> Generator {
    return [=](std::int64_t e, Random&) { return scale * static_cast<double>(e % 97 - 48); };
  };
  CallCase forward(cpu::lanes);
  BatchNormApply apply{.dims = d, .act = Activation::relu};
  apply.y = forward.out("y", d);
  apply.x = forward.in("x", d, some(0.01));
  apply.mean = forward.flat("mean", d.c, constant(0.1));
  apply.rstd = forward.flat("rstd", d.c, constant(3));
  expect_cut_calls_to_agree(apply, forward, "y");
  apply.r = forward.in("r", d, some(0.02));
  expect_cut_calls_to_agree(apply, forward, "y");

  CallCase backward(cpu::lanes);
  BatchNormBackwardApply adjoint{.dims = d, .count = d.n * d.plane()};
  adjoint.dx = backward.out_gradient("dx", d);
  adjoint.dy = backward.in("dy", d, some(0.1));
  adjoint.x = backward.in("x", d, some(0.01));
  adjoint.mean = backward.flat("mean", d.c, constant(0.1));
  adjoint.rstd = backward.flat("rstd", d.c, constant(3));
  adjoint.dgamma = backward.flat("dgamma", d.c, constant(5e4));
  adjoint.dbeta = backward.flat("dbeta", d.c, constant(-2e4));
  expect_cut_calls_to_agree(adjoint, backward, "dx");

  CallCase sums(cpu::lanes);
  BatchNormBackwardReduce reduce{.dims = d, .act = Activation::relu};
  reduce.dgamma = sums.flat("dgamma", d.c), reduce.dbeta = sums.flat("dbeta", d.c);
  reduce.dr = sums.out_gradient("dr", d);
  reduce.dy = sums.in("dy", d, some(0.1));
  reduce.y = sums.in("y", d, some(0.2));
  reduce.x = sums.in("x", d, some(0.01));
  reduce.mean = sums.flat("mean", d.c, constant(0.1)), reduce.rstd = sums.flat("rstd", d.c, constant(3));
  reduce.partial = sums.scratch("partial", reduce.partial_bytes());
  expect_cut_calls_to_agree(reduce, sums, "dr");
}

}  // namespace
}  // namespace norma::test
