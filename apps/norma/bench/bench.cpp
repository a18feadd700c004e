#include "apps/norma/bench/bench.h"

#include <fmt/format.h>

#include "apps/norma/system/log.h"
#include "apps/norma/system/machine.h"
#include "norma/device.h"
#include "norma/error.h"
#include "norma/instruments.h"

namespace norma::app {

Device bench_device(const std::string& device, bool has_threads, const std::string& isa) {
  const bool automatic = device == "auto", of_cpu = has_threads || isa != "auto";
  const char* const flag = has_threads ? "--threads" : "--isa";
  const Device chosen = automatic && of_cpu ? Device::cpu() : Device::parse(device);
  if (chosen.kind == Device::Kind::cuda && of_cpu)
    throw Error(ErrorKind::usage, fmt::format("{} is for the CPU, and --device {} is a GPU", flag, device));
  (void)make_executor(chosen, {.isa = isa});
  const std::string why = of_cpu ? std::string(flag) + " is for the CPU" : best_device_reason();
  log_info(fmt::format("device: {}{}", to_string(chosen), automatic ? " (auto: " + why + ")" : ""));
  return chosen;
}

Recipe variant(const BenchRequest& request, std::int64_t batch, std::int64_t threads) {
  std::vector<Override> overrides = request.overrides;
  for (const Override& o : overrides)
    for (const auto& [key, flag] :
         {std::pair{"train.batch_size", "--batch"}, {"device.threads", "--threads"}, {"device.isa", "--isa"}, {"device.kind", "--device"}})
      if (o.key == key) throw Error(ErrorKind::usage, fmt::format("{}: norma bench takes it from {}", o.flag, flag));
  if (batch > 0) overrides.push_back({"train.batch_size", std::to_string(batch), "--batch"});
  overrides.push_back({"device.threads", std::to_string(threads), "--threads"});
  overrides.push_back({"device.isa", '"' + request.isa + '"', "--isa"});
  overrides.push_back({"device.kind", '"' + request.device + '"', "--device"});  // checked by bench_device
  return parse_recipe(find_recipe(request.recipe), overrides);
}

std::vector<std::int64_t> thread_counts(const BenchRequest& request, const Device& device) {
  if (device.kind == Device::Kind::cuda) return {0};
  if (!request.threads.empty()) return request.threads;
  const std::int64_t cores = this_environment().cores;
  return cores > 1 ? std::vector<std::int64_t>{1, cores} : std::vector<std::int64_t>{1};
}

nlohmann::ordered_json to_json(const Roofline& r) {
  return {{"device", r.device},
          {"threads", r.threads},
          {"flops_per_second", r.flops},
          {"tf32_flops_per_second", r.tf32_flops},
          {"bf16_flops_per_second", r.bf16_flops},
          {"copy_bytes_per_second", r.copy},
          {"streaming_copy_bytes_per_second", r.copy_streaming},
          {"read_bytes_per_second", r.read},
          {"array_bytes", r.array_bytes}};
}

std::string describe(const Roofline& r) {
  if (r.threads == 0)
    return fmt::format("GPU: {:.1f} TFLOP/s{}; GB/s: copy {:.0f}, streaming {:.0f}, read {:.0f}", r.flops / 1e12,
                       r.tf32_flops > 0 ? fmt::format(" (tf32 {:.0f}, bf16 {:.0f})", r.tf32_flops / 1e12, r.bf16_flops / 1e12) : "",
                       r.copy / 1e9, r.copy_streaming / 1e9, r.read / 1e9);
  return fmt::format("{} thread{}: {:.1f} GFLOP/s; memory GB/s: copy {:.1f}, streaming {:.1f}, read {:.1f}", r.threads,
                     r.threads == 1 ? "" : "s", r.flops / 1e9, r.copy / 1e9, r.copy_streaming / 1e9, r.read / 1e9);
}

std::string fit(const std::string& text, std::size_t width) {
  return text.size() <= width ? text : "~" + text.substr(text.size() - width + 1);
}

}  // namespace norma::app
