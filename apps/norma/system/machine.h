// The machine, system and build of a run, for environment.json, the report and doctor. It holds no host or user name. The device of a run.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "norma/device.h"
#include "norma/executor.h"

namespace norma::app {

struct Environment {
  std::string norma_version, git_commit;  // git_commit: empty if not built from a git checkout
  std::string compiler;                   // "g++ 12.2.0"
  std::string device;                     // "cpu (avx512, 2 threads)"
  int threads = 0;
  std::string data;        // "mnist (/usr/share/datasets/mnist): 60000 + 10000 samples (1, 28, 28), 10 classes"
  std::string os, kernel;  // "Debian GNU/Linux 12 (bookworm)", "Linux 6.1.0 x86_64"
  std::string cpu;         // the processor's model name
  int cores = 0;           // that this process may use
  std::string started;     // UTC, ISO 8601
};

// Fills every field except git_commit, device, threads and data, which the caller knows.
Environment this_environment();

// Since the kernel started this process, which it tells in hundredths of a second; below 0 where it does not tell.
double seconds_since_process_start();

nlohmann::ordered_json to_json(const Environment& e);
// The environment for people, without unknown values: ("Device", "cpu (avx512, 2 threads)").
std::vector<std::pair<std::string, std::string>> describe(const Environment& e);

// The device of --device or a recipe, checked. Logs it, and for "auto" why it was chosen. Throws Error(device) if it cannot be used.
Device choose_device(const std::string& kind, const ExecutorOptions& options);

}  // namespace norma::app
