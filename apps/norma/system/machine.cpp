// Environment: the machine, the system and the build. The choice of a device.
#include "apps/norma/system/machine.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string_view>

#include "apps/norma/system/log.h"
#include "norma/norma.h"

namespace norma::app {
namespace {

// The text after `key` and `separator` in the first line that begins with key, without blanks and quotes around it.
std::string field(const char* file, std::string_view key, char separator) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const std::size_t at = line.find(separator);
    if (!line.starts_with(key) || at == std::string::npos) continue;
    const std::size_t begin = line.find_first_not_of(" \t\"", at + 1);
    if (begin == std::string::npos) return {};
    return line.substr(begin, line.find_last_not_of(" \t\"") - begin + 1);
  }
  return {};
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm tm{};
  ::gmtime_r(&now, &tm);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
  return text;
}

}  // namespace

Environment this_environment() {
  Environment e;
  e.norma_version = version;
  e.git_commit = NORMA_GIT_COMMIT;
  e.compiler = __VERSION__;  // clang names itself in it, g++ does not
  if (e.compiler.find("lang") == std::string::npos) e.compiler = "g++ " + e.compiler;
  e.os = field("/etc/os-release", "PRETTY_NAME", '=');
  utsname u{};
  if (::uname(&u) == 0) {
    e.kernel = fmt::format("{} {} {}", u.sysname, u.release, u.machine);
    e.cpu = u.machine;
  }
  // arm64 has no model name there
  if (const std::string model = field("/proc/cpuinfo", "model name", ':'); !model.empty()) e.cpu = model;
  e.cores = usable_cores();
  e.started = utc_now();
  return e;
}

double seconds_since_process_start() {
  std::ifstream in("/proc/self/stat");
  std::string text;
  std::getline(in, text);
  const std::size_t name_end = text.rfind(')');  // the program's name may hold anything
  if (name_end == std::string::npos) return -1;
  std::istringstream fields(text.substr(name_end + 1));
  std::string skipped;
  for (int field = 3; field < 22; ++field) fields >> skipped;
  double ticks = 0;
  timespec now{};
  if (!(fields >> ticks) || ::clock_gettime(CLOCK_BOOTTIME, &now) != 0) return -1;
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec) - ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

nlohmann::ordered_json to_json(const Environment& e) {
  return {{"norma_version", e.norma_version},
          {"git_commit", e.git_commit.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(e.git_commit)},
          {"compiler", e.compiler},
          {"device", e.device},
          {"threads", e.threads},
          {"data", e.data},
          {"os", e.os},
          {"kernel", e.kernel},
          {"cpu", e.cpu},
          {"cores", e.cores},
          {"started", e.started}};
}

std::vector<std::pair<std::string, std::string>> describe(const Environment& e) {
  std::vector<std::pair<std::string, std::string>> rows = {{"norma", e.norma_version},
                                                           {"Git commit", e.git_commit},
                                                           {"Compiler", e.compiler},
                                                           {"Device", e.device},
                                                           {"Threads", e.threads > 0 ? std::to_string(e.threads) : ""},
                                                           {"Processor", e.cpu},
                                                           {"Cores", e.cores > 0 ? std::to_string(e.cores) : ""},
                                                           {"System", e.os},
                                                           {"Kernel", e.kernel},
                                                           {"Started", e.started}};
  std::erase_if(rows, [](const auto& row) { return row.second.empty(); });
  return rows;
}

Device choose_device(const std::string& kind, const ExecutorOptions& options) {
  const Device device = Device::parse(kind);
  const std::string description = make_executor(device, options)->description();
  log_info(fmt::format("device: {}{}", description, kind == "auto" ? " (auto: " + best_device_reason() + ")" : ""));
  return device;
}

}  // namespace norma::app
