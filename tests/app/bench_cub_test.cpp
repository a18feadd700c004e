// Batch statistics beside CUB in norma bench bn: loading the module, tensors, figures and tables. A made-up CUB stands in for a GPU's.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "apps/norma/bench/bn.h"
#include "apps/norma/system/plugin.h"
#include "norma/norma.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace norma::app {
namespace {

using nlohmann::ordered_json;
using test::TemporaryFolder;

// ---- the module

std::filesystem::path folder_of_program() {
  const char* program = std::getenv("NORMA_PROGRAM");
  return program ? std::filesystem::path(program).parent_path() : program_folder().parent_path();
}

TEST(Cub, SaysWhyItIsAbsent) {
  TemporaryFolder folder;
  const Cub missing(folder.path());
  EXPECT_FALSE(missing.present());
  EXPECT_EQ(missing.library(), "");
  for (const char* part : {"CUB is not installed", "norma_cub.so is missing", "CUDA toolkit", "cmake/build.sh release norma_cub"})
    EXPECT_NE(missing.missing().find(part), std::string::npos) << missing.missing();
  std::ofstream(folder / "norma_cub.so") << "no library";
  const Cub broken(folder.path());
  EXPECT_FALSE(broken.present());
  EXPECT_NE(broken.missing().find("norma_cub.so"), std::string::npos) << broken.missing();
}

TEST(Cub, IsLoadedFromTheProgramsFolder) {
  const Cub cub(folder_of_program());
  if (!cub.present()) GTEST_SKIP() << cub.missing();
  EXPECT_EQ(cub.library().substr(0, 4), "CUB ");
  test::expect_error(ErrorKind::failure, {cub.library(), "CUDA"}, [&] { (void)cub.tensors(99, {4, 3, 5}, 2); });  // no such GPU
}

std::size_t mentions_of_cub(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::stringstream bytes;
  bytes << in.rdbuf();
  const std::string text = bytes.str(), mangled = "N3cub";  // as the compiler writes cub::
  std::size_t count = 0;
  for (std::size_t at = text.find(mangled); at != std::string::npos; at = text.find(mangled, at + 1)) ++count;
  return count;
}

TEST(Cub, NothingOfItIsInTheProgram) {
  const std::filesystem::path folder = folder_of_program(), program = folder / "norma", module = folder / "norma_cub.so";
  if (!std::filesystem::exists(module) || !std::filesystem::exists(program)) GTEST_SKIP() << module << " or " << program << " is missing";
  EXPECT_EQ(mentions_of_cub(program), 0U);
  EXPECT_GT(mentions_of_cub(module), 0U);  // so they can be seen
}

// ---- figures

// Takes 2, 3 and 8 us for its statistics, reading and copying.
struct FakeCub {
  static inline int made = 0, destroyed = 0;
  static inline bool fails = false;
  static inline NormaCubTensor tensor{};
  static inline std::int64_t copies = 0;

