// Reading: every error names the file and the system's reason, by whatever way the file is read. The end of memory.
#include "norma/files.h"

#include <gtest/gtest.h>

#include <fstream>
#include <new>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "apps/norma/comparison_runs.h"
#include "apps/norma/json_lines.h"
#include "apps/norma/out_of_memory.h"
#include "apps/norma/png_reader.h"
#include "apps/norma/recipe.h"
#include "norma/checkpoint.h"
#include "src/idx.h"
#include "tests/expect_error.h"
#include "tests/temporary_folder.h"

namespace norma::test {
namespace {

namespace fs = std::filesystem;

TEST(ReadFile, GivesAllBytes) {
  const TemporaryFolder folder;
  for (const std::size_t n : {0, 1, 65'535, 65'536, 65'537, 300'000}) {
    std::string text(n, '\0');
    for (std::size_t i = 0; i < n; ++i) text[i] = static_cast<char>(i % 251);
    write_file(folder / "file", text);
    EXPECT_EQ(read_file(folder / "file"), text) << n;
    EXPECT_EQ(read_file(folder / "file", ErrorKind::data, n), text) << n;
  }
  EXPECT_GT(read_file("/proc/self/status").size(), 0u);  // whose size is said to be 0
}

TEST(ReadFile, ReadsNoMoreThanIsAskedFor) {
  const TemporaryFolder folder;
  write_file(folder / "file", std::string(1000, 'x'));
  expect_error(ErrorKind::data, {(folder / "file").string(), "1000 bytes", "at most 999"},
               [&] { read_file(folder / "file", ErrorKind::data, 999); });
  expect_error(ErrorKind::data, {"/dev/zero", "at most 100000"}, [&] { read_file("/dev/zero", ErrorKind::data, 100'000); });
}

TEST(ReadFile, NamesTheFileAndTheReason) {
  const TemporaryFolder folder;
  expect_error(ErrorKind::data, {(folder / "absent").string() + ": cannot be read: No such file"}, [&] { read_file(folder / "absent"); });
  expect_error(ErrorKind::usage, {(folder / "absent").string() + ": cannot be read: No such file"},
               [&] { read_file(folder / "absent", ErrorKind::usage); });
  expect_error(ErrorKind::data, {folder.path().string() + ": is a folder"}, [&] { read_file(folder.path()); });
  expect_error(ErrorKind::data, {"/proc/self/mem: cannot be read: Input/output error"}, [] { read_file("/proc/self/mem"); });
  expect_error(ErrorKind::failure, {"/proc/self/mem: cannot be read: Input/output error"},  // no wrong usage
               [] { read_file("/proc/self/mem", ErrorKind::usage); });
}

// A file whose reading fails: the memory at address 0 of this process.
TEST(ReadFile, IsBehindEveryReader) {
  const TemporaryFolder folder;
  const auto unreadable = [&](const std::string& name) {
    fs::create_symlink("/proc/self/mem", folder / name);
    return (folder / name).string();
  };
  const std::string reason = ": cannot be read: Input/output error";
  const std::string config = unreadable("config.toml"), lines = unreadable("metrics.jsonl"), weights = unreadable("model.safetensors"),
                    images = unreadable("images"), picture = unreadable("picture.png"), comparison = unreadable("comparison.toml");
  expect_error(ErrorKind::failure, {config + reason}, [&] { app::find_recipe(folder.path().string()); });
  expect_error(ErrorKind::data, {lines + reason}, [&] { app::for_each_json_line(lines, [](const auto&) {}); });
  expect_error(ErrorKind::data, {images + reason}, [&] { read_idx(images, IdxKind::images); });
  expect_error(ErrorKind::data, {picture + reason}, [&] { const app::PngReader reader(picture); });
  expect_error(ErrorKind::data, {comparison + reason}, [&] { app::ComparisonDirectory::open(folder.path()).comparison(); });
  expect_error(ErrorKind::data, {weights}, [&] { load_safetensors(weights); });
}

// Throws where nothing can catch it, as a destructor that takes memory does.
template <class Exception>
struct ThrowsAtItsEnd {
  Exception exception;
  ~ThrowsAtItsEnd() { raise(exception); }
  static void raise(const Exception& e) { throw e; }
};

TEST(EndsWithoutMemory, WithExitCode1AndAMessage) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto end = [](auto exception) {
    const app::EndsWithoutMemory guard;
    const ThrowsAtItsEnd<decltype(exception)> ends{exception};
  };
  EXPECT_EXIT(end(std::bad_alloc()), testing::ExitedWithCode(1), "norma: error: out of memory");
  EXPECT_EXIT(end(std::runtime_error("something else")), testing::KilledBySignal(SIGABRT), "something else");
}

}  // namespace
}  // namespace norma::test
