// Tensors of more than 2^31 and 2^32 elements. A Call's result for a pack of samples (or, flat, a run of elements) does not depend on the
// others. It must be bit for bit the Call's result for that group alone, which the tables' cases compare with the reference. Sums are
// compared with double. Needs up to 52 GB of the GPU's memory; skipped if less is free.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "kernels/cuda/backend.h"
#include "tests/cuda/gpu.h"

namespace norma::test {
namespace {

using namespace kernels;

// Samples of 2^15 elements that make a little more than 2^bits, the last group of lanes not full.
std::int64_t samples_beyond(int bits) { return (std::int64_t{1} << (bits - 15)) + 41; }

// A float at element i of every input; the period is prime, so that no row or channel sees the same numbers as the next.
constexpr std::int64_t period = 1'000'003;
const std::vector<float>& pattern() {
  static const std::vector<float> numbers = [] {
    Random random(7);
    std::vector<float> all;
    for (std::int64_t i = 0; i < period; ++i) all.push_back(static_cast<float>(random.uniform(0.5, 2) * (random.below(2) ? 1 : -1)));
    return all;
  }();
  return numbers;
}

void fill_with_pattern(const DeviceBytes& memory) {
  const auto bytes = std::as_bytes(std::span(pattern()));
  std::size_t done = std::min(bytes.size(), memory.size());
  memory.write(bytes.first(done));
  while (done < memory.size()) {
    const std::size_t n = std::min(done, memory.size() - done);
    norma::cuda::check(cudaMemcpy(memory.data() + done, memory.data(), n, cudaMemcpyDeviceToDevice), "repeating the pattern");
    done += n;
  }
}

Access access_of(const Call& call, ValueId v) {
  Access found = Access::read;
  for_each_operand(call, [&](const Operand& o) {
    if (o.value == v) found = o.access;
  });
  return found;
}

std::string shortage(const CallCase& c) {
  std::size_t needed = 0, available = 0, total = 0;
  for (const PlanValue& v : c.plan.values) needed += v.bytes;
  norma::cuda::check(cudaMemGetInfo(&available, &total), "asking for the free memory");
  const auto gigabytes = [](std::size_t n) { return std::to_string(n / 1'000'000'000); };
  return needed + (std::size_t{1} << 30) < available
             ? ""
             : "needs " + gigabytes(needed) + " GB of the GPU's memory, " + gigabytes(available) + " are free";
}

// A case's values on the GPU: floats hold the pattern, indices and the rest 0.
struct OnGpu {
  std::vector<DeviceBytes> values;
  std::vector<std::byte*> addresses;

  explicit OnGpu(const CallCase& c) {
    for (const PlanValue& v : c.plan.values) {
      values.emplace_back(v.bytes);
      if (v.dtype == DType::f32) fill_with_pattern(values.back());
      else norma::cuda::check(cudaMemset(values.back().data(), 0, v.bytes), "clearing " + v.name);
      addresses.push_back(values.back().data());
    }
    if (c.state_value) values[static_cast<std::size_t>(c.state_value.index)].write(std::as_bytes(std::span(&c.state, 1)));
  }
};

// Runs the case whole; then `alone`, the Call of one piece, on copies of what lies at these bytes of its values, for every piece.
// A value that is not in `bytes` is read by every piece.
struct Piece {
  std::string name;
  Call alone;
  std::map<std::int32_t, std::pair<std::size_t, std::size_t>> bytes;  // value -> where, how many
};

void expect_pieces_of_the_whole(const CallCase& c, const std::vector<Piece>& pieces) {
  const Call& whole = c.plan.calls[0].call;
  const OnGpu gpu(c);
  struct Copy {
    DeviceBytes before;
    std::vector<std::byte> after;
  };
  std::vector<std::map<std::int32_t, Copy>> copies(pieces.size());
  for (std::size_t p = 0; p < pieces.size(); ++p)
    for (const auto& [value, place] : pieces[p].bytes) {
      DeviceBytes before(place.second);
      norma::cuda::check(
          cudaMemcpy(before.data(), gpu.addresses[static_cast<std::size_t>(value)] + place.first, place.second, cudaMemcpyDeviceToDevice),
          "copying a piece");
      copies[p].emplace(value, Copy{std::move(before), std::vector<std::byte>(place.second)});
    }
  run_on_gpu(whole, gpu.addresses);
  for (std::size_t p = 0; p < pieces.size(); ++p) {
    std::vector<std::byte*> addresses = gpu.addresses;
    for (const auto& [value, copy] : copies[p]) addresses[static_cast<std::size_t>(value)] = copy.before.data();
    run_on_gpu(pieces[p].alone, addresses);
    for (auto& [value, copy] : copies[p]) {
      if (access_of(whole, ValueId{value}) == Access::read) continue;
      const PlanValue& v = c.plan[ValueId{value}];
      std::vector<std::byte> alone(copy.after.size());
      copy.before.read(alone);
      gpu.values[static_cast<std::size_t>(value)].read(copy.after, pieces[p].bytes.at(value).first);
      const auto differs = std::mismatch(alone.begin(), alone.end(), copy.after.begin()).first - alone.begin();
      EXPECT_EQ(differs, static_cast<std::ptrdiff_t>(alone.size())) << v.name << " differs at byte " << differs << " of " << pieces[p].name;
      EXPECT_TRUE(v.dtype != DType::f32 || std::ranges::any_of(alone, [](std::byte b) { return b != std::byte{0}; })) << v.name << " is 0";
    }
  }
}

// The first and last groups, and those in which the 2^30th, 2^31st and 2^32nd element of a tensor lie.
template <class C>
std::vector<Piece> groups_of(const CallCase& c, const C& call) {
  const Dims* largest = nullptr;
  for (const PlanValue& v : c.plan.values)
    if (v.in_lanes() && (!largest || v.bytes > static_cast<std::size_t>(largest->stored()) * sizeof(float))) largest = &v.dims;
  std::vector<std::int64_t> groups{0, largest->packs() - 1};
  for (const int bits : {30, 31, 32}) {
    const std::int64_t at = (std::int64_t{1} << bits) / (largest->features() * largest->lanes);
    for (const std::int64_t g : {at - 1, at})
      if (g > 0 && g < largest->packs() - 1) groups.push_back(g);
  }
  std::vector<Piece> pieces;
  for (const std::int64_t g : groups) {
    C alone = call;
    alone.cut(largest->valid_lanes(g));
    Piece piece{"group " + std::to_string(g), alone, {}};
    for (std::size_t i = 0; i < c.plan.values.size(); ++i)
      if (const PlanValue& v = c.plan.values[i]; v.in_lanes()) {
        const std::size_t bytes = v.bytes / static_cast<std::size_t>(v.dims.packs());
        piece.bytes[static_cast<std::int32_t>(i)] = {static_cast<std::size_t>(g) * bytes, bytes};
      }
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

template <class C>
void expect_groups_alone(CallCase& c, const C& call) {
  c.call(call);
  if (const std::string reason = shortage(c); !reason.empty()) GTEST_SKIP() << reason;
  expect_pieces_of_the_whole(c, groups_of(c, call));
}

// Runs of a flat Call; elements_of_each: its values that have n elements.
template <class C>
void expect_runs_alone(CallCase& c, const C& call, std::vector<ValueId> elements_of_each) {
  c.call(call);
  if (const std::string reason = shortage(c); !reason.empty()) GTEST_SKIP() << reason;
  std::vector<Piece> pieces;
  constexpr std::int64_t run = 1000;
  for (const std::int64_t begin : {std::int64_t{0}, (std::int64_t{1} << 30) - 500, (std::int64_t{1} << 31) - 500, call.n - run}) {
    C alone = call;
    alone.n = run;
    Piece piece{"elements " + std::to_string(begin) + " on", alone, {}};
    for (const ValueId v : elements_of_each)
      piece.bytes[v.index] = {static_cast<std::size_t>(begin) * sizeof(float), static_cast<std::size_t>(run) * sizeof(float)};
    pieces.push_back(std::move(piece));
  }
  expect_pieces_of_the_whole(c, pieces);
}

class Beyond31Bits : public testing::TestWithParam<int> {};  // lanes
INSTANTIATE_TEST_SUITE_P(Lanes, Beyond31Bits, testing::Values(kernels::cuda::lanes, 1),
                         [](const auto& entry) { return "L" + std::to_string(entry.param); });

TEST_P(Beyond31Bits, ActivationForward) {
  CallCase c(GetParam());
  kernels::ActivationForward call{.dims = c.dims(samples_beyond(32), 8, 64, 64), .act = Activation::sigmoid};
  call.y = c.out("y", call.dims);
  call.x = c.in("x", call.dims, {});
  expect_groups_alone(c, call);
}

TEST_P(Beyond31Bits, ActivationBackward) {
  CallCase c(GetParam());
  kernels::ActivationBackward call{.dims = c.dims(samples_beyond(31), 8, 64, 64), .act = Activation::tanh};
  call.dx = c.out("dx", call.dims);
  call.dy = c.in("dy", call.dims, {});
  call.saved = c.in("y", call.dims, {});
  expect_groups_alone(c, call);
}

TEST_P(Beyond31Bits, Add) {
  CallCase c(GetParam());
  kernels::Add call{.dims = c.dims(samples_beyond(32), 8, 64, 64)};
  call.y = c.out("y", call.dims);
  call.a = c.in("a", call.dims, {});
  call.b = c.in("b", call.dims, {});
  expect_groups_alone(c, call);
}

// The mask depends on an element's number, which goes beyond 32 bits.
TEST_P(Beyond31Bits, Dropout) {
  CallCase c(GetParam());
  kernels::Dropout call{.dims = c.dims(samples_beyond(32), 8, 64, 64), .p = 0.5, .layer = 5};
  call.y = c.out("y", call.dims);
  call.x = c.in("x", call.dims, {});
  call.state = c.add_state();
  c.call(call);
  if (const std::string reason = shortage(c); !reason.empty()) GTEST_SKIP() << reason;
  const OnGpu gpu(c);
  run_on_gpu(call, gpu.addresses);
  const Dims& d = call.dims;
  for (const std::int64_t n : {std::int64_t{0}, samples_beyond(31) - 41, samples_beyond(32) - 41, d.n - 1})
    for (std::int64_t e = 0; e < d.features(); e += 97) {
      const std::int64_t i = d.index(n, e / d.plane(), e / d.w % d.h, e % d.w);
      float y = 0;
      gpu.values[static_cast<std::size_t>(call.y.index)].read(std::as_writable_bytes(std::span(&y, 1)), static_cast<std::size_t>(i) * 4);
      const bool keep = dropout_uniform(c.state.seed, c.state.step, call.layer, n * d.features() + e) >= 0.5f;
      ASSERT_EQ(y, keep ? 2 * pattern()[static_cast<std::size_t>(i % period)] : 0) << "sample " << n << ", element " << e;
    }
}

// The statistics' four values, of the channels.
template <class C>
void add_statistics(CallCase& c, C& call, std::int64_t channels) {
  call.mean = c.flat("mean", channels);
  call.rstd = c.flat("rstd", channels);
  call.gamma = c.flat("gamma", channels);
  if constexpr (requires { call.beta; }) call.beta = c.flat("beta", channels);
  if constexpr (requires { call.dgamma; }) call.dgamma = c.flat("dgamma", channels), call.dbeta = c.flat("dbeta", channels);
}

TEST_P(Beyond31Bits, BatchNormApply) {
  CallCase c(GetParam());
  kernels::BatchNormApply call{.dims = c.dims(samples_beyond(32), 8, 64, 64), .act = Activation::relu};
  call.y = c.out("y", call.dims);
  call.x = c.in("x", call.dims, {});
  call.r = c.in("r", call.dims, {});
  add_statistics(c, call, 8);
  expect_groups_alone(c, call);
}

TEST_P(Beyond31Bits, BatchNormBackwardApply) {
  CallCase c(GetParam());
  kernels::BatchNormBackwardApply call{.dims = c.dims(samples_beyond(31), 8, 64, 64), .count = 1 << 20, .act = Activation::relu};
  call.dx = c.out("dx", call.dims);
  call.dy = c.in("dy", call.dims, {});
  call.y = c.in("y", call.dims, {});
  call.x = c.in("x", call.dims, {});
  add_statistics(c, call, 8);
  expect_groups_alone(c, call);
}

PoolShape halved(const CallCase& c, std::int64_t n) { return {c.dims(n, 8, 64, 64), c.dims(n, 8, 32, 32), {2, 2, 2, 2}}; }

TEST_P(Beyond31Bits, BatchNormMaxPool) {
  CallCase c(GetParam());
  kernels::BatchNormMaxPool call{.shape = halved(c, samples_beyond(31)), .act = Activation::relu};
  call.y = c.out("y", call.shape.y);
  call.argmax = c.indices("argmax", call.shape.y, DType::u8, {});
  call.largest = c.out("largest", call.shape.y);
  call.x = c.in("x", call.shape.x, {});
  add_statistics(c, call, 8);
  expect_groups_alone(c, call);
}

TEST_P(Beyond31Bits, BatchNormMaxPoolBackwardApply) {
  CallCase c(GetParam());
  kernels::BatchNormMaxPoolBackwardApply call{.shape = halved(c, samples_beyond(31)), .count = 1 << 20, .act = Activation::relu};
  call.dx = c.out("dx", call.shape.x);
  call.dy = c.in("dy", call.shape.y, {});
  call.y = c.in("y", call.shape.y, {});
  call.argmax = c.indices("argmax", call.shape.y, DType::u8, {});
  call.x = c.in("x", call.shape.x, {});
  add_statistics(c, call, 8);
  expect_groups_alone(c, call);
}

TEST_P(Beyond31Bits, MaxPool) {
  CallCase c(GetParam());
  MaxPoolForward call{.shape = halved(c, samples_beyond(31))};
  call.y = c.out("y", call.shape.y);
  call.argmax = c.indices("argmax", call.shape.y, DType::u8, {});
  call.x = c.in("x", call.shape.x, {});
  expect_groups_alone(c, call);
}

TEST_P(Beyond31Bits, Convolution) {
  CallCase c(GetParam());
  const std::int64_t n = samples_beyond(31);
  Conv2dForward call{.shape = {c.dims(n, 8, 64, 64), c.dims(n, 8, 64, 64), {1, 1}}};
  call.y = c.out("y", call.shape.y);
  call.x = c.in("x", call.shape.x, {});
  call.w = c.flat("w", call.shape.weights());
  call.b = c.flat("b", 8);
  expect_groups_alone(c, call);
}

// Padding lanes of a gradient are 0.
void clear_padding(const DeviceBytes& memory, const Dims& d) {
  const std::size_t lanes = static_cast<std::size_t>(d.lanes), valid = static_cast<std::size_t>(d.valid_lanes(d.packs() - 1));
  std::vector<float> group(static_cast<std::size_t>(d.features()) * lanes);
  const std::size_t at = memory.size() - group.size() * sizeof(float);
  memory.read(std::as_writable_bytes(std::span(group)), at);
  for (std::size_t i = 0; i < group.size(); ++i)
    if (i % lanes >= valid) group[i] = 0;
  memory.write(std::as_bytes(std::span(group)), at);
}

// Statistics and gradients of 2^31 elements in 512 channels, against double.
TEST_P(Beyond31Bits, BatchNormSums) {
  CallCase c(GetParam());
  const Dims d = c.dims(samples_beyond(31), 512, 8, 8);
  kernels::BatchNormStatistics statistics{.dims = d};
  statistics.x = c.in("x", d, {});
  statistics.mean = c.flat("mean", d.c), statistics.var = c.flat("var", d.c), statistics.rstd = c.flat("rstd", d.c);
  statistics.partial = c.scratch("partial", statistics.partial_bytes());
  kernels::BatchNormBackwardReduce reduce{.dims = d};
  reduce.dgamma = c.flat("dgamma", d.c), reduce.dbeta = c.flat("dbeta", d.c);
  reduce.dy = c.in("dy", d, {});
  reduce.x = statistics.x, reduce.mean = statistics.mean, reduce.rstd = statistics.rstd, reduce.partial = statistics.partial;
  if (const std::string reason = shortage(c); !reason.empty()) GTEST_SKIP() << reason;
  const OnGpu gpu(c);
  clear_padding(gpu.values[static_cast<std::size_t>(reduce.dy.index)], d);
  run_on_gpu(statistics, gpu.addresses);
  run_on_gpu(reduce, gpu.addresses);
  for (const std::int64_t channel : {std::int64_t{0}, std::int64_t{255}, d.c - 1}) {
    const auto sum = [&](auto f) {
      double all = 0;
      for (std::int64_t n = 0; n < d.n; ++n) {
        double of_sample = 0;
        for (std::int64_t i = 0; i < d.plane(); ++i)
          of_sample += f(static_cast<double>(pattern()[static_cast<std::size_t>(d.index(n, channel, i / d.w, i % d.w) % period)]));
        all += of_sample;
      }
      return all;
    };
    const auto read = [&](ValueId v) {
      float value = 0;
      gpu.values[static_cast<std::size_t>(v.index)].read(std::as_writable_bytes(std::span(&value, 1)),
                                                         static_cast<std::size_t>(channel) * 4);
      return static_cast<double>(value);
    };
    const double m = static_cast<double>(d.n * d.plane()), mean = sum([](double x) { return x; }) / m;
    const double var = sum([&](double x) { return (x - mean) * (x - mean); }) / m;
    EXPECT_NEAR(read(statistics.mean), mean, 1e-6);
    EXPECT_LE(std::abs(read(statistics.var) - var) / var, 1e-6);
    // dy is x's own pattern: sums of terms of size 1, of which float leaves 2^-24 each.
    EXPECT_NEAR(read(reduce.dbeta) / m, mean, 1e-6);
    const double k_mean = read(statistics.mean), k_rstd = read(statistics.rstd);
    EXPECT_NEAR(read(reduce.dgamma) / m, sum([&](double x) { return x * (x - k_mean) * k_rstd; }) / m, 1e-6);
  }
}

TEST(Beyond31BitsFlat, Fill) {
  CallCase c(1);
  kernels::Fill call{.n = (std::int64_t{1} << 31) + 1001, .value = 0.3f};
  call.y = c.flat("y", call.n);
  expect_runs_alone(c, call, {call.y});
}

TEST(Beyond31BitsFlat, Update) {
  CallCase c(1);
  kernels::Update call{.n = (std::int64_t{1} << 31) + 1001, .optimizer = Sgd{.momentum = 0.9, .weight_decay = 0.01}};
  call.w = c.flat("w", call.n), call.kept[0] = c.flat("momentum_buffer", call.n), call.gradients = c.flat("gradients", call.n);
  call.state = c.add_state(), call.rates = c.flat("rates", 3);
  expect_runs_alone(c, call, {call.w, call.kept[0], call.gradients});
}

TEST(Beyond31BitsFlat, CheckFinite) {
  CallCase c(1);
  kernels::CheckFinite call{.n = (std::int64_t{1} << 31) + 1001};
  call.state = c.add_state(), call.values = c.flat("gradients", call.n);
  c.call(call);
  if (const std::string reason = shortage(c); !reason.empty()) GTEST_SKIP() << reason;
  const OnGpu gpu(c);
  const auto status = [&] {
    StepState s{};
    run_on_gpu(call, gpu.addresses);
    gpu.values[static_cast<std::size_t>(call.state.index)].read(std::as_writable_bytes(std::span(&s, 1)));
    return s.status;
  };
  EXPECT_EQ(status(), 0);
  const float nan = std::nanf("");
  gpu.values[static_cast<std::size_t>(call.values.index)].write(std::as_bytes(std::span(&nan, 1)),
                                                                static_cast<std::size_t>(call.n - 1) * 4);
  EXPECT_EQ(status(), 1);
}

}  // namespace
}  // namespace norma::test
