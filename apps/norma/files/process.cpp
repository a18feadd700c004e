#include "apps/norma/files/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "norma/error.h"

namespace norma::app {

namespace fs = std::filesystem;

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (fs::temp_directory_path() / "norma-XXXXXX").string();
  if (!::mkdtemp(pattern.data()))
    throw Error(ErrorKind::failure,
                fmt::format("cannot make a folder in {}: {}", fs::temp_directory_path().string(), std::strerror(errno)));
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::optional<FinishedProcess> run_process(std::vector<std::string> words, const fs::path& out, const fs::path& err) {
  using Clock = std::chrono::steady_clock;
  std::vector<char*> argv;
  for (std::string& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  pid_t child = 0;
  const Clock::time_point start = Clock::now();
  const int failed = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed == ENOENT) return {};
  if (failed) throw Error(ErrorKind::failure, fmt::format("cannot run {}: {}", words[0], std::strerror(failed)));
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) throw Error(ErrorKind::failure, fmt::format("waiting for {}: {}", words[0], std::strerror(errno)));
  return FinishedProcess{WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
                         std::chrono::duration<double>(Clock::now() - start).count()};
}

}  // namespace norma::app
