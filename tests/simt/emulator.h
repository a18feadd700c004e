// Runs CUDA kernels without a GPU. The threads of a block are fibers of one OS thread; one of the ready threads is drawn at random.
// A thread runs until it must wait; warps are not in lock-step. So a kernel that relies on an unenforced order gives other results with
// other seeds, and reads the NaNs that shared memory starts with. In every other block, at random, the draw is uneven: a random warp runs
// as far ahead of the others as it can. An even draw almost never lets it. This shows a missing barrier that keeps shared memory from being
// overwritten too early.
//
// It can find: accesses outside memory (built with AddressSanitizer), missing barriers between threads of a block or of the grid, barriers
// and warp collectives that not all reach, wrong masks, deadlocks, results that depend on the order of atomics. With Options::weak it finds
// fences that are missing between blocks. It cannot find races of fewer instructions than from one wait to the next.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace norma::simt {

// An error of the running kernel: what happened, where, to which thread of which block, and where the kernel was launched.
class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class Order {
  random,
  ascending,  // of the threads that begin, or that are released together, and of the blocks: the lowest first
  descending,
};

// A line of a kernel; `file` is how the name of the file ends.
struct Location {
  std::string file;
  int line = 0;
  bool operator==(const Location&) const = default;
};

struct Options {
  std::uint64_t seed = 0;
  Order order = Order::random;
  // Number of blocks that run at the same time, as far as there are; all blocks of a cooperative grid do. Above 1, a thread of each lags
  // behind.
  std::uint32_t together = 1;
  std::optional<Location> skip_barrier{};  // __syncthreads, __syncwarp, sync_grid of this line do nothing
  std::optional<Location> narrow_mask{};   // full masks given to warp collectives of this line lose lane 31
  // Blocks see each other's writes no sooner than the standard promises (visibility.h). Blocks take turns: one goes on until it waits, or
  // loses its turn at an atomic operation, a fence or a barrier.
  bool weak = false;
  std::optional<Location> skip_fence{};  // __threadfence of this line does nothing, arrive() of this line orders nothing
};

// Options of the whole process. Setting them restarts the random numbers: equal options and launches give an equal order.
const Options& options();
void set_options(const Options& options);

// Options until the end of a scope.
class ScopedOptions {
 public:
  explicit ScopedOptions(const Options& now) : before_(options()) { set_options(now); }
  ~ScopedOptions() { set_options(before_); }
  ScopedOptions(const ScopedOptions&) = delete;
  ScopedOptions& operator=(const ScopedOptions&) = delete;

 private:
  Options before_;
};

// Since the last reset_statistics(). Arrivals are those of single threads.
struct Statistics {
  std::uint64_t launches = 0, blocks = 0, threads = 0;
  std::uint64_t barrier_arrivals = 0, collective_arrivals = 0;
};
struct Arrivals {
  Location location;  // `file` as the compiler was given it
  std::string what;   // "__syncthreads"
  std::uint64_t count = 0;
};
Statistics statistics();
std::vector<Arrivals> barriers();     // the lines that were reached and can be named in skip_barrier, skipped or not; sorted
std::vector<Arrivals> fences();       // those that can be named in skip_fence; sorted
std::vector<Arrivals> collectives();  // the lines of shuffles and votes, which can be named in narrow_mask; sorted
void reset_statistics();

// ---- what device.cuh is made of

// Source location of a call, as a default argument.
struct Site {
  const char* file;
  int line;
  constexpr Site(const char* f = __builtin_FILE(), int l = __builtin_LINE()) : file(f), line(l) {}
};

inline constexpr std::uint32_t unset = 0x7FF5A5A5;  // what memory nobody wrote to is filled with: NaN as float and, twice, as double
inline constexpr int warp_size = 32, max_block = 1024;
inline constexpr std::size_t max_shared = 48 * 1024;  // bytes of a block

// Runs `thread` once for every thread of every block, and returns when all have ended. Throws Fault, or what a thread threw, with all
// threads gone. Not from within a kernel.
struct Grid {
  std::int64_t blocks = 1;
  int threads = 1;           // of a block, up to max_block
  bool cooperative = false;  // all blocks are alive together
  Site launched{};
};
void run_grid(const Grid& grid, const std::function<void()>& thread);

void sync_block(Site at);
void sync_warp(unsigned mask, Site at);
void sync_blocks(Site at);
void watch(const unsigned* number, Site at);  // the calling thread waits until it is not 0

void fence(Site at);
unsigned add_in_order(unsigned* counter, unsigned n, Site at);  // an atomic operation that is a fence, too
void begin_atomic(void* address, std::size_t bytes);            // around an atomic operation on these bytes
void end_atomic(void* address, std::size_t bytes);

enum class Shuffle { index, exclusive_or, up, down };
// Returns what the source lane gave as `bits`.
std::uint64_t shuffle(Shuffle how, unsigned mask, std::uint64_t bits, int operand, int width, Site at);

enum class Vote { ballot, any, all };
unsigned vote(Vote how, unsigned mask, bool predicate, Site at);

// The running block's object number `slot`. The first request allocates it and fills it with `unset`. Its address is a multiple of `align`
// and of no larger power of two.
void* shared_memory(int slot, std::size_t bytes, std::size_t align);
int allocate_slot();
template <class T>
inline const int slot_of = allocate_slot();

}  // namespace norma::simt
