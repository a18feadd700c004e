#include "src/execute/threads.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

#include "norma/device.h"
#include "norma/executor.h"

namespace norma {
namespace {

namespace fs = std::filesystem;

// quota / period, or nothing: "max", -1, no such file.
std::optional<double> ratio(std::istream&& quota_and_period) {
  double quota = 0, period = 0;
  if (quota_and_period >> quota >> period && quota > 0 && period > 0) return quota / period;
  return {};
}

std::string text_of(const fs::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::optional<double> quota_in(const fs::path& folder, bool version_2) {
  if (version_2) return ratio(std::istringstream(text_of(folder / "cpu.max")));
  return ratio(std::istringstream(text_of(folder / "cpu.cfs_quota_us") + " " + text_of(folder / "cpu.cfs_period_us")));
}

}  // namespace

std::optional<double> cpu_quota(const std::string& memberships, const fs::path& mounts) {
  std::optional<double> least;
  std::istringstream lines(memberships);
  for (std::string line; std::getline(lines, line);) {  // "0::/user.slice" or "4:cpu,cpuacct:/docker/1f"
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool version_2 = controllers == ",,";
    if (!version_2 && controllers.find(",cpu,") == std::string::npos) continue;
    for (const char* mount : {version_2 ? "" : "cpu", version_2 ? "unified" : "cpu,cpuacct"})
      for (fs::path group = fs::path(line.substr(second + 1)).relative_path();; group = group.parent_path()) {
        if (const std::optional<double> q = quota_in(mounts / mount / group, version_2)) least = std::min(*q, least.value_or(*q));
        if (group.empty()) break;
      }
  }
  return least;
}

int usable_cores() {
  cpu_set_t set;
  int cores =
      std::max(1, sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : static_cast<int>(std::thread::hardware_concurrency()));
  if (const std::optional<double> quota = cpu_quota(text_of("/proc/self/cgroup"), "/sys/fs/cgroup"); quota && *quota < cores)
    cores = std::max(1, static_cast<int>(std::ceil(*quota)));
  return cores;
}

}  // namespace norma
