#include "apps/norma/system/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "apps/norma/system/figures.h"
#include "norma/text.h"

namespace norma::app {
namespace {

constexpr std::size_t bar_least = 8, bar_most = 40;

std::string bar(double share, std::size_t width) {
  const auto full = static_cast<std::size_t>(std::clamp(share, 0.0, 1.0) * static_cast<double>(width));
  std::string cells(width, ' ');
  std::fill_n(cells.begin(), full, '=');
  if (full < width) cells[full] = '>';
  return "[" + cells + "]";
}

// head, bar and as many of the parts as fit, the first ones first.
std::string with_bar(const std::string& head, double share, const std::vector<std::string>& parts, int columns) {
  const std::size_t room = static_cast<std::size_t>(std::max(columns, 1));
  std::string tail = fmt::format(" {:3.0f}%", std::floor(100 * std::clamp(share, 0.0, 1.0)));
  const std::size_t frame = head.size() + 3;  // " [" and "]"
  for (const std::string& part : parts) {
    if (frame + bar_least + tail.size() + 2 + part.size() > room) break;
    tail += "  " + part;
  }
  std::string line = head + tail;
  if (frame + bar_least + tail.size() <= room) line = head + " " + bar(share, std::min(bar_most, room - frame - tail.size())) + tail;
  return line.substr(0, room);
}

}  // namespace

std::string epoch_line(const EpochMetrics& m, std::int64_t epochs, int columns) {
  std::string line = fmt::format("epoch {}/{}", m.epoch, epochs);
  std::vector<std::string> parts{fmt::format("train loss {} acc {:.2f}%", short_loss(m.train_loss), 100 * m.train_accuracy)};
  if (m.test_accuracy) parts.push_back(fmt::format("test {:.2f}%", 100 * *m.test_accuracy));
  parts.push_back(short_duration(m.seconds));
  parts.push_back(short_count(m.samples_per_second) + " samples/s");
  for (const std::string& part : parts)
    if (line.size() + 2 + part.size() <= static_cast<std::size_t>(std::max(columns, 1))) line += "  " + part;
    else break;
  return line;
}

std::string bar_line(const Progress& p, int columns) {
  const double of_epoch = p.batches > 0 ? static_cast<double>(p.batch) / static_cast<double>(p.batches) : 0;
  const double epochs = static_cast<double>(std::max<std::int64_t>(p.epochs, 1)), done = static_cast<double>(p.epoch - 1) + of_epoch;
  const double left = of_epoch > 0 ? p.seconds / of_epoch * (epochs - done) : 0;  // as fast as this epoch
  return with_bar(
      fmt::format("epoch {}/{}", p.epoch, p.epochs), done / epochs,
      {fmt::format("loss {} acc {:.2f}%", short_loss(p.loss), 100 * p.accuracy), short_count(p.samples_per_second) + " samples/s",
       "eta " + (left < 59 ? fmt::format("{:.0f} s", std::ceil(left)) : short_duration(left))},
      columns);
}

std::string bar_line(const std::string& what, double done, double total, int columns) {
  if (total <= 0) return fmt::format("{}  {}", what, with_prefix(done, "B")).substr(0, static_cast<std::size_t>(std::max(columns, 1)));
  return with_bar(what, done / total, {with_prefix(done, "B")}, columns);
}

ProgressDisplay::ProgressDisplay(ProgressMode mode, bool quiet, const Terminal& terminal, std::FILE* stream)
    : bar_(!quiet && (mode == ProgressMode::always || (mode == ProgressMode::automatic && terminal.interactive))),
      lines_(!quiet),
      columns_(terminal.columns),
      stream_(stream) {}

bool ProgressDisplay::due() {
  const auto now = std::chrono::steady_clock::now();
  if (!bar_ || now - last_ < std::chrono::milliseconds(100)) return false;
  last_ = now;
  return true;
}

void ProgressDisplay::step(const Progress& p) {
  if (due()) draw(bar_line(p, columns_ - 1));  // a character in the last column would wrap
}

void ProgressDisplay::transfer(const std::string& what, double done, double total) {
  if (due()) draw(bar_line(what, done, total, columns_ - 1));
}

void ProgressDisplay::share(const std::string& what, double done, const std::vector<std::string>& more) {
  if (due()) draw(with_bar(what, done, more, columns_ - 1));
}

void ProgressDisplay::line(const std::string& text) {
  clear();
  if (!lines_) return;
  std::fputs((text + "\n").c_str(), stream_);
  std::fflush(stream_);
}

void ProgressDisplay::epoch(const EpochMetrics& m, std::int64_t epochs) { line(epoch_line(m, epochs, std::max(columns_, 80))); }

// Blanks instead of an escape sequence: right on every terminal.
void ProgressDisplay::draw(const std::string& line) {
  const std::string rest(drawn_ > line.size() ? drawn_ - line.size() : 0, ' ');
  std::fputs(("\r" + line + rest).c_str(), stream_);
  std::fflush(stream_);
  drawn_ = line.size();
}

void ProgressDisplay::clear() noexcept {
  if (drawn_ == 0) return;
  std::fputc('\r', stream_);
  for (std::size_t i = 0; i < drawn_; ++i) std::fputc(' ', stream_);
  std::fputc('\r', stream_);
  std::fflush(stream_);
  drawn_ = 0;
}

}  // namespace norma::app
