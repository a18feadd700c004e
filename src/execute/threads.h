// The useful number of threads.
#pragma once
#include <filesystem>
#include <optional>
#include <string>

namespace norma {

// The CPU quota of control groups, in processors: the least along the way from the process's group to the root. memberships: the text of
// /proc/self/cgroup; mounts: what /sys/fs/cgroup is. Version 2 (cpu.max) and version 1 (cpu.cfs_quota_us). Nothing where none is set.
std::optional<double> cpu_quota(const std::string& memberships, const std::filesystem::path& mounts);

}  // namespace norma
