// norma bench ops: single operations, forward and backward, timed alternately with oneDNN's.
#pragma once
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "apps/norma/bench/bench.h"
#include "apps/norma/bench/shapes.h"
#include "apps/norma/bench/yardstick.h"

namespace norma::app {

struct OpsRequest {
  std::string filter{};  // of "net/name"; empty: all
  std::int64_t batch = 32;
  int threads = 0;  // 0: every core
  std::string isa = "auto";
  double seconds = 1.5;  // for each operation, all passes and both libraries together
  bool json = false, quiet = false;
};

// Largest allowed difference of two implementations: the largest difference of results over the largest magnitude of the second.
inline constexpr double allowed_difference = 1e-4;

struct OpPass {
  const BenchShape* shape = nullptr;
  std::string pass;  // forward, backward_input, backward_weight; of a batch norm or pool: forward, backward
  double flops = 0, bytes = 0;
  Summary ours;
  // Set for memory-bound operations (limited_by_memory). copy: bytes per second of a copy of as many bytes, timed alternately with the
  // pass. share_of_copy: the pass's bytes per second over the copy's, round by round.
  Summary copy, share_of_copy;
  // oneDNN's pass. The direct algorithm computes what norma computes. Winograd's is measured, too, where oneDNN prefers it: it needs 2.25
  // to 4 times fewer multiplications for a 3x3 filter.
  struct Theirs {
    Summary seconds;
    double difference = 0;
    std::string implementation;
  };
  std::optional<Theirs> direct, winograd;

  double ratio() const { return direct->seconds.median / ours.median; }
  double best_ratio() const { return winograd ? std::min(ratio(), winograd->seconds.median / ours.median) : ratio(); }
};

// True where memory limits the operation: it has no weights.
bool limited_by_memory(const BenchShape& shape);

std::vector<OpPass> measure(const BenchShape& shape, const OpsRequest& request, const Yardstick& yardstick);

int bench_ops(const OpsRequest& request);

}  // namespace norma::app
