#include "apps/norma/events/event_file.h"

#include <gtest/gtest.h>

#include <fstream>
#include <vector>

#include "apps/norma/events/scalars.h"
#include "norma/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace norma::app {
namespace {

std::string bytes(std::initializer_list<int> values) { return {values.begin(), values.end()}; }

// RFC 3720, appendix B.4, and the check value of catalogues of CRCs.
TEST(EventFile, Crc32cHasTheValuesOfItsStandard) {
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  std::string rising, falling;
  for (int i = 0; i < 32; ++i) rising += static_cast<char>(i), falling += static_cast<char>(31 - i);
  EXPECT_EQ(crc32c(rising), 0x46dd794eu);
  EXPECT_EQ(crc32c(falling), 0x113fdb5cu);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(""), 0u);
}

// TFRecord: the crc rotated right by 15 bits, plus a constant.
TEST(EventFile, MasksTheCrc) {
  EXPECT_EQ(masked_crc32c(""), 0xa282ead8u);
  EXPECT_EQ(masked_crc32c("123456789"), 0xc78ab0e5u);
}

// The head of the first record is that of every event file of TensorFlow: 24 bytes follow.
TEST(EventFile, BeginsAsTensorFlowsFilesDo) {
  const std::string file = event_file_begin(1.0);
  EXPECT_EQ(file.substr(0, 12), bytes({0x18, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22}));
  EXPECT_EQ(file.substr(12, 9), bytes({0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f}));  // field 1: the double 1
  EXPECT_EQ(file.substr(21, 15), bytes({0x1a, 0x0d}) + "brain.Event:2");       // field 3
  EXPECT_EQ(file.size(), 12u + 24u + 4u);
}

TEST(EventFile, HoldsScalarsAsProtobuf) {
  const Scalar scalars[] = {{"a", 0.5}, {"b/c", -2}};
  const std::string record = event_of(1.0, 300, scalars);
  EXPECT_EQ(record.substr(12 + 9, record.size() - 12 - 9 - 4), bytes({0x10, 0xac, 0x02, 0x2a, 0x16}) + bytes({0x0a, 0x08, 0x0a, 0x01}) +
                                                                   "a" + bytes({0x15, 0, 0, 0, 0x3f}) + bytes({0x0a, 0x0a, 0x0a, 0x03}) +
                                                                   "b/c" + bytes({0x15, 0, 0, 0, 0xc0}));
}

std::vector<std::pair<std::int64_t, std::uint64_t>> events_in(const std::filesystem::path& file, std::uint64_t& whole) {
  std::vector<std::pair<std::int64_t, std::uint64_t>> all;
  whole = for_each_event(file, [&](std::int64_t step, std::uint64_t end) { all.emplace_back(step, end); });
  return all;
}

TEST(EventFile, IsReadUpToWhatACrashCut) {
  const test::TemporaryFolder folder;
  const std::filesystem::path file = folder / "events";
  const Scalar scalars[] = {{"loss/train", 0.25}};
  const std::string begin = event_file_begin(2.5), first = event_of(3.5, 1, scalars), second = event_of(4.5, 1'000'000, scalars);
  for (std::size_t cut = 0; cut <= second.size(); ++cut) {
    write_file(file, begin + first + second.substr(0, cut));
    std::uint64_t whole = 0;
    const auto all = events_in(file, whole);
    ASSERT_EQ(all.size(), cut == second.size() ? 2u : 1u) << cut;
    EXPECT_EQ(all[0], std::pair(std::int64_t{1}, std::uint64_t{begin.size() + first.size()}));
    EXPECT_EQ(whole, all.back().second);
  }
}

TEST(EventFile, RefusesWhatNormaDoesNotWrite) {
  const test::TemporaryFolder folder;
  const std::filesystem::path file = folder / "events";
  const Scalar scalars[] = {{"loss/train", 0.25}};
  const std::string good = event_file_begin(2.5) + event_of(3.5, 1, scalars);
  std::uint64_t whole = 0;
  for (std::size_t at = 0; at < good.size(); ++at) {  // a byte that changed
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    write_file(file, bad);
    test::expect_error(ErrorKind::data, "events: byte ", [&] { events_in(file, whole); });
  }
  write_file(file, event_of(3.5, 1, scalars));
  test::expect_error(ErrorKind::data, "norma writes no such record", [&] { events_in(file, whole); });
  write_file(file, event_file_begin(1) + event_file_begin(1));
  test::expect_error(ErrorKind::data, "byte 40: norma writes no such record", [&] { events_in(file, whole); });
}

TEST(EventFile, DrawsAnEpoch) {
  EpochMetrics m;
  m.train_loss = 0.5;
  const auto tags = [](const std::vector<Scalar>& all) {
    std::string text;
    for (const Scalar& s : all) text += s.tag + " ";
    return text;
  };
  EXPECT_EQ(tags(scalars_of(m)), "loss/train accuracy/train learning_rate samples_per_second ");
  m.test_loss = m.test_accuracy = 0.25;
  EXPECT_EQ(tags(scalars_of(m)), "loss/train accuracy/train loss/test accuracy/test learning_rate samples_per_second ");
  EpochHealth h;
  h.norms = {{.layer = "bn1", .mean_drift = 0.5, .variance_ratio = 2, .gamma = ChannelSpread{0, 1, 2}, .beta = ChannelSpread{}},
             {.layer = "ln1"}};
  h.activations.push_back({.layer = "relu1", .kind = Activation::relu, .saturated = 0.5, .dead = {3}});
  h.activations.push_back({.layer = "gelu1", .kind = Activation::gelu});
  EXPECT_EQ(tags(scalars_of(h)),
            "health/bn1/mean_drift health/bn1/variance_ratio health/bn1/gamma health/bn1/beta health/relu1/saturated health/relu1/dead ");
}

}  // namespace
}  // namespace norma::app
