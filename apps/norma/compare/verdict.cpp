#include "apps/norma/compare/verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <set>

namespace norma::app {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;
using Outcome = Verdict::Outcome;

// Student's t for a two-sided 95 % interval, by degrees of freedom 1 to 30; then the normal distribution's.
double student(int freedom) {
  constexpr double t[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
                          2.120,  2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042};
  return freedom <= 30 ? t[freedom - 1] : 1.960;
}

std::string value_of(const Fields& fields, const std::string& field) {
  for (const auto& [name, value] : fields)
    if (name == field) return value;
  return {};
}

struct Found {
  Outcome outcome = Outcome::undecided;
  std::string words;
};

// One check against one other value of its field.
class Checker {
 public:
  Checker(const Results& results, const Check& check, std::string other)
      : results_(results),
        check_(check),
        other_(std::move(other)),
        measure_(check.measure.empty() ? results.comparison().measure : measure_called(check.measure, "measure")) {
    for (const Results::Variant& a : results_.variants()) {
      if (!matches(a, check_.value)) continue;
      for (const Results::Variant& b : results_.variants())
        if (matches(b, other_) && same_rest(a.fields, b.fields)) pairs_.emplace_back(&a, &b);
    }
  }

  Found run() const {
    switch (check_.kind) {
      case Check::Kind::better: return better();
      case Check::Kind::sooner: return sooner();
      case Check::Kind::further: return further();
      case Check::Kind::oftener: return oftener();
    }
    return {};
  }

 private:
  using Pairs = std::vector<std::pair<const Results::Variant*, const Results::Variant*>>;

  bool matches(const Results::Variant& v, const std::string& value) const {
    return value_of(v.fields, check_.field) == value &&
           std::all_of(check_.at.begin(), check_.at.end(), [&](const auto& at) { return value_of(v.fields, at.first) == at.second; });
  }
  bool same_rest(const Fields& a, const Fields& b) const {
    for (std::size_t i = 0; i < a.size(); ++i)
      if (a[i].first != check_.field && a[i].second != b[i].second) return false;
    return true;
  }

  std::string mine() const { return named(check_.value); }
  std::string others() const { return named(other_); }
  // A number says nothing without its field.
  std::string named(const std::string& value) const {
    const bool number = !value.empty() && (std::isdigit(static_cast<unsigned char>(value[0])) || value[0] == '-');
    return number ? last_part(check_.field) + " " + value : plain(value);
  }
  std::string where() const {
    std::string out;
    for (const auto& [field, value] : check_.at) out += fmt::format("{}{} {}", out.empty() ? " at " : ", ", last_part(field), plain(value));
    return out;
  }
  double sign() const { return info(measure_).higher_is_better ? 1 : -1; }
  // Larger is better.
  static Outcome by_sign(double low, double high) { return low > 0 ? Outcome::holds : high < 0 ? Outcome::refuted : Outcome::undecided; }
  std::string plain_amount(double v) const { return info(measure_).percent ? fmt::format("{:.2f}", 100 * v) : fmt::format("{:.3g}", v); }
  std::string amount(double v) const { return plain_amount(v) + (info(measure_).percent ? " points" : ""); }

  Found better() const {
    std::vector<double> differences;
    int mine_diverged = 0, theirs_diverged = 0, seen = 0;
    for (const auto& [a, b] : pairs_)
      for (std::size_t s = 0; s < a->by_seed.size(); ++s) {
        const RunResult *x = a->by_seed[s], *y = b->by_seed[s];
        if (!x || !y) continue;
        ++seen;
        mine_diverged += x->diverged, theirs_diverged += y->diverged;
        if (x->diverged || y->diverged) continue;
        if (const double d = x->measured[measure_] - y->measured[measure_]; std::isfinite(d)) differences.push_back(d);
      }
    if (differences.empty() && seen > 0 && mine_diverged != theirs_diverged)
      return {mine_diverged < theirs_diverged ? Outcome::holds : Outcome::refuted,
              fmt::format("{} diverged in {} of {} runs{}, {} in {}", others(), theirs_diverged, seen, where(), mine(), mine_diverged)};
    const Difference d = difference(differences);
    if (d.pairs < 2)
      return {Outcome::undecided, fmt::format("{} against {}{}: {} pair{} of runs can be compared, two are needed", mine(), others(),
                                              where(), d.pairs, d.pairs == 1 ? "" : "s")};
    const Outcome outcome = by_sign(std::min(sign() * d.low, sign() * d.high), std::max(sign() * d.low, sign() * d.high));
    const bool level = outcome == Outcome::undecided;
    return {outcome, fmt::format("{} {} {} {} than {}{} by {} (95 % interval {} to {}, {} pairs)", words(), level ? "perhaps" : "is",
                                 d.mean > 0 ? "higher" : "lower", "with " + mine(), others(), where(), amount(std::abs(d.mean)),
                                 plain_amount(d.mean > 0 ? d.low : -d.high), amount(d.mean > 0 ? d.high : -d.low), d.pairs)};
  }

  std::string words() const { return info(measure_).words; }

