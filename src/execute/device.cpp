// Choosing a device, and making its Executor.
#include "norma/device.h"

#include <charconv>

#include "kernels/cpu/backend.h"
#include "norma/error.h"
#include "norma/text.h"
#include "src/execute/cpu_executor.h"
#include "src/execute/cuda_executor.h"
#include "src/execute/device_traits.h"

namespace norma {

std::string to_string(const Device& d) {
  if (d.kind == Device::Kind::cpu) return "cpu";
  return d.index == 0 ? "cuda" : "cuda:" + std::to_string(d.index);
}

Device Device::best() { return why_not_cuda(0).empty() ? cuda() : cpu(); }

std::string best_device_reason() {
  const std::string why = why_not_cuda(0);
  return why.empty() ? "a usable GPU was found" : why.substr(0, why.find("; "));  // without what to do about it
}

Device Device::parse(std::string_view text) {
  if (text == "auto") return best();
  if (text == "cpu") return cpu();
  if (text == "cuda") return cuda();
  if (text.starts_with("cuda:")) {
    const std::string_view number = text.substr(5);
    int index = -1;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), index);
    if (error == std::errc{} && end == number.data() + number.size() && index >= 0) return cuda(index);
  }
  throw Error(ErrorKind::usage, "unknown device \"" + printable(text) + "\"; it is auto, cpu, cuda or cuda:N");
}

std::vector<std::string> cpu_isa_levels() {
  std::vector<std::string> names;
  for (const auto& b : kernels::cpu::backends()) names.emplace_back(b.isa);
  return names;
}

void validate(const Device& device, const ExecutorOptions& options) {
  const auto refuse = [](const std::string& message) { throw Error(ErrorKind::usage, message); };
  if (device.kind != Device::Kind::cpu && device.kind != Device::Kind::cuda)
    refuse("device: kind " + std::to_string(static_cast<int>(device.kind)) + " is no Device::Kind");
  if (device.kind == Device::Kind::cpu && device.index != 0)
    refuse("device: index must be 0 for the CPU, got " + std::to_string(device.index));
  if (options.capture > Capture::branches)
    refuse("executor: capture " + std::to_string(static_cast<int>(options.capture)) + " is no Capture");
  if (options.graph_calls < 0) refuse("executor: graph_calls must not be negative, got " + std::to_string(options.graph_calls));
}

DeviceTraits traits_of(const Device& device, const ExecutorOptions& options) {
  return device.kind == Device::Kind::cpu ? make_executor(device, options)->traits() : cuda_traits;
}

std::unique_ptr<Executor> make_executor(const Device& device, const ExecutorOptions& options) {
  validate(device, options);
  return device.kind == Device::Kind::cpu ? make_cpu_executor(options) : make_cuda_executor(device.index, options);
}

}  // namespace norma
