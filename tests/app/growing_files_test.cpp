// metrics.csv and TensorBoard's events: written epoch by epoch, cut by crashes, resumed.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "apps/norma/events/event_file.h"
#include "apps/norma/run/run_directory.h"
#include "apps/norma/run/run_files.h"
#include "norma/files.h"
#include "tests/support/runs.h"
#include "tests/support/temporary_folder.h"

namespace norma::app {
namespace {

using test::TemporaryFolder;

TEST(MetricsCsv, HasTheFieldsOfTheJsonAsRfc4180Says) {
  EXPECT_EQ(csv_header(),
            "epoch,train_loss,train_accuracy,test_loss,test_accuracy,seconds,train_seconds,samples_per_second,learning_rate,"
            "parameters_hash,device\r\n");
  EpochMetrics m;
  m.epoch = 3;
  m.train_loss = 0.1;
  m.train_accuracy = std::numeric_limits<double>::quiet_NaN();
  m.samples_per_second = 1e9;
  m.parameters_hash = "00ff";
  EXPECT_EQ(csv_row(m, "cpu (avx512, 2 threads)"), "3,0.1,,,,0.0,0.0,1000000000.0,0.0,00ff,\"cpu (avx512, 2 threads)\"\r\n");
  EXPECT_EQ(csv_row(m, "a \"b\"\nc"), "3,0.1,,,,0.0,0.0,1000000000.0,0.0,00ff,\"a \"\"b\"\"\nc\"\r\n");
}

TEST(MetricsCsv, IsKnownByItsContents) {
  const std::string header = csv_header(), row = csv_row(epoch(1), "cpu (avx2, 1 thread)"), next = csv_row(epoch(2), "say \"cpu\", or not");
  for (std::size_t cut = 0; cut <= next.size(); ++cut) EXPECT_TRUE(is_csv(header + row + next.substr(0, cut))) << cut;
  for (std::size_t cut = 0; cut <= header.size(); ++cut) EXPECT_TRUE(is_csv(header.substr(0, cut))) << cut;
  for (const std::string other : {"my note 1\nmy note 2\n", "2,0.5\nmine", "2,1,2,3,4,5,6,7,8,9,10,11"})
    EXPECT_FALSE(is_csv(header + row + other)) << other;
  for (const std::string other : {"mine\n", "epoch,loss\r\n", "\r\n"}) EXPECT_FALSE(is_csv(other)) << other;
  for (const std::string other :
       {"mine\r\n", "\r\n", "1,2\r\n", "0,1,,,,0.0,0.0,1.0,0.0,00ff,cpu\r\n", "1,1.50,,,,0.0,0.0,1.0,0.0,00ff,cpu\r\n",
        "1,1.5,,,,0.0,0.0,1.0,0.0,00ff,cpu,mine\r\n", "1,[],,,,0.0,0.0,1.0,0.0,00ff,cpu\r\n"})
    EXPECT_FALSE(is_csv(header + row + other)) << other;
}

TEST(MetricsCsv, GoesOnWithTheLinesOfARun) {
  const TemporaryFolder folder;
  std::string whole = csv_header();
  RunDirectory run = RunDirectory::create(folder.path());
  run.keep_epochs(0);
  EXPECT_FALSE(there(folder / table_name));
  for (int n = 1; n <= 4; ++n) run.append(epoch(n), "cpu");
  for (int n = 1; n <= 3; ++n) whole += csv_row(epoch(n), "cpu");
  EXPECT_EQ(contents(folder / table_name), whole + csv_row(epoch(4), "cpu"));
  run.keep_epochs(3);
  EXPECT_EQ(contents(folder / table_name), whole);
  std::ofstream(folder / table_name, std::ios::app | std::ios::binary) << "4,0.";  // a kill cut this row
  run.keep_epochs(3);
  EXPECT_EQ(contents(folder / table_name), whole);
  fs::remove(folder / table_name);  // a run of a norma that wrote no table
  run.keep_epochs(3);
  run.append(epoch(4), "cuda, two");
  EXPECT_EQ(contents(folder / table_name), whole + csv_row(epoch(4), "cuda, two"));
}

std::vector<std::int64_t> epochs_of_events(const fs::path& file) {
  std::vector<std::int64_t> all;
  const std::uint64_t whole = for_each_event(file, [&](std::int64_t epoch, std::uint64_t) { all.push_back(epoch); });
  EXPECT_EQ(whole, fs::file_size(file));
  return all;
}

TEST(Events, GoOnWithTheEpochsOfARun) {
  const TemporaryFolder folder;
  const fs::path file = folder / events_name;
  const Scalar scalars[] = {{"loss/train", 0.5}};
  RunDirectory run = RunDirectory::create(folder.path());
  run.keep_epochs(0);
  EXPECT_FALSE(there(file));
  for (int n = 1; n <= 3; ++n) run.append(n, scalars);
  const std::string three = contents(file);
  EXPECT_EQ(epochs_of_events(file), (std::vector<std::int64_t>{1, 2, 3}));
  std::ofstream(file, std::ios::app | std::ios::binary) << event_of(1, 4, scalars).substr(0, 20);  // a kill cut this record
  run.keep_epochs(3);
  EXPECT_EQ(contents(file), three);
  run.keep_epochs(1);
  run.append(2, scalars);
  EXPECT_EQ(epochs_of_events(file), (std::vector<std::int64_t>{1, 2}));
  run.keep_epochs(0);
  EXPECT_EQ(epochs_of_events(file), std::vector<std::int64_t>{});
  write_file(file, three.substr(0, 7));  // a kill cut the first record
  run.keep_epochs(0);
  run.append(1, scalars);
  EXPECT_EQ(epochs_of_events(file), std::vector<std::int64_t>{1});
}

}  // namespace
}  // namespace norma::app