  double of_epoch(const EpochMetrics& m) const {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    switch (measure_) {
      case Measure::test_accuracy: return m.test_accuracy.value_or(nan);
      case Measure::test_loss: return m.test_loss.value_or(nan);
      case Measure::train_accuracy: return m.train_accuracy;
      case Measure::train_loss: return m.train_loss;
      default: return nan;
    }
  }

  Found sooner() const {
    int pairs = 0, reached = 0;
    double epochs = 0, of_other = 0;
    for (const auto& [a, b] : pairs_)
      for (std::size_t s = 0; s < a->by_seed.size(); ++s) {
        const RunResult *x = a->by_seed[s], *y = b->by_seed[s];
        if (!x || !y || y->epochs.empty()) continue;
        ++pairs;
        const double goal = of_epoch(y->epochs.back());
        const auto first =
            std::find_if(x->epochs.begin(), x->epochs.end(), [&](const EpochMetrics& m) { return sign() * (of_epoch(m) - goal) >= 0; });
        if (first == x->epochs.end() || first->epoch >= y->epochs.back().epoch) continue;
        ++reached;
        epochs += static_cast<double>(first->epoch);
        of_other += static_cast<double>(y->epochs.back().epoch);
      }
    const Outcome outcome = pairs == 0            ? Outcome::undecided
                            : reached == pairs    ? Outcome::holds
                            : 2 * reached < pairs ? Outcome::refuted
                                                  : Outcome::undecided;
    if (reached == 0) return {outcome, fmt::format("{} never has {}'s last {} sooner ({} pairs)", mine(), others(), words(), pairs)};
    return {outcome, fmt::format("with {} the {} that {} has after {:.3g} epochs is there after {:.3g} ({} of {} pairs)", mine(), words(),
                                 others(), of_other / reached, epochs / reached, reached, pairs)};
  }

  // The mean of a variant's runs is good enough; one that diverged never is.
  bool works(const Results::Variant& v) const {
    const Spread s = spread(v.values(measure_));
    return s.count > 0 && v.diverged() == 0 && sign() * (s.mean - check_.works) >= 0;
  }
  std::string condition() const {
    const std::string limit = info(measure_).percent ? fmt::format("{:.3g} %", 100 * check_.works) : fmt::format("{:.3g}", check_.works);
    return fmt::format("{} at {} {}", words(), info(measure_).higher_is_better ? "least" : "most", limit);
  }

  Found further() const {
    const auto largest = [&](const std::string& value) {
      std::optional<double> top;
      for (const Results::Variant& v : results_.variants())
        if (matches(v, value) && works(v)) top = std::max(top.value_or(-HUGE_VAL), std::atof(value_of(v.fields, check_.over).c_str()));
      return top;
    };
    const std::optional<double> a = largest(check_.value), b = largest(other_);
    const std::string over = last_part(check_.over);
    const auto upto = [&](const std::optional<double>& x) { return x ? fmt::format("up to {} {:g}", over, *x) : std::string("nowhere"); };
    const std::string times = a && b && *b > 0 && *a > *b ? fmt::format(", {:.3g} times", *a / *b) : "";
    const double m = a.value_or(-HUGE_VAL), o = b.value_or(-HUGE_VAL);
    return {m > o   ? Outcome::holds
            : m < o ? Outcome::refuted
                    : Outcome::undecided,
            fmt::format("{} works ({}) {}, {} {}{}", mine(), condition(), upto(a), others(), upto(b), times)};
  }

  Found oftener() const {
    int a = 0, b = 0;
    for (const auto& [mine_variant, other_variant] : pairs_) a += works(*mine_variant), b += works(*other_variant);
    return {a > b   ? Outcome::holds
            : a < b ? Outcome::refuted
                    : Outcome::undecided,
            fmt::format("{} works ({}) in {} of {} cases, {} in {}", mine(), condition(), a, pairs_.size(), others(), b)};
  }

  const Results& results_;
  const Check& check_;
  const std::string other_;
  const Measure measure_;
  Pairs pairs_;
};

std::vector<std::string> other_values(const Results& results, const Check& check) {
  if (!check.against.empty()) return {check.against};
  std::vector<std::string> all;
  for (const Results::Variant& v : results.variants())
    if (const std::string value = value_of(v.fields, check.field);
        value != check.value && std::find(all.begin(), all.end(), value) == all.end())
      all.push_back(value);
  return all;
}

// Nothing is claimed: which variant is the best, and how sure that is.
Verdict best_of(const Results& results) {
  const Measure measure = results.comparison().measure;
  const double sign = info(measure).higher_is_better ? 1 : -1;
  std::vector<const Results::Variant*> order;
  for (const Results::Variant& v : results.variants())
    if (!v.values(measure).empty() && v.diverged() == 0) order.push_back(&v);
  if (order.empty()) return {Outcome::undecided, "No variant has finished without diverging.", {}};
  std::stable_sort(order.begin(), order.end(), [&](const Results::Variant* a, const Results::Variant* b) {
    return sign * spread(a->values(measure)).mean > sign * spread(b->values(measure)).mean;
  });
  const Results::Variant& best = *order[0];
  std::string words =
      fmt::format("Best {}: {} ({})", info(measure).words, label(best.fields, true), shown(measure, spread(best.values(measure))));
  if (order.size() == 1) return {Outcome::undecided, words + ".", {}};
  std::vector<double> differences;
  for (std::size_t s = 0; s < best.by_seed.size(); ++s)
    if (const RunResult* a = best.by_seed[s], *b = order[1]->by_seed[s]; a && b)
      differences.push_back(sign * (a->measured[measure] - b->measured[measure]));
  const Difference d = difference(differences);
  const bool clear = d.pairs > 1 && d.low > 0;
  words += fmt::format("; next {} ({}), {}.", label(order[1]->fields, true), shown(measure, spread(order[1]->values(measure))),
                       clear         ? "clearly behind"
                       : d.pairs > 1 ? "which the spread over seeds may explain"
                                     : "with one seed, which says little");
  return {clear ? Outcome::holds : Outcome::undecided, words, {}};
}

}  // namespace

