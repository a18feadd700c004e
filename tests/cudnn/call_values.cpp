#include "tests/cudnn/call_values.h"

namespace norma::test {

using kernels::ValueId;

ValueId CallValues::in(std::string name, const Dims& d, const std::vector<float>& values, float padding) {
  const std::vector<float> memory = stored(layout_of(d), d, values, padding);
  return add(device_.in(std::move(name), memory), {.dims = d, .floats = std::vector<double>(memory.begin(), memory.end())});
}

ValueId CallValues::in_labels(std::string name, const std::vector<std::int32_t>& labels) {
  return add(device_.in(std::move(name), labels), {.integers = std::vector<std::int64_t>(labels.begin(), labels.end())});
}

ValueId CallValues::out(std::string name, const Dims& d) {
  return add(device_.out(std::move(name), d.stored()), {.dims = d, .floats = std::vector<double>(static_cast<std::size_t>(d.stored()))});
}

ValueId CallValues::out_argmax(std::string name, const Dims& d) {
  return add(device_.out(std::move(name), d.stored(), 1),
             {.dims = d, .integers = std::vector<std::int64_t>(static_cast<std::size_t>(d.stored()))});
}

ValueId CallValues::out_loss(std::string name) { return add(device_.out(std::move(name), 1, sizeof(kernels::LossResult)), {}); }

ValueId CallValues::scratch(std::string name, std::int64_t bytes) { return add(device_.out(std::move(name), bytes, 1), {}); }

ValueId CallValues::add(ValueId on_device, Host host) {
  host_.push_back(std::move(host));
  return on_device;
}

std::vector<float> CallValues::norma(ValueId id) const {
  const Dims& d = host_[static_cast<std::size_t>(id.index)].dims;
  return logical(layout_of(d), d, device_.read(id));
}

std::vector<double> CallValues::expected(ValueId id) const {
  const Host& h = host_[static_cast<std::size_t>(id.index)];
  return logical(layout_of(h.dims), h.dims, h.floats);
}

}  // namespace norma::test
