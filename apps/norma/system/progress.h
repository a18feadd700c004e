// Progress of a run on stderr: a bar where a terminal can redraw it, and one plain line per epoch everywhere.
#pragma once
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "apps/norma/system/terminal.h"
#include "norma/trainer.h"

namespace norma::app {

enum class ProgressMode { automatic, always, never };  // in the order of --progress

// "epoch 1/5  train loss 0.4312 acc 86.12%  test 86.41%  1.93 s  31k samples/s", without its last parts where `columns` is too few.
std::string epoch_line(const EpochMetrics& m, std::int64_t epochs, int columns);

// "epoch 3/10 [=====>    ]  61%  loss 0.1234 acc 95.12%  31k samples/s  eta 12 s", never longer than `columns`.
std::string bar_line(const Progress& p, int columns);
// "train-images-idx3-ubyte.gz [=====>    ]  61%  5.9 MB"; total 0: not known.
std::string bar_line(const std::string& what, double done, double total, int columns);

class ProgressDisplay {
 public:
  // quiet: nothing at all. never: no bar, but the lines.
  ProgressDisplay(ProgressMode mode, bool quiet, const Terminal& terminal, std::FILE* stream = stderr);
  ~ProgressDisplay() { clear(); }
  ProgressDisplay(const ProgressDisplay&) = delete;
  ProgressDisplay& operator=(const ProgressDisplay&) = delete;

  // Redraws the bar, at most ten times a second.
  void step(const Progress& p);
  void transfer(const std::string& what, double done, double total);
  // So much of something of which `what` says what, with what else fits.
  void share(const std::string& what, double done, const std::vector<std::string>& more);
  // A line of its own, above the bar.
  void line(const std::string& text);
  // Ends the bar with the epoch's line.
  void epoch(const EpochMetrics& m, std::int64_t epochs);
  // Removes the bar, so that something else can be written.
  void clear() noexcept;

 private:
  bool due();
  void draw(const std::string& line);

  bool bar_, lines_;
  int columns_;
  std::FILE* stream_;
  std::size_t drawn_ = 0;  // characters of the bar on the screen
  std::chrono::steady_clock::time_point last_{};
};

}  // namespace norma::app
