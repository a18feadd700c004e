// write_file: all of the next contents or all of the previous ones, whatever fails.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <thread>

#include "norma/checkpoint.h"
#include "norma/files.h"
#include "tests/support/file_size_limit.h"
#include "tests/support/temporary_folder.h"

namespace norma {
namespace {

namespace fs = std::filesystem;
using test::contents;
using test::FileSizeLimit;
using test::TemporaryFolder;

// The message of the Error(failure) that writing throws.
std::string failure(const fs::path& file, std::string_view text) {
  try {
    write_file(file, text);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::failure);
    return e.what();
  }
  ADD_FAILURE() << "writing " << file << " was expected to fail";
  return {};
}

void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
}

TEST(WriteFile, WritesAndReplaces) {
  const TemporaryFolder folder;
  write_file(folder / "a", "first, and longer");
  write_file(folder / "a", "second");
  EXPECT_EQ(contents(folder / "a"), "second");
  write_file(folder / "a", "");
  EXPECT_EQ(contents(folder / "a"), "");
  const std::string zeros("\0x\0", 3);
  write_file(folder / "b", zeros);
  EXPECT_EQ(contents(folder / "b"), zeros);
  EXPECT_EQ(folder.list(), (std::vector<std::string>{"a", "b"}));
}

TEST(WriteFile, TakesTheLongestNameAFileCanHave) {
  const TemporaryFolder folder;
  const std::string name(255, 'n');
  write_file(folder / name, "text");
  EXPECT_EQ(contents(folder / name), "text");
  expect_contains(failure(folder / (name + "n"), "text"), "File name too long");
}

TEST(WriteFile, KeepsThePermissionsOfTheFileItReplaces) {
  const TemporaryFolder folder;
  write_file(folder / "private", "first");
  ASSERT_EQ(::chmod((folder / "private").c_str(), 0600), 0);
  write_file(folder / "private", "second");
  EXPECT_EQ(fs::status(folder / "private").permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST(WriteFile, ReplacesWhatASymbolicLinkPointsTo) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "elsewhere");
  write_file(folder / "elsewhere/model", "first");
  fs::create_symlink("elsewhere/model", folder / "link");
  write_file(folder / "link", "second");
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_EQ(contents(folder / "elsewhere/model"), "second");
  EXPECT_EQ(folder.list(), (std::vector<std::string>{"elsewhere", "link"}));
}

