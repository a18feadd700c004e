// The verdict on a comparison's claim, computed from its results, in one line.
#pragma once
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/norma/compare/comparison_runs.h"

namespace norma::app {

// Mean and deviation of the values that are numbers. deviation: of the sample, n - 1.
struct Spread {
  double mean = 0, deviation = 0;
  int count = 0;
};
Spread spread(std::span<const double> values);
// "97.31 % ± 0.20", "0.0451 ± 0.0012"; without the second part for a single value.
std::string shown(Measure m, const Spread& s);

// The results of a comparison, by variant and seed.
class Results {
 public:
  Results(const Comparison& comparison, const std::vector<PlannedRun>& runs, const std::vector<RunResult>& results);

  struct Variant {
    std::vector<std::pair<std::string, std::string>> fields;
    std::vector<const RunResult*> by_seed;  // null: not run yet
    int wins = 0;                           // seeds for which its measure is the best of all variants', no other's as good

    std::vector<double> values(Measure m) const;  // of runs that finished
    int diverged() const;
  };

  const Comparison& comparison() const { return comparison_; }
  std::span<const Variant> variants() const { return variants_; }
  std::size_t planned() const { return planned_; }
  std::size_t ended() const { return ended_; }

 private:
  const Comparison& comparison_;
  std::vector<Variant> variants_;
  std::size_t planned_ = 0, ended_ = 0;
};

// 95 % interval of the mean of differences between pairs of runs: same seed, same other fields.
struct Difference {
  double mean = 0, low = 0, high = 0;
  int pairs = 0;
};
Difference difference(std::span<const double> differences);

struct Verdict {
  enum class Outcome { holds, refuted, undecided };
  Outcome outcome = Outcome::undecided;
  std::string words;                // "Holds: ..."
  std::vector<std::string> checks;  // what each check found
};
Verdict verdict(const Results& results);

}  // namespace norma::app
