// verify: the checks, and whole steps. Single Calls are verify_calls.cpp's.
#include "src/verify/verify.h"

#include <algorithm>
#include <cstring>

#include "norma/error.h"
#include "norma/text.h"
#include "src/train/trainer_state.h"
#include "src/verify/verify_calls.h"

namespace norma {
namespace {

using kernels::StepState;

// The first run of a Plan on a GPU launches its kernels, the second records them, the third replays the record.
constexpr int step_runs = 3;

bool outlives_step(const PlanValue& v) { return v.region != Region::activations && v.region != Region::pack && v.region != Region::data; }

Dataset first_samples(const Dataset& data, std::int64_t count) {
  Dataset part = data;
  const auto values = static_cast<std::size_t>(count * data.sample.elements());
  part.bytes.resize(std::min(part.bytes.size(), values));
  part.floats.resize(std::min(part.floats.size(), values));
  part.labels.resize(std::min(part.labels.size(), static_cast<std::size_t>(count)));
  return part;
}

class Verification {
 public:
  Verification(const Module& net, TrainerOptions options, const Dataset& data, std::span<const VerifyBackend> backends) {
    if (backends.empty()) throw Error(ErrorKind::usage, "verify was given no device to check");
    if (data.size() > 0) options.batch = std::min(options.batch, data.size());
    if (options.batch > 0 && !options.drop_last) tail_ = data.size() % options.batch;
    data_ = first_samples(data, options.batch + tail_);
    rates_ = {static_cast<float>(learning_rate(options.optimizer))};
    TrainerOptions alone = options;
    alone.reuse = false;
    for (const VerifyBackend& b : backends) {
      backends_.push_back(
          {b.name, std::make_unique<Trainer::State>(net, alone, b.make()), std::make_unique<Trainer::State>(net, options, b.make())});
      backends_.back().alone->check(data_);
      backends_.back().alone->check_classes(data);
      backends_.back().alone->check_counted(data_);
    }
    for (const bool joins : {false, true}) {
      const auto of_kind = [&](const Backend& b) { return b.alone->executor->traits().joins == joins; };
      const auto first = std::find_if(backends_.begin(), backends_.end(), of_kind);
      if (first == backends_.end()) continue;
      // Without joining it is plain NCHW, which another library takes.
      auto reference = std::make_unique<ReferenceExecutor>(joins ? first->alone->executor->traits().lanes : 1, joins);
      ReferenceExecutor* const executor = reference.get();
      expected_.push_back({executor, std::make_unique<Trainer::State>(net, alone, std::move(reference))});
    }
    samples_ = options.batch;
  }

  VerifyReport run(const OtherLibrary* other) {
    VerifyReport report;
    for (const Backend& b : backends_) report.backends.push_back({b.name, b.alone->executor->description()});
    if (other) report.backends.push_back({other->name, other->name});
    std::vector<std::pair<Mode, std::int64_t>> plans{{Mode::train, samples_}};
    if (tail_) plans.emplace_back(Mode::train, tail_);
    plans.emplace_back(Mode::eval, std::min(samples_, evaluation_batch));
    for (const auto& [mode, samples] : plans)
      for (Backend& b : backends_) report.steps.push_back(check_steps(b, mode, samples));

    // Continues from the state after those steps: gamma, beta and running statistics have moved from their first values.
    for (std::size_t i = 1; i < backends_.size(); ++i) copy_state(*backends_[0].alone, *backends_[i].alone);
    for (const Expected& e : expected_) copy_state(*backends_[0].alone, *e.state);
    for (const Expected& e : expected_) {
      std::vector<Backend*> alike;
      std::vector<std::string> names;
      for (Backend& b : backends_)
        if (b.alone->executor->traits().joins == e.executor->traits().joins) alike.push_back(&b), names.push_back(b.name);
      CallChecks checks(*e.executor, names, e.executor->traits().joins ? nullptr : other);
      for (const auto& [mode, samples] : plans) {
        std::vector<CallChecks::Side> sides;
        for (Backend* b : alike) sides.push_back({b->alone->executor.get(), &prepared(*b->alone, mode, samples)});
        checks.run(prepared(*e.state, mode, samples), sides);
        report.compared += static_cast<std::int64_t>(sides[0].plan->calls.size() * sides.size());
      }
      for (CallCheck& c : checks.results()) report.calls.push_back(std::move(c));
    }
    return report;
  }