TEST(WriteFile, AWriteThatFailsHalfWayKeepsThePreviousFile) {
  const TemporaryFolder folder;
  write_file(folder / "model", "previous");
  std::string message;
  {
    const FileSizeLimit limit(4096);
    message = failure(folder / "model", std::string(100'000, 'x'));
  }
  expect_contains(message, (folder / "model").string());
  expect_contains(message, "File too large");
  EXPECT_EQ(contents(folder / "model"), "previous");
  EXPECT_EQ(folder.list(), std::vector<std::string>{"model"});
  write_file(folder / "model", std::string(100'000, 'x'));
  EXPECT_EQ(fs::file_size(folder / "model"), 100'000u);
}

TEST(WriteFile, AFullDiskKeepsThePreviousFile) {
  const TemporaryFolder folder;
  if (::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=64k") != 0)
    GTEST_SKIP() << "a small tmpfs cannot be mounted here: " << ::strerror(errno);
  struct Unmount {
    const fs::path& at;
    ~Unmount() { ::umount(at.c_str()); }
  } const unmount{folder.path()};
  write_file(folder / "model", "previous");
  const std::string message = failure(folder / "model", std::string(100'000, 'x'));
  expect_contains(message, (folder / "model").string());
  expect_contains(message, "No space left on device");
  EXPECT_EQ(contents(folder / "model"), "previous");
  EXPECT_EQ(folder.list(), std::vector<std::string>{"model"});
}

TEST(WriteFile, NamesTheFileAndTheCause) {
  const TemporaryFolder folder;
  write_file(folder / "file", "previous");
  const std::string below_a_file = (folder / "file/model").string();
  EXPECT_EQ(failure(below_a_file, "x"), "cannot write " + below_a_file + ": Not a directory");
  const std::string absent = (folder / "absent/model").string();
  EXPECT_EQ(failure(absent, "x"), "cannot write " + absent + ": No such file or directory");
  expect_contains(failure("/proc/self/model", "x"), "cannot write /proc/self/model: ");
  expect_contains(failure(folder.path(), "x"), "it is a folder");
  EXPECT_EQ(folder.list(), std::vector<std::string>{"file"});
  EXPECT_EQ(contents(folder / "file"), "previous");
}

TEST(WriteFile, NeverReplacesADevice) {
  const TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  expect_contains(failure(folder / "pipe", "x"), "it is not a regular file");
  fs::create_symlink("/dev/null", folder / "null");
  expect_contains(failure(folder / "null", "x"), "it is not a regular file");
  EXPECT_EQ(fs::status("/dev/null").type(), fs::file_type::character);
  EXPECT_EQ(folder.list(), (std::vector<std::string>{"null", "pipe"}));
}

// The name of the temporary file that writing this file makes, as the system reports it.
std::string temporary_name(const fs::path& file) {
  const int watch = ::inotify_init1(IN_CLOEXEC);
  EXPECT_GE(::inotify_add_watch(watch, file.parent_path().c_str(), IN_CREATE), 0);
  write_file(file, "x");
  alignas(inotify_event) char buffer[sizeof(inotify_event) + NAME_MAX + 1];
  EXPECT_GT(::read(watch, buffer, sizeof buffer), 0);
  ::close(watch);
  return reinterpret_cast<const inotify_event*>(buffer)->name;
}

TEST(WriteFile, NeverTouchesAFileOfTheTemporaryOnesName) {
  const TemporaryFolder folder;
  const std::string name = temporary_name(folder / "file");  // ".norma-<process>-<number>.tmp"
  const std::size_t number = name.rfind('-') + 1;
  const auto nth_after = [&](int n) { return name.substr(0, number) + std::to_string(std::stoi(name.substr(number)) + n) + ".tmp"; };
  const std::vector<std::string> taken{nth_after(1), nth_after(2), nth_after(3)};
  for (const std::string& other : taken) std::ofstream(folder / other) << "another's";
  write_file(folder / "file", "mine");
  EXPECT_EQ(contents(folder / "file"), "mine");
  for (const std::string& other : taken) EXPECT_EQ(contents(folder / other), "another's") << other;
  EXPECT_EQ(folder.list().size(), 4u);
}

TEST(WriteFile, WritesWithStandardInputClosed) {
  const TemporaryFolder folder;
  const int kept = ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10);
  ::close(STDIN_FILENO);
  write_file(folder / "file", "text");  // as descriptor 0
  if (kept >= 0) {
    ::dup2(kept, STDIN_FILENO);
    ::close(kept);
  }
  EXPECT_EQ(contents(folder / "file"), "text");
}

TEST(WriteAll, WritesInPartsAndLeavesTheCause) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const std::string text(1 << 20, 'a');  // more than a pipe holds
  std::string seen;
  std::thread reader([&] {
    char some[4096];
    for (ssize_t n; (n = ::read(ends[0], some, sizeof some)) > 0;) seen.append(some, static_cast<std::size_t>(n));
  });
  const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
  EXPECT_TRUE(write_all(ends[1], bytes));
  ::close(ends[1]);
  reader.join();
  ::close(ends[0]);
  EXPECT_EQ(seen, text);
  EXPECT_FALSE(write_all(ends[1], bytes));  // closed
  EXPECT_EQ(errno, EBADF);
}

TEST(WriteFile, AReaderNeverSeesAPart) {
  const TemporaryFolder folder;
  const fs::path file = folder / "file";
  const std::string a(50'000, 'a'), b(70'000, 'b');
  write_file(file, a);
  std::vector<std::thread> writers;  // two at once: temporary names must differ
  for (const std::string* text : {&a, &b})
    writers.emplace_back([&file, text] {
      for (int i = 0; i < 30; ++i) write_file(file, *text);
    });
  for (int i = 0; i < 200; ++i) {
    const std::string seen = contents(file);
    ASSERT_TRUE(seen == a || seen == b) << "saw " << seen.size() << " bytes";
  }
  for (std::thread& t : writers) t.join();
  EXPECT_EQ(folder.list(), std::vector<std::string>{"file"});
}

}  // namespace
}  // namespace norma
