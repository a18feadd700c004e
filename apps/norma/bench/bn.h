// norma bench bn: batch norm by itself, forward in training and backward, in every layout of a device.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/norma/bench/bench.h"

namespace norma::app {

struct BnRequest {
  std::string filter{};  // of "net/name"; empty: all
  std::string device = "auto", isa = "auto";
  int threads = 0;                     // 0: every core
  std::int64_t batch = 32;             // of ResNet-50's
  std::vector<std::string> layouts{};  // empty: all that the device has
  double seconds = 0.4;                // for each shape and layout; at least 5 rounds
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

// Number of sets of tensors (x and y of every set together) to use in rotation. Twice the cache lies between two uses of a set.
std::int64_t copies_for(const Shape& shape, std::size_t cache_bytes);
// Least number of tensors that a pass reads and writes. Forward: x, y. Backward: x, dy, dx. The sums over the batch read their input first.
// It counts again where neither the cache nor the chip keeps it (measure() asks the Plan).
std::int64_t least_tensors(bool backward, const Shape& shape, std::size_t cache_bytes);

std::vector<BnPass> measure(const BnShape& shape, BnLayout layout, const Device& device, const BnRequest& request);

int bench_bn(const BnRequest& request);

}  // namespace norma::app
