// verify: one Call at a time, on every backend and on the reference, from the same numbers.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "norma/verify.h"
#include "src/plan/plan.h"
#include "src/verify/reference_executor.h"

namespace norma {

class CallChecks {
 public:
  // The backends by name, in the order of run's sides.
  CallChecks(ReferenceExecutor& reference, std::vector<std::string> backends, const OtherLibrary* other);

  struct Side {
    Executor* executor = nullptr;
    const Plan* plan = nullptr;  // for this executor's lanes, without reuse of memory
  };
  // Every Call of a Plan that is ready to run on the reference and on all sides, from the same state.
  void run(const Plan& plan, std::span<const Side> sides);

  // By kind of Call, then by backend.
  std::vector<CallCheck> results() const;

 private:
  struct Kind {
    std::string call;
    std::vector<CallCheck> of;  // by backend, the other library last
  };
  std::vector<CallCheck>& of_kind(const std::string& call);

  ReferenceExecutor& reference_;
  std::vector<std::string> backends_;
  const OtherLibrary* other_;
  std::vector<Kind> kinds_;
};

}  // namespace norma
