// safetensors whose headers are as large as the format allows: memory and time are bounded by the file's size, at every limit.
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "norma/checkpoint.h"
#include "norma/error.h"
#include "src/files/safetensors_header.h"
#include "tests/support/expect_error.h"
#include "tests/support/sanitizers.h"
#include "tests/support/temporary_folder.h"

extern "C" [[gnu::weak]] int __asan_address_is_poisoned(const volatile void* address);  // null without AddressSanitizer

namespace norma {
namespace {

namespace fs = std::filesystem;
using test::expect_error;
using test::TemporaryFolder;

void write(const fs::path& file, const std::string& header, const std::string& data = {}) {
  const std::uint64_t length = header.size();
  std::string prefix(sizeof length, '\0');
  std::memcpy(prefix.data(), &length, sizeof length);
  std::ofstream(file, std::ios::binary) << prefix << header << data;
}

std::string repeated(const std::string& text, std::size_t times, const std::string& between = ",") {
  std::string all;
  all.reserve(times * (text.size() + between.size()));
  for (std::size_t i = 0; i < times; ++i) all += (i ? between : "") + text;
  return all;
}

std::string error_of_header(const std::string& header, const std::string& data = {}) {
  const TemporaryFolder folder;
  write(folder / "f", header, data);
  try {
    load_safetensors(folder / "f");
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::data);
    return e.what();
  }
  return {};
}

std::string with_shape(std::size_t rank) { return R"({"a":{"dtype":"U8","shape":[)" + repeated("1", rank) + R"(],"data_offsets":[0,1]}})"; }

std::string with_metadata(std::size_t keys) {
  std::string header = R"({"__metadata__":{)";
  for (std::size_t i = 0; i < keys; ++i) header += (i ? ",\"" : "\"") + std::to_string(i) + "\":\"\"";
  return header + "}}";
}

std::string with_tensors(std::size_t count, const std::string& shape, std::size_t bytes) {
  std::string header = "{";
  for (std::size_t i = 0; i < count; ++i)
    header += (i ? ",\"" : "\"") + std::to_string(i) + R"(":{"dtype":"U8","shape":[)" + shape + R"(],"data_offsets":[)" +
              std::to_string(i * bytes) + "," + std::to_string((i + 1) * bytes) + "]}";
  return header + "}";
}

TEST(SafetensorsLimits, AreReadAndOneMoreIsRefused) {
  EXPECT_EQ(error_of_header(with_shape(64), "x"), "");
  EXPECT_NE(error_of_header(with_shape(65), "x").find("tensor 'a': more than 64 dimensions"), std::string::npos);
  EXPECT_EQ(error_of_header(with_metadata(65'536)), "");
  EXPECT_NE(error_of_header(with_metadata(65'537)).find("__metadata__: more than 65536 keys"), std::string::npos);
  const std::string ones = repeated("1", 64);
  EXPECT_EQ(error_of_header(with_tensors(31'250, ones, 1), std::string(31'250, 'x')), "");
  EXPECT_NE(error_of_header(with_tensors(31'251, ones, 1), std::string(31'251, 'x')).find("more than 2000000 numbers"), std::string::npos);
  for (const char quote : {'n', '"'}) {
    const std::string longest = quote == 'n' ? std::string(max_text_bytes, 'n') : repeated("\\\"", max_text_bytes / 2, "");
    EXPECT_EQ(error_of_header(R"({"__metadata__":{"k":")" + longest + "\"}}"), "");
    EXPECT_NE(error_of_header(R"({"__metadata__":{"k":")" + longest + "x\"}}").find("a text of more than 4000000 bytes"),
              std::string::npos);
  }
}

TEST(SafetensorsLimits, TheWriterHasTheReadersLimits) {
  const TemporaryFolder folder;
  const auto refused = [&](const Checkpoint& c, const char* word) {
    expect_error(ErrorKind::usage, {"cannot write", word}, [&] { save_safetensors(folder / "f", c); });
  };
  const std::vector<float> one(1);
  Checkpoint deep;
  deep.tensors.push_back(StoredTensor::from("deep", std::vector<std::int64_t>(65, 1), one));
  refused(deep, "'deep' has more than 64 dimensions");
  Checkpoint many;
  for (int i = 0; i < 31'251; ++i) many.tensors.push_back({std::to_string(i), DType::u8, std::vector<std::int64_t>(64, 1), {std::byte{0}}});
  refused(many, "more than 2000000 numbers");
  Checkpoint keys;
  for (int i = 0; i < 65'537; ++i) keys.metadata[std::to_string(i)];
  refused(keys, "65536 keys");
  Checkpoint text;
  text.metadata["k"] = std::string(max_text_bytes + 1, 'x');
  refused(text, "4000000 bytes");
  EXPECT_TRUE(folder.list().empty());
}

TEST(SafetensorsLimits, AHeaderOfExactlyTheFormatsLimit) {
  SLOW_UNDER_SANITIZERS("it reads 100 MB");
  const TemporaryFolder folder;
  Checkpoint c;
  std::size_t header = std::string_view(R"({"__metadata__":{"z":""}})").size();
  for (char k = 'a'; k < 'y'; ++k) {
    c.metadata[std::string(1, k)] = std::string(max_text_bytes, k);
    header += std::string_view(R"("a":"",)").size() + max_text_bytes;
  }
  const std::size_t room = max_header_bytes - header;
  c.metadata["z"] = std::string(room, 'z');
  save_safetensors(folder / "f", c);
  EXPECT_EQ(fs::file_size(folder / "f"), 8 + max_header_bytes);
  EXPECT_EQ(load_safetensors(folder / "f").metadata.at("z").size(), room);
  c.metadata["z"] += 'z';
  expect_error(ErrorKind::usage, {"a header of 100000008 bytes", "100000000"}, [&] { save_safetensors(folder / "f", c); });
}

TEST(SafetensorsLimits, AFileIsHeldToTheByte) {
  const TemporaryFolder folder;
  Checkpoint c;
  c.tensors.push_back(StoredTensor::from("w", {40'000}, std::vector<float>(40'000, 0.5f)));
  c.tensors.push_back({"u", DType::u8, {3}, std::vector<std::byte>(3)});
  c.metadata["k"] = "v";
  EXPECT_FALSE(holds_safetensors(folder / "f", c));
  save_safetensors(folder / "f", c);
  EXPECT_TRUE(holds_safetensors(folder / "f", c));
  EXPECT_FALSE(holds_safetensors(folder.path(), c));
  const auto differs = [&](auto change) {
    Checkpoint other = c;
    change(other);
    EXPECT_FALSE(holds_safetensors(folder / "f", other));
  };
  differs([](Checkpoint& o) { o.tensors[0].bytes[0] = std::byte{1}; });
  differs([](Checkpoint& o) { o.tensors[0].bytes.back() = std::byte{1}; });
  differs([](Checkpoint& o) { o.tensors[1].bytes[2] = std::byte{1}; });
  differs([](Checkpoint& o) { o.tensors[1].name = "v"; });
  differs([](Checkpoint& o) { o.metadata["k"] = "w"; });
  differs([](Checkpoint& o) { o.tensors.pop_back(); });
  fs::resize_file(folder / "f", fs::file_size(folder / "f") - 1);
  EXPECT_FALSE(holds_safetensors(folder / "f", c));
}

// ---- memory

std::string long_names() {
  std::string header = "{";
  for (char k = 'a'; k < 'h'; ++k)
    header += (k == 'a' ? "\"" : ",\"") + std::string(3'900'000, k) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  return header + "}";
}

std::size_t status_kilobytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key)) return std::stoul(line.substr(key.size()));
  return 0;
}

// Kilobytes by which reading the file made a process grow at most; 0 where this system does not say.
std::size_t growth(const fs::path& file) {
  int ends[2];
  if (::pipe(ends) != 0) return 0;
  const pid_t child = ::fork();
  if (child == 0) {
    ::malloc_trim(0);
    std::ofstream("/proc/self/clear_refs") << "5" << std::flush;  // the peak is now what there is
    const std::size_t before = status_kilobytes("VmRSS:");
    try {
      load_safetensors(file);
    } catch (const Error&) {
    }
    const std::size_t grown = status_kilobytes("VmHWM:") - before;
    ::_exit(::write(ends[1], &grown, sizeof grown) == sizeof grown ? 0 : 1);
  }
  ::close(ends[1]);
  std::size_t grown = 0;
  const bool told = ::read(ends[0], &grown, sizeof grown) == sizeof grown;
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return told && status == 0 ? grown : 0;
}

TEST(SafetensorsLimits, MemoryAndTimeAreBoundedByTheFilesSize) {
  if (__asan_address_is_poisoned) GTEST_SKIP() << "AddressSanitizer keeps what was freed, and takes its own time";
  constexpr std::size_t mb = 1'000'000;
  const TemporaryFolder folder;
  const std::string big = std::to_string(16 * mb), half = std::to_string(8 * mb);
  const auto one = [&](const char* dtype, const std::string& shape) {
    return std::string(R"({"w":{"dtype":")") + dtype + R"(","shape":[)" + shape + R"(],"data_offsets":[0,)" + big + "]}}";
  };
  const std::pair<const char*, std::pair<std::string, std::string>> files[] = {
      {"one large tensor", {one("U8", big), std::string(16 * mb, 'x')}},
      {"one of halves", {one("BF16", half), std::string(16 * mb, '\0')}},
      {"a shape of ones", {with_shape(5 * mb), "x"}},
      {"tensors of one byte", {with_tensors(200'000, "1", 1), std::string(200'000, 'x')}},
      {"tensors of nothing", {with_tensors(250'000, "0", 0), ""}},
      {"shapes of ones", {with_tensors(100'000, repeated("1", 20), 1), std::string(100'000, 'x')}},
      {"pieces of metadata", {with_metadata(1'250'000), ""}},
      {"long names", {long_names(), ""}},
      {"one name", {R"({")" + std::string(15 * mb, 'n') + R"(":{}})", ""}},
      {"brackets", {R"({"a":)" + std::string(15 * mb, '['), ""}},
      {"braces in a name", {R"({")" + std::string(max_text_bytes, '{') + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", ""}},
      {"one number", {R"({"a":{"shape":[)" + std::string(15 * mb, '1') + "]}}", ""}},
      {"blanks", {"{" + std::string(15 * mb, ' ') + "}", ""}},
  };
  for (const auto& [name, content] : files) {
    write(folder / "f", content.first, content.second);
    const std::size_t file_kb = fs::file_size(folder / "f") / 1000;
    const auto start = std::chrono::steady_clock::now();
    const std::size_t grown = growth(folder / "f");
    if (grown == 0) GTEST_SKIP() << "this system does not tell a process's peak";
    EXPECT_LE(grown * 1024 / 1000, file_kb * 5 / 2 + 16'000) << name << ": a file of " << file_kb << " kB";
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20)) << name;
  }
}

}  // namespace
}  // namespace norma
