// norma bench bn: batch norm by itself, forward in training and backward, in every layout of a device.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/norma/bench/bench.h"
#include "apps/norma/bench/yardstick.h"

namespace norma::app {

struct BnRequest {
  std::string filter{};  // of "net/name"; empty: all
  std::string device = "auto", isa = "auto";
  int threads = 0;                     // 0: every core
  std::int64_t batch = 32;             // of ResNet-50's
  std::vector<std::string> layouts{};  // empty: all that the device has
  double seconds = 0.4;                // for each shape and layout; at least 5 rounds
  std::size_t cache_bytes = 0;         // that no tensor may be read from; 0: the device's
  bool json = false, quiet = false;
};

struct BnShape {
  const char* net;
  const char* name;                  // the layer's in PyTorch
  std::int64_t count = 1;            // times it is in the net
  std::int64_t n = 0;                // samples; 0: --batch; below 0: as many as make it several times the device's cache
  std::int64_t c = 0, h = 0, w = 0;  // h 0: (N,C)
};

// LeNet's, every distinct one of ResNet-50 at 224 x 224, and some that fill no cache.
std::span<const BnShape> bn_shapes();
// (N,C,H,W) or (N,C), on a device with such a cache.
Shape shape_of(const BnShape& s, std::int64_t batch, std::size_t cache_bytes);

// Memory layout of a tensor: the device's own packs of samples, or the layouts of other libraries.
enum class BnLayout : std::uint8_t { lanes, nchw, nhwc };
const char* name_of(BnLayout l);
// The layouts that a device has for a shape. For an (N,C) tensor nchw stands for nhwc, too.
std::vector<BnLayout> layouts_of(const Device& device, const Shape& shape);

struct BnPass {
  const BnShape* shape = nullptr;
  Shape tensor{};
  BnLayout layout = BnLayout::lanes;
  std::string pass;                      // forward, backward
  std::int64_t copies = 0;               // of all its tensors, taken in turn
  std::int64_t tensors = 0;              // that are read or written at least: what fits into the cache is read once
  Summary seconds, copy, share_of_copy;  // copy: bytes per second of copies of as many tensors, timed alternately with it

  double bytes() const { return static_cast<double>(tensors * tensor.elements()) * sizeof(float); }
};

// Batch statistics alone, in one layout: norma's, and CUB's work on such tensors, all timed in turn.
struct BnStatistics {
  const BnShape* shape = nullptr;
  Shape tensor{};
  BnLayout layout = BnLayout::lanes;
  Summary seconds;  // norma's

  struct Theirs {
    Summary seconds;        // its statistics alone, by DeviceSegmentedReduce over channels
    Summary read, copy;     // bytes per second: DeviceReduce, and DeviceTransform, whose bytes are read and written
    Summary ratio;          // its time of the statistics over norma's
    Summary share_of_read;  // norma's statistics read x: bytes per second over those of `read`
    Summary copy_ratio;     // its time of a copy over that of norma's copy
  };
  std::optional<Theirs> cub;  // no value where CUB is not there

  double bytes() const { return static_cast<double>(tensor.elements()) * sizeof(float); }  // x, once
};

struct BnFigures {
  std::vector<BnPass> passes;
  std::optional<BnStatistics> statistics;
};

// Number of sets of tensors to use in rotation. Twice the cache lies between two uses of a set, of which a pass touches `tensors` at least:
// x and y, or x alone.
std::int64_t copies_for(const Shape& shape, std::size_t cache_bytes, std::int64_t tensors = 2);
// Least number of tensors that a pass reads and writes. Forward: x, y. Backward: x, dy, dx. The sums over the batch read their input first.
// It counts again where neither the cache nor the chip keeps it (measure() asks the Plan).
std::int64_t least_tensors(bool backward, const Shape& shape, std::size_t cache_bytes);

// A tensor's memory as CUB sees it, which knows no packs: a pack's padding counts as samples.
NormaCubTensor cub_tensor(const Shape& shape, BnLayout layout);

// With `cub` also the statistics alone, of CUB where it is present.
BnFigures measure(const BnShape& shape, BnLayout layout, const Device& device, const BnRequest& request, const Cub* cub = nullptr);

// The tables after those of the passes. library: "CUB 3.0.1", or empty where it is missing.
std::string text(const std::vector<BnStatistics>& all, const std::string& library);
// Adds "cub": the library or null, "statistics": the rows, "statistics_nets": what a net's come to.
void add_json(nlohmann::ordered_json& json, const std::vector<BnStatistics>& all, const std::string& library);

int bench_bn(const BnRequest& request);

}  // namespace norma::app
