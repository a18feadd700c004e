// Faults planted in the kernels themselves, one at a time: every barrier is removed, every fence orders nothing, and every warp collective
// loses a lane. The cases must notice, or the barrier is not needed and the table of cases is too weak.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/simt/emulated_call.h"

namespace norma::test {
namespace {

// Small cases that between them run every kernel with a barrier or a collective. Convolutions and linear layers are represented by those
// that check every address: elsewhere a tap that a missing barrier left unwritten is an address anywhere.
std::vector<CallCase> cases_with_barriers() {
  const std::set<std::string> wanted{"gather_rgb_n17",
                                     "conv2d_backward_input_many_channels_stride2_pad1",
                                     "conv2d_backward_input_many_channels_stride2_pad1_bf16",
                                     "conv2d_backward_input_many_columns_stride2_tf32",
                                     "conv2d_forward_batch_norm_statistics_kernel_1x35_pad17",
                                     "conv2d_backward_input_batch_norm_backward_reduce_stride2_pad1",
                                     "conv2d_backward_weight_lenet1",
                                     "conv2d_backward_weight_many_channels_pointwise",
                                     "conv2d_backward_weight_n17_chunks2_tf32",
                                     "batch_norm_statistics_lenet2",
                                     "batch_norm_backward_reduce_relu_lenet2",
                                     "batch_norm_statistics_batch_norm_apply_relu_lenet1",
                                     "batch_norm_statistics_batch_norm_apply_none_large_planes",
                                     "batch_norm_backward_reduce_batch_norm_backward_apply_residual_relu_lenet1",
                                     "batch_norm_statistics_batch_norm_apply_relu_n281_1d",
                                     "batch_norm_backward_reduce_batch_norm_backward_apply_relu_n281_1d",
                                     "batch_norm_running_update_cumulative_later",
                                     "group_norm_forward_group4_1d",
                                     "group_norm_backward_group2",
                                     "instance_norm_average_n37",
                                     "softmax_cross_entropy_ignored",
                                     "softmax_cross_entropy_n300_c100_smoothed",
                                     "batch_norm_statistics_lenet_fc",
                                     "batch_norm_statistics_n17",
                                     "batch_norm_backward_reduce_relu_lenet_fc",
                                     "mean_squared_error_n37_mean",
                                     "update_adam_n44426"};
  std::vector<CallCase> found;
  std::set<std::string> missing = wanted;
  for (const Case& c : cases())
    if (missing.erase(c.name))
      for (const int lanes : {32, 1}) found.push_back(c.make(lanes));
  for (const std::string& name : missing) ADD_FAILURE() << "no case is called " << name;
  return found;
}

struct Line {
  std::string file, what;
  int line;
  auto operator<=>(const Line&) const = default;
};

// A barrier after a product, which its comment says. Here a product is a meeting of its warp, which CUDA's is not: nothing need miss it.
bool follows_product(const Line& barrier) {
  std::ifstream source(barrier.file);
  std::string text;
  for (int i = 0; i < barrier.line; ++i) std::getline(source, text);
  return text.find("a product orders no memory") != std::string::npos;
}

// Checks every line that `lines` lists after the cases have run. With options(line) in force, some case under some seed must give other
// bits or a Fault. With `each_call` that goes for the cases of each Call that reaches the line.
void expect_noticed(std::vector<simt::Arrivals> (*lines)(), simt::Options (*options)(simt::Location, std::uint64_t seed),
                    bool each_call = false) {
  struct Tried {
    CallCase of;
    Outputs expected;
    std::vector<std::pair<Line, simt::Location>> reached;
  };
  std::map<Line, bool> noticed;
  std::vector<Tried> all;
  for (CallCase& c : cases_with_barriers()) {
    simt::reset_statistics();
    Outputs expected = outputs_of(c, emulated({}));
    Tried& tried = all.emplace_back(Tried{std::move(c), std::move(expected), {}});
    for (const simt::Arrivals& a : lines()) {
      const std::string of = each_call ? " of " + std::string(name_of(tried.of.plan.calls[0].call)) : "";
      const Line line{a.location.file, a.what + of, a.location.line};
      if (follows_product(line)) continue;
      noticed[line];
      tried.reached.emplace_back(line, a.location);
    }
  }
  // All cases under one seed before any is tried under the next: most lines are noticed by some case at once.
  for (std::uint64_t seed = 0; seed < 12; ++seed)
    for (const Tried& tried : all)
      for (const auto& [line, location] : tried.reached) {
        bool& found = noticed[line];
        if (found) continue;
        try {
          found = !compare_bits(outputs_of(tried.of, emulated(options(location, seed))), tried.expected).empty();
        } catch (const simt::Fault&) {
          found = true;
        }
      }
  EXPECT_GE(noticed.size(), each_call ? 11u : 3u);
  for (const auto& [line, found] : noticed) EXPECT_TRUE(found) << line.what << " at " << line.file << ":" << line.line;
}

TEST(KernelFaults, EveryBarrierIsMissed) {
  expect_noticed(simt::barriers, [](simt::Location line, std::uint64_t seed) {
    return simt::Options{.seed = seed, .together = seed % 2 ? 100u : 1u, .skip_barrier = line};
  });
}

// The fences of reduce.cuh serve many kernels. EndOfStep is not among the cases: its fence keeps reads before a later write, and no
// emulated read comes late.
TEST(KernelFaults, EveryFenceIsMissed) {
  expect_noticed(
      simt::fences,
      [](simt::Location line, std::uint64_t seed) {
        return simt::Options{.seed = seed, .together = seed % 2 ? 100u : 4u, .weak = true, .skip_fence = line};
      },
      true);
}

TEST(KernelFaults, EveryLaneOfACollectiveIsMissed) {
  expect_noticed(simt::collectives,
                 [](simt::Location line, std::uint64_t seed) { return simt::Options{.seed = seed, .narrow_mask = line}; });
}

}  // namespace
}  // namespace norma::test
