// The lines of a run on stderr: what they say, that they fit, and when there is a bar.
#include "apps/norma/system/progress.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

namespace norma::app {
namespace {

EpochMetrics metrics() {
  EpochMetrics m;
  m.epoch = 1;
  m.train_loss = 0.4312;
  m.train_accuracy = 0.86123;
  m.test_loss = 0.4;
  m.test_accuracy = 0.8641;
  m.seconds = 1.93;
  m.samples_per_second = 31087;
  return m;
}

Progress progress() {
  Progress p;
  p.epoch = 3;
  p.epochs = 10;
  p.batch = 61;
  p.batches = 100;
  p.loss = 0.12345;
  p.accuracy = 0.95119;
  p.samples_per_second = 31087;
  p.seconds = 1.5;
  return p;
}

// The text that a display writes to a stream.
class Captured {
 public:
  Captured() : file_(std::tmpfile()) {}
  ~Captured() { std::fclose(file_); }
  std::FILE* stream() const { return file_; }
  std::string text() const {
    std::fflush(file_);
    std::rewind(file_);
    std::string all;
    for (int c; (c = std::fgetc(file_)) != EOF;) all += static_cast<char>(c);
    return all;
  }

 private:
  std::FILE* file_;
};

TEST(EpochLine, SaysTheEpochInEightyColumns) {
  EXPECT_EQ(epoch_line(metrics(), 5, 80), "epoch 1/5  train loss 0.4312 acc 86.12%  test 86.41%  1.93 s  31k samples/s");
  EpochMetrics m = metrics();
  m.epoch = 100;
  m.train_accuracy = m.test_accuracy.emplace(1.0);
  EXPECT_LE(epoch_line(m, 100, 80).size(), 80U);
  EXPECT_NE(epoch_line(m, 100, 80).find("test 100.00%"), std::string::npos);
}

TEST(EpochLine, WithoutATestSet) {
  EpochMetrics m = metrics();
  m.test_loss.reset();
  m.test_accuracy.reset();
  EXPECT_EQ(epoch_line(m, 5, 80), "epoch 1/5  train loss 0.4312 acc 86.12%  1.93 s  31k samples/s");
}

TEST(BarLine, FitsAnyWidth) {
  for (int columns = 1; columns < 200; ++columns) {
    EXPECT_LE(bar_line(progress(), columns).size(), static_cast<std::size_t>(columns));
    EXPECT_LE(bar_line("train-images-idx3-ubyte.gz", 5e6, 9.9e6, columns).size(), static_cast<std::size_t>(columns));
    EXPECT_LE(bar_line("train-images-idx3-ubyte.gz", 5e6, 0, columns).size(), static_cast<std::size_t>(columns));
  }
  const std::string line = bar_line(progress(), 79);
  for (const char* part : {"epoch 3/10 [=", "> ", " 26%", "loss 0.1235", "31k samples/s"})
    EXPECT_NE(line.find(part), std::string::npos) << line;
}

TEST(BarLine, IsOfTheWholeRun) {
  Progress p = progress();
  p.epoch = 2, p.epochs = 4, p.batch = 50, p.batches = 100, p.seconds = 5;
  const std::string line = bar_line(p, 100);
  EXPECT_NE(line.find(" 37%"), std::string::npos) << line;
  EXPECT_NE(line.find("eta 25 s"), std::string::npos) << line;  // half an epoch and two, of 10 s each
}

TEST(BarLine, IsFullAtTheEndOnly) {
  Progress p = progress();
  p.epoch = p.epochs;
  p.batch = 999;
  p.batches = 1000;
  EXPECT_NE(bar_line(p, 79).find('>'), std::string::npos);
  EXPECT_NE(bar_line(p, 79).find(" 99%"), std::string::npos);
  p.batch = 1000;
  EXPECT_NE(bar_line(p, 79).find("=]"), std::string::npos);
  EXPECT_NE(bar_line(p, 79).find("100%"), std::string::npos);
}

TEST(ProgressDisplay, NoBarWithoutATerminal) {
  Captured out;
  {
    ProgressDisplay display(ProgressMode::automatic, false, Terminal{}, out.stream());
    display.step(progress());
    display.epoch(metrics(), 5);
  }
  EXPECT_EQ(out.text(), epoch_line(metrics(), 5, 80) + "\n");
}

TEST(ProgressDisplay, TheBarIsRemovedBeforeALine) {
  Captured out;
  const Terminal terminal{.interactive = true, .color = false, .columns = 60};
  {
    ProgressDisplay display(ProgressMode::automatic, false, terminal, out.stream());
    display.step(progress());
    display.step(progress());  // within a tenth of a second: not drawn again
    display.epoch(metrics(), 5);
  }
  const std::string bar = bar_line(progress(), 59);
  EXPECT_EQ(out.text(), "\r" + bar + "\r" + std::string(bar.size(), ' ') + "\r" + epoch_line(metrics(), 5, 80) + "\n");
}

TEST(ProgressDisplay, NeverAndQuiet) {
  const Terminal terminal{.interactive = true, .color = true, .columns = 80};
  Captured never, quiet;
  {
    ProgressDisplay a(ProgressMode::never, false, terminal, never.stream()), b(ProgressMode::always, true, terminal, quiet.stream());
    for (ProgressDisplay* d : {&a, &b}) d->step(progress()), d->epoch(metrics(), 5);
  }
  EXPECT_EQ(never.text(), epoch_line(metrics(), 5, 80) + "\n");
  EXPECT_EQ(quiet.text(), "");
}

TEST(ProgressDisplay, AlwaysDrawsIntoAFile) {
  Captured out;
  {
    ProgressDisplay display(ProgressMode::always, false, Terminal{}, out.stream());
    display.step(progress());
  }
  EXPECT_EQ(out.text().front(), '\r');
}

}  // namespace
}  // namespace norma::app
