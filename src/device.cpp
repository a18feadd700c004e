// Choosing a device, and making its Executor.
#include <charconv>

#include "kernels/cpu/backend.h"
#include "norma/error.h"
#include "src/cpu_executor.h"
#include "src/cuda_executor.h"

namespace norma {

std::string to_string(const Device& d) {
  if (d.kind == Device::Kind::cpu) return "cpu";
  return d.index == 0 ? "cuda" : "cuda:" + std::to_string(d.index);
}

Device Device::best() {
  std::string why;
  return make_cuda_executor(0, why) ? cuda() : cpu();
}

std::string best_device_reason() {
  std::string why;
  return make_cuda_executor(0, why) ? "a usable GPU was found" : why;
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
  throw Error(ErrorKind::usage, "unknown device \"" + std::string(text) + "\"; it is auto, cpu, cuda or cuda:N");
}

std::vector<std::string> cpu_isa_levels() {
  std::vector<std::string> names;
  for (const auto& b : kernels::cpu::backends()) names.emplace_back(b.isa);
  return names;
}

std::unique_ptr<Executor> make_executor(const Device& device, const ExecutorOptions& options) {
  if (device.kind == Device::Kind::cpu) return make_cpu_executor(options);
  std::string why;
  if (auto executor = make_cuda_executor(device.index, why)) return executor;
  throw Error(ErrorKind::device,
              "device " + to_string(device) + " cannot be used: " + why + "; use --device cpu, or auto to take what is there");
}

}  // namespace norma
