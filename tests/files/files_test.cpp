// Reading: every error names the file and the system's reason, by whatever way the file is read. The end of memory.
#include "norma/files.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <new>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

#include "apps/norma/compare/comparison_runs.h"
#include "apps/norma/draw/png_reader.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/recipe/recipe.h"
#include "apps/norma/system/out_of_memory.h"
#include "norma/checkpoint.h"
#include "src/data/idx.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

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

TEST(ReadFile, RefusesAtOnceWhatIsNoRegularFile) {
  const TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "fifo").c_str(), 0600), 0);
  const int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = (folder / "socket").string();
  ASSERT_LT(name.size(), sizeof address.sun_path);
  name.copy(address.sun_path, name.size());
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  fs::create_symlink("/dev/zero", folder / "link");
  const std::pair<fs::path, std::string> kinds[] = {{folder.path(), "a folder"}, {"/dev/zero", "a device"},
                                                    {"/dev/null", "a device"},   {folder / "link", "a device"},
                                                    {folder / "fifo", "a pipe"}, {folder / "socket", "a socket"}};
  for (const auto& entry : kinds) {
    const fs::path& file = entry.first;
    const std::string words = file.string() + ": is " + entry.second;
    expect_error(ErrorKind::data, {words + ", not a regular file"}, [&] { read_file(file); });
    expect_error(ErrorKind::usage, {words + ", not a regular file"},
                 [&] { read_file(file, ErrorKind::usage, 1000, Accept::files_and_pipes); });
    expect_error(ErrorKind::data, {words}, [&] { read_idx(file, IdxKind::images); });
    expect_error(ErrorKind::data, {words}, [&] { load_safetensors(file); });
    expect_error(ErrorKind::data, {words}, [&] { app::PngReader png(file); });
    expect_error(ErrorKind::data, {words}, [&] { app::for_each_json_line(file, [](const auto&) {}); });
    expect_error(ErrorKind::usage, {words}, [&] { app::find_recipe(file.string()); });
  }
  ::close(listener);
}

// A shell's pipe: <(...) is /dev/fd/63.
class Pipe {
 public:
  explicit Pipe(std::function<void(int)> write) {
    EXPECT_EQ(::pipe(ends_), 0);
    writer_ = std::thread([this, write = std::move(write)] {
      write(ends_[1]);
      ::close(ends_[1]);
    });
  }
  ~Pipe() {
    ::close(ends_[0]);
    writer_.join();
    ::signal(SIGPIPE, before_);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  std::string path() const { return "/dev/fd/" + std::to_string(ends_[0]); }

 private:
  const sighandler_t before_ = ::signal(SIGPIPE, SIG_IGN);  // the failing write reports it
  int ends_[2] = {-1, -1};
  std::thread writer_;
};

bool put(int pipe, std::string_view text) { return ::write(pipe, text.data(), text.size()) == static_cast<ssize_t>(text.size()); }

TEST(ReadFile, ReadsAShellsPipeUpToALimitWhereItMay) {
  const auto read = [](const Pipe& pipe, std::uint64_t most) {
    return read_file(pipe.path(), ErrorKind::usage, most, Accept::files_and_pipes);
  };
  const auto late = [](int to) {
    for (const char* part : {"epochs", " = ", "2"}) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      EXPECT_TRUE(put(to, part));
    }
  };
  EXPECT_EQ(read(Pipe(late), 100), "epochs = 2");
  EXPECT_EQ(read(Pipe([](int) {}), 100), "");
  const auto endless = [](int to) {
    while (put(to, std::string(10'000, 'x'))) {
    }
  };
  expect_error(ErrorKind::usage, {"/dev/fd/", "at most 100000"}, [&] { read(Pipe(endless), 100'000); });
  const Pipe refused(endless);
  expect_error(ErrorKind::data, {refused.path() + ": is a pipe, not a regular file"}, [&] { read_file(refused.path()); });
  expect_error(ErrorKind::data, {refused.path() + ": is a pipe"}, [&] { read_idx(refused.path(), IdxKind::images); });
  const Pipe recipe([](int to) { put(to, "[data]\nname = \"digits\"\n"); });
  const app::RecipeSource source = app::find_recipe(recipe.path());
  EXPECT_EQ(source.text, "[data]\nname = \"digits\"\n");
  EXPECT_EQ(source.folder, fs::current_path());
}

TEST(ReadFile, ARecipeThatIsAnotherKindOfFileIsSaidToBeSo) {
  const TemporaryFolder folder;
  for (const auto& [bytes, words] : {std::pair{std::string("\x89PNG\r\n\x1a\n"), "a PNG picture"},
                                     {std::string("PK\x03\x04"), "a zip archive"},
                                     {std::string(), "an empty file"}}) {
    write_file(folder / "recipe.toml", bytes);
    expect_error(ErrorKind::usage, {(folder / "recipe.toml").string() + ": is " + words, "a recipe is text"},
                 [&] { app::find_recipe((folder / "recipe.toml").string()); });
  }
}

TEST(Paths, WithANulByteAreRefusedWhereTheyAreOpened) {
  const TemporaryFolder folder;
  write_file(folder / "n", std::string_view("kept"));
  const fs::path file = (folder / "n").string() + std::string("\0x", 2);
  const std::string shown = (folder / "n\\x00x").string();
  expect_error(ErrorKind::usage, {shown, "NUL"}, [&] { write_file(file, std::string_view("lost")); });
  expect_error(ErrorKind::usage, {shown, "NUL"}, [&] { save_safetensors(file, {}); });
  expect_error(ErrorKind::data, {shown, "NUL"}, [&] { (void)read_file(file); });
  expect_error(ErrorKind::data, {shown, "NUL"}, [&] { (void)load_safetensors(file); });
  EXPECT_EQ(read_file(folder / "n"), "kept");
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
