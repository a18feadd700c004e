// verify on any Executors: what tests hand faulty ones to.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "norma/verify.h"

namespace norma {

struct VerifyBackend {
  std::string name;
  std::function<std::unique_ptr<Executor>()> make;  // called twice: for single Calls, and for whole steps
};

VerifyReport verify(const Module& net, const TrainerOptions& options, const Dataset& data, std::span<const VerifyBackend> backends,
                    const OtherLibrary* other);

}  // namespace norma
