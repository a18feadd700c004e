// A kernel's view of a Plan's memory: one address per value, on the device that runs the kernel.
#pragma once
#include <cstddef>
#include <cstdint>

namespace norma::kernels {

// Index into a Plan's value table; a default one stands for an operand that is absent.
struct ValueId {
  std::int32_t index = -1;
  constexpr explicit operator bool() const { return index >= 0; }
  friend constexpr bool operator==(ValueId, ValueId) = default;
};

// Memory that the thread will need soon, piece by piece. A kernel that waits for arithmetic fetches some of it on the way.
struct Upcoming {
  struct Piece {
    const std::byte* begin;
    std::size_t lines;  // of 64 bytes
  };
  const Piece *next = nullptr, *end = nullptr;
  std::size_t done = 0;  // lines of *next

  // Yields up to n lines from `at` on, `step` bytes apart: 64, or 0 when nothing is left. Lines beyond a piece do no harm.
  struct Lines {
    const std::byte* at;
    std::size_t step;
  };
  Lines take(std::size_t n, const void* otherwise) {
    if (next == end) return {static_cast<const std::byte*>(otherwise), 0};
    const Lines lines{next->begin + 64 * done, 64};
    done += n;
    if (done >= next->lines) ++next, done = 0;
    return lines;
  }
};

struct Memory {
  std::byte* const* address = nullptr;  // [values]
  std::int64_t first_sample = 0;        // of a Call that was cut to one pack: the batch's samples before it
  Upcoming* upcoming = nullptr;         // or null: nothing to fetch
  std::byte* scratch = nullptr;         // as much as the backend says that the Call needs

  // Address of a value, or null for an absent operand.
  template <class T>
  T* at(ValueId v) const {
    return v ? reinterpret_cast<T*>(address[v.index]) : nullptr;
  }
};

// Counters of a run, kept with the data, so that a Plan never changes from step to step. The host writes them before an epoch; Advance
// moves them. A checkpoint holds all but population and epoch, which the host knows.
struct StepState {
  std::uint64_t seed = 0;           // keys Philox, with step and layer
  std::int64_t step = 0;            // optimizer steps done since the start of training
  std::int64_t optimizer_from = 0;  // the step at which the optimizer began: 0, or where it was reset
  std::int64_t population = 0;      // samples of the set
  std::int64_t epoch = 0;           // counted from 0: orders the samples
  std::int64_t position = 0;        // in that order, of the next sample
  std::int64_t batch = 0;           // index into `rates` of the next step: batches done this epoch
  std::int64_t status = 0;          // 0, or 1 once a loss or gradient was not finite: from then on nothing is updated
  std::int64_t samples = 0;         // samples seen since the host cleared it
  std::int64_t correct = 0;         // of them, with the label on top
  std::int64_t counted = 0;         // of them, not ignored by the loss
  double loss_sum = 0;              // sum of the samples' losses
};

// Result of one loss Call.
struct LossResult {
  double loss = 0;      // reduced as asked for: the differentiated value
  double loss_sum = 0;  // sum over the samples that count
  std::int64_t correct = 0;
  std::int64_t counted = 0;  // samples (cross entropy: not ignored; mean squared error: N)
};

}  // namespace norma::kernels