  static void* create(std::int32_t gpu, const NormaCubTensor* t, std::int64_t n, char* error, std::size_t size) {
    if (gpu == 7) {
      std::strncpy(error, "no memory left", size);
      return nullptr;
    }
    tensor = *t, copies = n;
    ++made;
    return &made;
  }
  static double run(void*, std::int32_t work, char* error, std::size_t size) {
    if (fails) std::strncpy(error, "the GPU fell off", size);
    return fails ? -1 : work == norma_cub_statistics ? 2e-6 : work == norma_cub_read ? 3e-6 : 8e-6;
  }
  static std::int32_t read(void*, std::int32_t, float*) { return 0; }
  static void destroy(void*) { ++destroyed; }
};
constexpr NormaCub fake_cub{norma_cub_version, "CUB 0.0", FakeCub::create, FakeCub::run, FakeCub::read, FakeCub::destroy};

constexpr BnShape cub_shape{"t", "b", 1, 64, 32, 64, 64};  // 34 MB
constexpr std::size_t small_cache = std::size_t{1} << 20;  // so that few copies are needed

TEST(BenchCub, TensorsAreThoseOfNorma) {
  const auto expect = [](const Shape& shape, BnLayout layout, const NormaCubTensor& wanted) {
    const NormaCubTensor t = cub_tensor(shape, layout);
    EXPECT_EQ(t.outer, wanted.outer) << to_string(shape) << " " << name_of(layout);
    EXPECT_EQ(t.channels, wanted.channels) << to_string(shape) << " " << name_of(layout);
    EXPECT_EQ(t.inner, wanted.inner) << to_string(shape) << " " << name_of(layout);
  };
  expect({37, 3, 5, 7}, BnLayout::lanes, {2, 3, 1120});
  expect({37, 3, 5, 7}, BnLayout::nchw, {37, 3, 35});
  expect({37, 3, 5, 7}, BnLayout::nhwc, {1295, 3, 1});
  expect({256, 84}, BnLayout::lanes, {8, 84, 32});
  expect({256, 84}, BnLayout::nchw, {256, 84, 1});
}

TEST(BenchCub, FiguresAreRatiosRoundByRound) {
  const BnRequest request{.threads = 1, .seconds = 0, .cache_bytes = small_cache};
  const Cub cub(fake_cub);
  const int made = FakeCub::made, destroyed = FakeCub::destroyed;
  const BnFigures figures = measure(cub_shape, BnLayout::lanes, Device::cpu(), request, &cub);
  EXPECT_EQ(FakeCub::made - made, 1);
  EXPECT_EQ(FakeCub::destroyed - destroyed, 1);
  EXPECT_EQ(FakeCub::tensor.channels, 32);
  const std::size_t cache = small_cache;
  EXPECT_EQ(FakeCub::copies, copies_for({64, 32, 64, 64}, cache));  // pairs of tensors
  EXPECT_EQ(figures.passes[0].copies, copies_for({64, 32, 64, 64}, cache, 1));
  ASSERT_EQ(figures.passes.size(), 2U);
  ASSERT_TRUE(figures.statistics && figures.statistics->cub);
  const BnStatistics& s = *figures.statistics;
  EXPECT_EQ(s.bytes(), 64.0 * 32 * 64 * 64 * 4);
  EXPECT_EQ(s.seconds.count, 5);  // an odd number: the median of a ratio is that of the median
  EXPECT_GT(s.seconds.median, 0);
  EXPECT_DOUBLE_EQ(s.cub->seconds.median, 2e-6);
  EXPECT_DOUBLE_EQ(s.cub->read.median, s.bytes() / 3e-6);
  EXPECT_DOUBLE_EQ(s.cub->copy.median, 2 * s.bytes() / 8e-6);
  EXPECT_DOUBLE_EQ(s.cub->ratio.median, 2e-6 / s.seconds.median);
  EXPECT_DOUBLE_EQ(s.cub->share_of_read.median, 3e-6 / s.seconds.median);
  EXPECT_DOUBLE_EQ(s.cub->copy_ratio.median, figures.passes[0].copy.median / s.cub->copy.median);
}

TEST(BenchCub, WithoutItNormaIsMeasured) {
  TemporaryFolder empty;
  const Cub none(empty.path());
  const BnFigures figures =
      measure(cub_shape, BnLayout::lanes, Device::cpu(), {.threads = 1, .seconds = 0, .cache_bytes = small_cache}, &none);
  ASSERT_TRUE(figures.statistics);
  EXPECT_FALSE(figures.statistics->cub);
  EXPECT_GT(figures.statistics->seconds.median, 0);
}

TEST(BenchCub, ItsReasonsAreTold) {
  const Cub cub(fake_cub);
  test::expect_error(ErrorKind::failure, {"CUB 0.0: no memory left"}, [&] { (void)cub.tensors(7, {4, 3, 5}, 2); });
  Cub::Tensors tensors = cub.tensors(0, {4, 3, 5}, 2);
  FakeCub::fails = true;
  test::expect_error(ErrorKind::failure, {"CUB 0.0: the GPU fell off"}, [&] { (void)tensors.seconds(norma_cub_read); });
  FakeCub::fails = false;
}

// ---- tables

constexpr BnShape lenet_bn1{"lenet", "bn1", 1, 256, 6, 24, 24}, lenet_bn3{"lenet", "bn3", 1, 256, 120};

BnStatistics statistics_row(const BnShape& shape, BnLayout layout, double ours, double theirs) {
  const auto summary = [](double v) { return Summary{.median = v, .least = v, .lower = v, .upper = v, .count = 5}; };
  BnStatistics s{.shape = &shape, .tensor = shape_of(shape, 32, 0), .layout = layout, .seconds = summary(ours), .cub = {}};
  if (theirs > 0)
    s.cub = BnStatistics::Theirs{.seconds = summary(theirs),
                                 .read = summary(2e12),
                                 .copy = summary(3.5e12),
                                 .ratio = summary(theirs / ours),
                                 .share_of_read = summary(s.bytes() / ours / 2e12),
                                 .copy_ratio = summary(1.02)};
  return s;
}

void expect_narrow(const std::string& table) {
  std::istringstream lines(table);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80U) << line;
}

