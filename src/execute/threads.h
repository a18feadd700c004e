// Threads: the useful number of them, and the calling thread's OpenMP setting.
#pragma once
#include <omp.h>

#include <filesystem>
#include <optional>
#include <string>

namespace norma {

// The CPU quota of control groups, in processors: the least along the way from the process's group to the root. memberships: the text of
// /proc/self/cgroup; mounts: what /sys/fs/cgroup is. Version 2 (cpu.max) and version 1 (cpu.cfs_quota_us). Nothing where none is set.
std::optional<double> cpu_quota(const std::string& memberships, const std::filesystem::path& mounts);

// Sets `threads` threads for the parallel loops of the calling thread. Its end restores the old number, since the setting is the caller's.
class OpenMpThreads {
 public:
  explicit OpenMpThreads(int threads) : before_(omp_get_max_threads()) { omp_set_num_threads(threads); }
  ~OpenMpThreads() { omp_set_num_threads(before_); }
  OpenMpThreads(const OpenMpThreads&) = delete;
  OpenMpThreads& operator=(const OpenMpThreads&) = delete;

 private:
  int before_;
};

}  // namespace norma
