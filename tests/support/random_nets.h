// Random nets, and ways of running them, for properties that hold for all: on the CPU (property_test.cpp) and on the emulated GPU (simt/).
#pragma once
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "norma/executor.h"
#include "norma/module.h"
#include "src/plan/lower.h"

namespace norma::test {

// A net as numbers, so that RapidCheck can shrink it. Each layer that fits the shape so far is taken, then Flatten and Linear.
struct RandomNet {
  std::int64_t n = 2, c = 1, h = 2, w = 2;
  std::vector<int> layers;
  int loss = 0;
};

inline constexpr int layer_kinds = 19;

void showValue(const RandomNet& r, std::ostream& out);

// smooth: no kinks, so that rounding cannot choose another branch. Four outputs.
Module module_of(const RandomNet& r, bool smooth = false);

struct Way {
  Mode mode = Mode::train;
  bool fused = true, reuse = true, by_pack = false;
  bool smooth = false;  // no kinks: rounding cannot choose another branch
  int threads = 2;
  std::int64_t n = 0;      // samples; 0: the net's own
  double garbage = 0;      // in padding lanes of what is written
  std::int64_t first = 0;  // of the samples
  Device device = Device::cpu();
  Capture capture = Capture::branches;
  std::int64_t runs = 1;         // of the step, without an optimizer
  std::int64_t graph_steps = 1;  // number of steps in one captured graph
};

Plan make_plan(const RandomNet& r, const Way& way, AssignOptions assign, std::optional<Optimizer> optimizer = {});

// Results of the step, by name: the output, gradients and buffers, and the loss.
using Outcome = std::map<std::string, std::vector<float>>;
Outcome run(const RandomNet& r, const Way& way);

// Fails the property where they differ in a bit.
void expect_same_bits(const Outcome& a, const Outcome& b);

// Fails the property if a smooth net's training step differs from the reference. The reference's numbers carry the necessary float error
// (tracked.h) through all Calls. It takes errors as independent. But a channel's mean and rstd have equal errors for all elements of the
// channel, hence 16 times (6 has held for 600 nets).
void expect_agreement_with_the_reference(const RandomNet& net, Way way);

}  // namespace norma::test

namespace rc {
template <>
struct Arbitrary<norma::test::RandomNet> {
  static Gen<norma::test::RandomNet> arbitrary() {
    using norma::test::RandomNet;
    // Ranges grow with RapidCheck's size; at its nominal size they are whole.
    const auto within = [](auto low, auto high) { return gen::resize(kNominalSize, gen::inRange(low, high)); };
    return gen::build<RandomNet>(
        gen::set(&RandomNet::n, within(std::int64_t{2}, std::int64_t{40})),
        gen::set(&RandomNet::c, within(std::int64_t{1}, std::int64_t{4})),
        gen::set(&RandomNet::h, within(std::int64_t{2}, std::int64_t{8})),
        gen::set(&RandomNet::w, within(std::int64_t{2}, std::int64_t{8})),
        gen::set(&RandomNet::layers, gen::resize(8, gen::container<std::vector<int>>(within(0, norma::test::layer_kinds)))),
        gen::set(&RandomNet::loss, within(0, 3)));
  }
};
}  // namespace rc
