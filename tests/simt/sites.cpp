#include "tests/simt/sites.h"

#include <algorithm>
#include <array>
#include <map>
#include <tuple>

namespace norma::simt {
namespace {

using Key = std::tuple<std::string, int, Wait>;

struct State {
  Options options;
  std::uint64_t grids = 0;  // since the options were set
  Statistics counted;
  std::map<Key, Place> places;
};

State& state() {
  static State all;
  return all;
}

bool names(const std::optional<Location>& planted, const Location& at) {
  return planted && planted->line == at.line && at.file.ends_with(planted->file);
}

void plant(Place& place) {
  place.skipped = (is_barrier(place.what) && names(state().options.skip_barrier, place.location)) ||
                  (is_fence(place.what) && names(state().options.skip_fence, place.location));
  place.narrowed = names(state().options.narrow_mask, place.location);
}

Place& find(Site at, Wait what) {
  const auto [found, inserted] = state().places.try_emplace(Key{at.file, at.line, what}, Place{{at.file, at.line}, what});
  if (inserted) plant(found->second);
  return found->second;
}

std::vector<Arrivals> reached(bool (*wanted)(Wait)) {
  std::vector<Arrivals> list;
  for (const auto& [key, place] : state().places)
    if (wanted(place.what) && place.arrivals > 0) list.push_back({place.location, name_of(place.what), place.arrivals});
  return list;
}

}  // namespace

const char* name_of(Wait what) {
  static constexpr std::array names{"__syncthreads",   "__syncwarp",     "sync_grid",        "wait_until_set", "__shfl_sync",
                                    "__shfl_xor_sync", "__shfl_up_sync", "__shfl_down_sync", "add_product",    "__ballot_sync",
                                    "__any_sync",      "__all_sync",     "__threadfence",    "arrive",         "atomic operation"};
  return names[static_cast<std::size_t>(what)];
}

Place& arrive(Site at, Wait what) {
  // Looking a line up by its text takes longer than all else that waiting takes, so remember the addresses of file names.
  struct Known {
    const char* file = nullptr;
    int line = 0;
    Wait what{};
    Place* place = nullptr;
  };
  static std::array<Known, 256> known;
  const std::uint64_t hash =
      (reinterpret_cast<std::uintptr_t>(at.file) * 64 + static_cast<std::uint64_t>(at.line) * 11) + static_cast<std::uint64_t>(what);
  Known& k = known[hash * 0x9E3779B97F4A7C15 >> 56];
  if (k.file != at.file || k.line != at.line || k.what != what) k = {at.file, at.line, what, &find(at, what)};
  ++k.place->arrivals;
  return *k.place;
}

std::string text(const Place& place) {
  return place.location.file + ":" + std::to_string(place.location.line) + ": " + name_of(place.what);
}

std::uint64_t count_grid(std::int64_t blocks, int threads) {
  Statistics& counted = state().counted;
  ++counted.launches;
  counted.blocks += static_cast<std::uint64_t>(blocks);
  counted.threads += static_cast<std::uint64_t>(blocks) * static_cast<std::uint64_t>(threads);
  return state().options.seed * 0xD1342543DE82EF95 + state().grids++;
}

const Options& options() { return state().options; }

void set_options(const Options& now) {
  state().options = now;
  state().grids = 0;
  for (auto& [key, place] : state().places) plant(place);
}

Statistics statistics() {
  Statistics all = state().counted;
  for (const auto& [key, place] : state().places) {
    if (is_barrier(place.what)) all.barrier_arrivals += place.arrivals;
    if (is_collective(place.what)) all.collective_arrivals += place.arrivals;
  }
  return all;
}

std::vector<Arrivals> barriers() {
  return reached([](Wait what) { return is_barrier(what); });
}
std::vector<Arrivals> fences() {
  return reached([](Wait what) { return is_fence(what); });
}
std::vector<Arrivals> collectives() {
  return reached([](Wait what) { return is_collective(what); });
}

void reset_statistics() {
  state().counted = {};
  for (auto& [key, place] : state().places) place.arrivals = 0;
}

}  // namespace norma::simt