TEST(BenchCub, TableHasRatios) {
  const std::string table =
      text({statistics_row(lenet_bn1, BnLayout::lanes, 4e-6, 8e-6), statistics_row(lenet_bn1, BnLayout::nchw, 5e-6, 4e-6),
            statistics_row(lenet_bn3, BnLayout::lanes, 2e-6, 9e-6)},
           "CUB 3.0.1");
  expect_narrow(table);
  for (const char* line :
       {"batch statistics alone; CUB 3.0.1\n", "\nlenet                     layout        us   CUB us  ratio    read  %read   copy\n",
        "\nbn1 256x6x24x24           lanes       4.00     8.00   2.00  2000.0   44.2   3500\n",
        "\nbn1 256x6x24x24           nchw        5.00     4.00   0.80  2000.0   35.4   3500\n",
        "\nbn3 256x120               lanes       2.00     9.00   4.50  2000.0    3.1   3500\n",
        "\nlenet           lanes      3.00    2.00 bn1                 11.7     3.1    1.02\n",
        "\nlenet           nchw       0.80    0.80 bn1                 35.4    35.4    1.02\n"})
    EXPECT_NE(table.find(line), std::string::npos) << line << table;
}

TEST(BenchCub, TableSaysThatItIsMissing) {
  const std::string table =
      text({statistics_row(lenet_bn1, BnLayout::lanes, 4e-6, 0), statistics_row(lenet_bn3, BnLayout::nchw, 2e-6, 0)}, "");
  expect_narrow(table);
  for (const char* line : {"batch statistics alone; CUB: not installed\n", "\nbn1 256x6x24x24           lanes       4.00   not installed\n",
                           "\nbn3 256x120               nchw        2.00   not installed\n"})
    EXPECT_NE(table.find(line), std::string::npos) << line << table;
  EXPECT_EQ(table.find("all of a net"), std::string::npos) << table;
}

TEST(BenchCub, Json) {
  ordered_json j{{"device", "d"}};
  add_json(j, {statistics_row(lenet_bn1, BnLayout::lanes, 4e-6, 8e-6), statistics_row(lenet_bn3, BnLayout::lanes, 2e-6, 9e-6)},
           "CUB 3.0.1");
  EXPECT_EQ(j["cub"], "CUB 3.0.1");
  ASSERT_EQ(j["statistics"].size(), 2U);
  const ordered_json& first = j["statistics"][0];
  EXPECT_EQ(first["net"], "lenet");
  EXPECT_EQ(first["name"], "bn1");
  EXPECT_EQ(first["shape"], (ordered_json{256, 6, 24, 24}));
  EXPECT_EQ(first["layout"], "lanes");
  EXPECT_EQ(first["bytes"], 4.0 * 256 * 6 * 24 * 24);
  EXPECT_EQ(first["seconds"]["median"], 4e-6);
  EXPECT_EQ(first["cub_seconds"]["median"], 8e-6);
  EXPECT_EQ(first["ratio"]["median"], 2.0);
  EXPECT_EQ(first["cub_read_bytes_per_second"]["median"], 2e12);
  EXPECT_EQ(first["cub_copy_bytes_per_second"]["median"], 3.5e12);
  EXPECT_EQ(first["copy_ratio"]["median"], 1.02);
  EXPECT_NEAR(first["share_of_read"]["median"].get<double>(), 0.442, 1e-3);
  ASSERT_EQ(j["statistics_nets"].size(), 1U);
  const ordered_json& net = j["statistics_nets"][0];
  EXPECT_EQ(net["net"], "lenet");
  EXPECT_EQ(net["layout"], "lanes");
  EXPECT_DOUBLE_EQ(net["ratio"]["geometric_mean"].get<double>(), 3);
  EXPECT_EQ(net["ratio"]["worst"], 2.0);
  EXPECT_EQ(net["ratio"]["worst_name"], "bn1");
  EXPECT_EQ(net["share_of_read"]["worst_name"], "bn3");
  EXPECT_DOUBLE_EQ(net["copy_ratio"]["geometric_mean"].get<double>(), 1.02);

  ordered_json without{{"device", "d"}};
  add_json(without, {statistics_row(lenet_bn1, BnLayout::lanes, 4e-6, 0)}, "");
  EXPECT_TRUE(without["cub"].is_null());
  ASSERT_EQ(without["statistics"].size(), 1U);
  EXPECT_EQ(without["statistics"][0]["seconds"]["median"], 4e-6);
  EXPECT_FALSE(without["statistics"][0].contains("ratio"));
  EXPECT_EQ(without["statistics_nets"], ordered_json::array());
}

}  // namespace
}  // namespace norma::app
