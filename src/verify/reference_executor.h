// The reference as an Executor: a Trainer uses it like a device.
#pragma once
#include <map>
#include <string>

#include "norma/executor.h"
#include "src/verify/reference.h"

namespace norma {

class ReferenceExecutor final : public Executor {
 public:
  using Reference = reference::BasicReference<reference::Tracked>;

  // As the Executor whose Calls it is to run: which of them are joined depends on the lanes, too.
  ReferenceExecutor(int lanes, bool joins) : traits_{.lanes = lanes, .joins = joins} {}

  // Its numbers with their error bounds; every one written through the Executor is exact.
  Reference& reference() { return reference_; }

  std::string description() const override { return "reference (double)"; }
  const DeviceTraits& traits() const override { return traits_; }
  void prepare(const Plan& plan) override { reference_.prepare(plan); }
  // Copies: a change of the source shows after the next bind.
  void bind(const Plan& plan, int value, const void* source, std::size_t bytes, std::int64_t version) override;
  // Both take whole values. Scratch holds nothing.
  void write(const Plan& plan, int value, const void* source, std::size_t bytes, std::size_t offset) override;
  void read(const Plan& plan, int value, void* destination, std::size_t bytes, std::size_t offset) override;
  // Never looks for non-finite values: its results are the expected ones, whatever they are.
  void run(const Plan& plan, std::int64_t times, bool check_each) override;
  void run_call(const Plan& plan, std::size_t call) override { reference_.run_call(plan, call); }
  std::vector<double> run_timed(const Plan& plan) override;
  void synchronize() override {}

 private:
  DeviceTraits traits_;
  Reference reference_;
};

}  // namespace norma
