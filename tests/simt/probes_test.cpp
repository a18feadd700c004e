// The probes of what a GPU does at best, on the emulated one: they do what is timed, and their figures are whole. Their times are nobody's.
#include "kernels/cuda/probes.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "norma/instruments.h"
#include "src/execute/cuda_probes.h"
#include "tests/simt/runtime.h"
#include "tests/simt/test_kernels.h"
#include "tests/support/expect_error.h"

namespace norma::simt {
namespace {

namespace probe = kernels::cuda::probe;

class Probes : public testing::Test {
 protected:
  void SetUp() override { before_ = live(); }
  void TearDown() override {
    reset_machine();
    EXPECT_EQ(live(), before_);
  }

 private:
  Live before_;
};

TEST_F(Probes, CopyAndReadAllAndNothingElse) {
  for (const std::size_t n : {std::size_t{4}, std::size_t{4096}, std::size_t{4100}, std::size_t{70'000}}) {
    Guarded x(n), y(n), z(n);
    const std::vector<float> values = numbers(n);
    std::copy(values.begin(), values.end(), x.data());
    const auto count = static_cast<std::int64_t>(n);
    probe::copy(y.data(), x.data(), count, nullptr);
    probe::copy_streaming(z.data(), x.data(), count, nullptr);
    Guarded sums(static_cast<std::size_t>(probe::read_blocks(count)));
    probe::read(sums.data(), x.data(), count, nullptr);
    for (const Guarded* copy : {&y, &z}) {
      EXPECT_EQ(std::vector<float>(copy->values().begin(), copy->values().end()), values) << n;
      EXPECT_TRUE(copy->guards_intact()) << n;
    }
    EXPECT_TRUE(sums.guards_intact()) << n;
    const auto read = sums.values();
    EXPECT_EQ(std::accumulate(read.begin(), read.end(), 0.0), std::accumulate(values.begin(), values.end(), 0.0)) << n;  // of whole numbers
  }
}

TEST_F(Probes, MultiplyAddsAreMade) {
  const std::int64_t blocks = 2, rounds = 8;
  Guarded y(static_cast<std::size_t>(probe::multiply_add_elements(blocks)));
  probe::multiply_add(y.data(), rounds, blocks, nullptr);
  EXPECT_TRUE(y.guards_intact());
  const double threads = static_cast<double>(y.values().size()) / blocks,
               chains = probe::multiply_add_flops(1, rounds) / (2 * rounds * threads);
  for (std::size_t i = 0; i < y.values().size(); ++i) {
    const double start = std::fmod(static_cast<double>(i), threads);
    double expected = 0;  // each chain comes nearer to 2 by half every time
    for (double c = 0; c < chains; ++c) expected += 2 + (start + c - 2) * std::pow(0.5, rounds);
    ASSERT_FLOAT_EQ(y.values()[i], static_cast<float>(expected)) << i;
  }
}

TEST_F(Probes, ProductsAreMade) {
  const std::int64_t blocks = 1, rounds = 3;
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    Guarded y(static_cast<std::size_t>(probe::multiply_add_elements(blocks)));
    probe::products(precision, y.data(), rounds, blocks, nullptr);
    EXPECT_TRUE(y.guards_intact());
    // A multiply-add of ones adds 1 somewhere.
    const auto made = y.values();
    EXPECT_EQ(std::accumulate(made.begin(), made.end(), 0.0), probe::products_flops(precision, blocks, rounds) / 2);
  }
}

TEST_F(Probes, TheRooflineIsWhole) {
  machine().memory = live().device_bytes + (std::size_t{4} << 20);
  machine().multiprocessors = 2;
  const Roofline r = measure_roofline(Device::cuda());
  EXPECT_EQ(r.threads, 0);
  EXPECT_EQ(r.device, "cuda (norma SIMT emulator, compute capability 9.0)");
  EXPECT_GT(r.array_bytes, 100'000u);  // a sixteenth of the memory
  for (const double figure : {r.flops, r.tf32_flops, r.bf16_flops, r.copy, r.copy_streaming, r.read}) {
    EXPECT_GT(figure, 1e5);
    EXPECT_LT(figure, 1e13);
  }
  const auto copy = copy_probe(Device::cuda(), {}, 1000, 3);
  const double bandwidth = copy();
  EXPECT_GT(bandwidth, 1e3);
  EXPECT_LT(bandwidth, 1e13);
  EXPECT_EQ(cache_bytes(Device::cuda()), std::size_t{32} << 20);
}

TEST_F(Probes, LatenciesCountWhatTheyTimed) {  // else they throw
  machine().multiprocessors = 2;
  const std::vector<Latency> figures = measure_latencies(Device::cuda(), 2);
  ASSERT_EQ(figures.size(), 10u);
  for (const Latency& f : figures) {
    EXPECT_EQ(f.missing, "");
    EXPECT_EQ(f.seconds.size(), 2u) << f.what;
    for (const double s : f.seconds) EXPECT_TRUE(std::isfinite(s)) << f.what;
    EXPECT_TRUE(f.blocks == 2 || f.blocks == (f.what == "cluster barrier" ? 8 : 4)) << f.what << f.blocks;
  }
  machine().major = 8;
  int missing = 0;
  for (const Latency& f : measure_latencies(Device::cuda(), 1)) missing += !f.missing.empty();
  EXPECT_EQ(missing, 4);
  test::expect_error(ErrorKind::usage, {"cpu has none"}, [] { measure_latencies(Device::cpu(), 1); });
}

TEST_F(Probes, AGpuThatCannotBeUsedIsNamed) {
  machine().devices = 0;
  for (const auto& f : {+[] { (void)measure_roofline(Device::cuda()); }, +[] { (void)copy_probe(Device::cuda(), {}, 4); },
                        +[] { (void)measure_latencies(Device::cuda(), 1); }, +[] { (void)cache_bytes(Device::cuda()); }})
    test::expect_error(ErrorKind::device, {"finds no GPU"}, f);
}

}  // namespace
}  // namespace norma::simt
