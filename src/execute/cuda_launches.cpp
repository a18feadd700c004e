// Lists the kernels that a Plan's Calls queue on a GPU, by name and with their resources, on any machine.
#include <cxxabi.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/cuda/backend.h"
#include "norma/launches.h"
#include "src/execute/compiled_kernels.h"
#include "src/execute/value_addresses.h"
#include "src/plan/plan.h"

namespace norma {
namespace {

void remove_all(std::string& text, const std::string& part) {
  for (std::size_t at; (at = text.find(part)) != std::string::npos;) text.erase(at, part.size());
}

// "flat_pass<4, SgdUpdate>" from the mangled name of that kernel, or of NameOf<&flat_pass<...>>: without namespaces, result and parameters.
std::string readable(const char* mangled) {
  const std::unique_ptr<char, decltype(&std::free)> demangled(abi::__cxa_demangle(mangled, nullptr, nullptr, nullptr), &std::free);
  if (!demangled) return mangled;
  std::string text = demangled.get();
  for (const char* part : {"(anonymous namespace)::", "norma::kernels::cuda::", "norma::kernels::", "norma::"}) remove_all(text, part);
  for (const char* before : {"NameOf<&", "(", "void "})
    if (text.starts_with(before)) text.erase(0, std::string_view(before).size());
  int depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (depth == 0 && (text[i] == '(' || text[i] == '>')) text.resize(i);
    else if (text[i] == '<') ++depth;
    else if (text[i] == '>') --depth;
  }
  for (std::size_t at; (at = text.find(" >")) != std::string::npos;) text.erase(at, 1);
  for (std::size_t at; (at = text.find("unsigned char")) != std::string::npos;) text.replace(at, 13, "u8");
  return text;
}

// Finds the code that a GPU of this compute capability runs, by the kernel's name: of its own generation, for it or the nearest before it.
std::map<std::string, const CompiledKernel*> code_for(int capability) {
  std::map<std::string, const CompiledKernel*> all;
  for (const CompiledKernel& k : compiled_kernels())
    if (k.architecture / 10 == capability / 10 && k.architecture <= capability)
      if (const CompiledKernel*& best = all[readable(k.symbol)]; !best || k.architecture > best->architecture) best = &k;
  return all;
}

// Addresses as an Executor would give them, of memory that is nowhere.
std::vector<std::byte*> imagined_addresses(const Plan& plan) {
  std::array<std::byte*, region_count> regions{};
  const auto base = [](std::size_t r) { return reinterpret_cast<std::byte*>((r + 1) << 40); };
  for (std::size_t r = 0; r < region_count; ++r) regions[r] = base(r);
  std::vector<std::byte*> addresses = locate(plan, regions, {});
  for (std::byte*& a : addresses)
    if (!a) a = base(static_cast<std::size_t>(Region::data));
  return addresses;
}

}  // namespace

std::vector<std::vector<KernelLaunch>> kernel_launches(const Plan& plan, int capability, int multiprocessors) {
  const std::vector<std::byte*> addresses = imagined_addresses(plan);
  const std::map<std::string, const CompiledKernel*> all_code = code_for(capability);
  std::vector<std::vector<KernelLaunch>> all;
  for (const PlanCall& c : plan.calls) {
    std::vector<KernelLaunch>& of_call = all.emplace_back();
    for (const kernels::cuda::Launch& l : kernels::cuda::launches(c.call, kernels::Memory{addresses.data()}, multiprocessors)) {
      KernelLaunch& launch = of_call.emplace_back();
      launch.blocks = l.blocks, launch.threads = l.threads, launch.cooperative = l.cooperative;
      launch.kernel = readable(l.kernel);
      if (const auto code = all_code.find(launch.kernel); code != all_code.end()) {
        const CompiledKernel& k = *code->second;
        launch.compiled = {
            .architecture = k.architecture, .registers = k.registers, .shared_bytes = k.shared_bytes, .local_bytes = k.local_bytes};
      }
    }
  }
  return all;
}

}  // namespace norma