 private:
  struct Backend {
    std::string name;
    std::unique_ptr<Trainer::State> alone, together;  // Calls one by one; steps as training runs them
  };

  // A Plan, ready to run on the last samples.
  const Plan& prepared(Trainer::State& state, Mode mode, std::int64_t samples) const {
    const Plan& plan = state.plan(mode, samples);
    state.bind(plan, {data_}, rates_);
    restart(state, samples);
    return plan;
  }
  void restart(Trainer::State& state, std::int64_t samples) const {
    StepState s = state.counters();
    s.population = data_.size();
    s.position = s.population - samples;
    s.batch = 0;
    state.set_counters(s);
  }

  StepCheck check_steps(Backend& b, Mode mode, std::int64_t samples) const {
    StepCheck check{b.name, mode, samples, step_runs, {}};
    const Plan &alone = prepared(*b.alone, mode, samples), &together = prepared(*b.together, mode, samples);
    for (int run = 1; run <= step_runs && check.difference.empty(); ++run) {
      restart(*b.alone, samples);
      restart(*b.together, samples);
      b.together->executor->run(together);
      for (std::size_t i = 0; i < alone.calls.size(); ++i) b.alone->executor->run_call(alone, i);
      if (const std::string value = first_difference(b, alone, together); !value.empty())
        check.difference = value + " after run " + std::to_string(run);
    }
    return check;
  }

  // Compares values that outlive the step, and the output of an evaluation.
  static std::string first_difference(const Backend& b, const Plan& alone, const Plan& together) {
    for (std::size_t i = 0; i < alone.values.size(); ++i)
      if (outlives_step(alone.values[i]) && bytes_of(*b.alone, alone, i) != bytes_of(*b.together, together, i)) return alone.values[i].name;
    if (alone.mode != Mode::eval) return {};
    const std::vector<float> y = read_tensor(*b.alone->executor, alone, alone.find("y")),
                             of_step = read_tensor(*b.together->executor, together, together.find("y"));
    return std::memcmp(y.data(), of_step.data(), y.size() * sizeof(float)) == 0 ? "" : "y";
  }

  static std::vector<std::byte> bytes_of(const Trainer::State& state, const Plan& plan, std::size_t value) {
    std::vector<std::byte> bytes(plan.values[value].bytes);
    state.executor->read(plan, static_cast<int>(value), bytes.data(), bytes.size());
    return bytes;
  }

  static void copy_state(const Trainer::State& from, const Trainer::State& to) {
    for (std::size_t i = 0; i < from.base->values.size(); ++i) {
      if (!outlives_step(from.base->values[i])) continue;
      const std::vector<std::byte> bytes = bytes_of(from, *from.base, i);
      to.executor->write(*to.base, static_cast<int>(i), bytes.data(), bytes.size());
    }
  }

  std::int64_t tail_ = 0;
  Dataset data_;
  std::vector<float> rates_;
  std::int64_t samples_ = 0;  // of a whole batch
  // Expected results: for backends that join Calls, and for those that do not. Another library is compared with the first.
  struct Expected {
    ReferenceExecutor* executor;
    std::unique_ptr<Trainer::State> state;
  };
  std::vector<Expected> expected_;
  std::vector<Backend> backends_;
};

}  // namespace

bool VerifyReport::passed() const {
  const auto all_passed = [](const auto& checks) {
    return std::all_of(checks.begin(), checks.end(), [](const auto& c) { return c.passed(); });
  };
  return compared > 0 && all_passed(calls) && all_passed(steps);
}

VerifyReport verify(const Module& net, const TrainerOptions& options, const Dataset& data, std::span<const VerifyBackend> backends,
                    const OtherLibrary* other) {
  if (other && !other->run) throw Error(ErrorKind::usage, "the other library " + printable(other->name) + " has no function to run");
  return Verification(net, options, data, backends).run(other);
}

VerifyReport verify(const Module& net, const TrainerOptions& options, const Dataset& data, std::span<const Device> devices,
                    const OtherLibrary* other) {
  std::vector<VerifyBackend> backends;
  for (const Device& d : devices) backends.push_back({to_string(d), [&options, d] { return make_executor(d, options.executor); }});
  return verify(net, options, data, backends, other);
}

}  // namespace norma
