// norma bench ops: single operations, forward and backward, in turn with oneDNN's.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "apps/norma/bench.h"
#include "apps/norma/bench_shapes.h"
#include "apps/norma/bench_yardstick.h"

namespace norma::app {

struct OpsRequest {
  std::string filter;  // of "net/name"; empty: all
  std::int64_t batch = 32;
  int threads = 0;  // 0: every core
  std::string isa = "auto";
  double seconds = 1.5;  // for each operation, all passes and both libraries together
  bool json = false, quiet = false;
};

// What two implementations may differ by: the largest difference of two results, over the largest magnitude of the second.
inline constexpr double allowed_difference = 1e-4;

struct OpPass {
  const BenchShape* shape = nullptr;
  std::string pass;  // forward, backward_input, backward_weight; of a batch norm or pool: forward, backward
  double flops = 0, bytes = 0;
  Summary ours;
  std::optional<Summary> theirs;
  std::optional<double> difference;
  std::string implementation;  // theirs

  double ratio() const { return theirs ? theirs->median / ours.median : 0; }
};

std::vector<OpPass> measure(const BenchShape& shape, const OpsRequest& request, const Yardstick& yardstick);

int bench_ops(const OpsRequest& request);

}  // namespace norma::app