Spread spread(std::span<const double> values) {
  Spread s;
  double sum = 0, squares = 0;
  for (const double v : values)
    if (std::isfinite(v)) sum += v, ++s.count;
  if (s.count == 0) return {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::quiet_NaN(), 0};
  s.mean = sum / s.count;
  for (const double v : values)
    if (std::isfinite(v)) squares += (v - s.mean) * (v - s.mean);
  s.deviation = s.count > 1 ? std::sqrt(squares / (s.count - 1)) : 0;
  return s;
}

std::string shown(Measure m, const Spread& s) {
  if (s.count < 2) return shown(m, s.mean);
  return fmt::format("{} \xc2\xb1 {}", shown(m, s.mean),
                     info(m).percent ? fmt::format("{:.2f}", 100 * s.deviation) : fmt::format("{:.4f}", s.deviation));
}

Difference difference(std::span<const double> differences) {
  const Spread s = spread(differences);
  if (s.count < 2) return {s.mean, -HUGE_VAL, HUGE_VAL, s.count};
  const double half = student(s.count - 1) * s.deviation / std::sqrt(static_cast<double>(s.count));
  return {s.mean, s.mean - half, s.mean + half, s.count};
}

Results::Results(const Comparison& comparison, const std::vector<PlannedRun>& runs, const std::vector<RunResult>& results)
    : comparison_(comparison), planned_(runs.size()) {
  std::map<std::string, const RunResult*> by_name;
  for (const RunResult& r : results) by_name[r.name] = &r;
  for (const PlannedRun& run : runs) {
    if (run.variant >= variants_.size()) variants_.resize(run.variant + 1);
    Variant& v = variants_[run.variant];
    v.fields = run.fields;
    v.by_seed.resize(std::max(static_cast<std::size_t>(comparison.seeds), run.seed + 1));
    const auto found = by_name.find(run.name);
    v.by_seed[run.seed] = found == by_name.end() ? nullptr : found->second;
    ended_ += found != by_name.end();
  }
  const Measure m = comparison.measure;
  const double sign = info(m).higher_is_better ? 1 : -1;
  for (std::size_t seed = 0; variants_.size() > 1 && seed < static_cast<std::size_t>(comparison.seeds); ++seed) {
    Variant* best = nullptr;
    bool alone = false;
    for (Variant& v : variants_) {
      const RunResult* r = v.by_seed[seed];
      if (!r || r->diverged || !std::isfinite(r->measured[m])) continue;
      const double ahead = best ? sign * (r->measured[m] - best->by_seed[seed]->measured[m]) : 1;
      if (ahead > 0) best = &v, alone = true;
      else if (ahead == 0) alone = false;
    }
    if (best && alone) ++best->wins;
  }
}

std::vector<double> Results::Variant::values(Measure m) const {
  std::vector<double> all;
  for (const RunResult* r : by_seed)
    if (r && !r->diverged && std::isfinite(r->measured[m])) all.push_back(r->measured[m]);
  return all;
}

int Results::Variant::diverged() const {
  return static_cast<int>(std::count_if(by_seed.begin(), by_seed.end(), [](const RunResult* r) { return r && r->diverged; }));
}

Verdict verdict(const Results& results) {
  const Comparison& c = results.comparison();
  if (c.checks.empty()) return best_of(results);
  Verdict v;
  bool all_hold = true, refuted = false;
  for (const Check& check : c.checks)
    for (const std::string& other : other_values(results, check)) {
      const Found found = Checker(results, check, other).run();
      all_hold &= found.outcome == Outcome::holds;
      refuted |= found.outcome == Outcome::refuted;
      v.checks.push_back(found.words);
    }
  v.outcome = refuted ? Outcome::refuted : all_hold ? Outcome::holds : Outcome::undecided;
  std::string all;
  for (const std::string& words : v.checks) all += (all.empty() ? "" : "; ") + words;
  const char* const head = refuted ? "Does not hold here" : all_hold ? "Holds" : "Undecided";
  v.words = fmt::format("{}: {}.", head, all);
  return v;
}

}  // namespace norma::app
