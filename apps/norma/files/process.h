// Other programs: run to their end, with a folder for what they leave.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace norma::app {

// A folder among the system's temporary files, gone at the end with all that it holds. Throws Error(failure) where none can be made.
class TemporaryFolder {
 public:
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

struct FinishedProcess {
  int exit_code = 0;   // 128 and more: ended by a signal
  double seconds = 0;  // from its start to its exit
};

// Runs a program, found along PATH, with its output in files. Nothing where there is no such program. Throws Error(failure) where it cannot
// be run.
std::optional<FinishedProcess> run_process(std::vector<std::string> words, const std::filesystem::path& out,
                                           const std::filesystem::path& err);

}  // namespace norma::app
