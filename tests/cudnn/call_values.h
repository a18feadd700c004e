// The values of Calls twice: on the GPU for norma's kernels, and in double for the reference. Both hold them in the layout that the
// Calls' Dims say, NCHW or lanes; what is given and read is in NCHW order.
#pragma once
#include <deque>
#include <string>
#include <vector>

#include "kernels/reference/reference.h"
#include "tests/cudnn/device.h"
#include "tests/cudnn/layout.h"

namespace norma::test {

class CallValues {
 public:
  using ValueId = kernels::ValueId;
  using Dims = kernels::Dims;

  ValueId in(std::string name, const Dims& d, const std::vector<float>& values, float padding = padding_number);
  ValueId in_gradient(std::string name, const Dims& d, const std::vector<float>& values) { return in(std::move(name), d, values, 0); }
  ValueId in_labels(std::string name, const std::vector<std::int32_t>& labels);
  ValueId out(std::string name, const Dims& d);
  ValueId out_argmax(std::string name, const Dims& d);  // u8
  ValueId out_loss(std::string name);
  ValueId scratch(std::string name, std::int64_t bytes);

  // Runs the Call on the device and on the host.
  template <class Call>
  void run(const Call& call) {
    device_.run(call);
    reference::Memory<double> memory;
    for (Host& h : host_) memory.slots.push_back({.floats = h.floats.data(), .integers = h.integers.data(), .loss = &h.loss});
    reference::run(call, memory);
  }

  std::vector<float> norma(ValueId id) const;
  std::vector<double> expected(ValueId id) const;
  kernels::LossResult norma_loss(ValueId id) const { return device_.read<kernels::LossResult>(id).at(0); }
  const reference::Loss<double>& expected_loss(ValueId id) const { return host_[static_cast<std::size_t>(id.index)].loss; }

 private:
  struct Host {
    Dims dims{};
    std::vector<double> floats{};
    std::vector<std::int64_t> integers{};
    reference::Loss<double> loss{};
  };

  static Layout layout_of(const Dims& d) { return d.lanes == 1 ? Layout::nchw : Layout::lanes; }
  ValueId add(ValueId on_device, Host host);

  DeviceValues device_;
  std::deque<Host> host_;
};

// Parameters are a tensor of one sample.
inline kernels::Dims flat(std::int64_t elements) { return {.n = 1, .c = elements, .h = 1, .w = 1, .lanes = 1}; }

}  // namespace norma::test
