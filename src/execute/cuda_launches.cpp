// Lists the kernels that a Plan's Calls queue on a GPU, by name and with their resources, on any machine.
#include <cxxabi.h>

#include <cstdlib>
#include <memory>
#include <vector>

#include "kernels/cuda/backend.h"
#include "norma/launches.h"
#include "src/execute/compiled_kernels.h"
#include "src/execute/value_addresses.h"
#include "src/plan/plan.h"

// The CUDA runtime's own, for the code that nvcc makes: tells it the mangled name of the kernel behind a host function.
extern "C" void __cudaRegisterFunction(void** module, const char* host, char* device, const char* symbol, int threads, void* thread,
                                       void* block, void* block_size, void* grid_size, int* warp);

namespace norma {
namespace {

struct Registered {
  const void* kernel;
  const char* symbol;
};

// Filled before main() begins.
std::vector<Registered>& registered() {
  static std::vector<Registered> all;
  return all;
}

const char* symbol_of(const void* kernel) {
  for (const Registered& r : registered())
    if (r.kernel == kernel) return r.symbol;
  return nullptr;
}

void remove_all(std::string& text, const std::string& part) {
  for (std::size_t at; (at = text.find(part)) != std::string::npos;) text.erase(at, part.size());
}

// "flat_pass<4, SgdUpdate>": without namespaces, result and parameters.
std::string readable(const char* symbol) {
  const std::unique_ptr<char, decltype(&std::free)> demangled(abi::__cxa_demangle(symbol, nullptr, nullptr, nullptr), &std::free);
  if (!demangled) return symbol;
  std::string text = demangled.get();
  for (const char* part : {"(anonymous namespace)::", "norma::kernels::cuda::", "norma::kernels::", "norma::"}) remove_all(text, part);
  if (text.starts_with("void ")) text.erase(0, 5);
  int depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '<') ++depth;
    else if (text[i] == '>') --depth;
    else if (text[i] == '(' && depth == 0) text.resize(i);
  }
  for (std::size_t at; (at = text.find(" >")) != std::string::npos;) text.erase(at, 1);
  for (std::size_t at; (at = text.find("unsigned char")) != std::string::npos;) text.replace(at, 13, "u8");
  return text;
}

// The code that a GPU of this compute capability runs: of its own generation, for it or the nearest before it.
const CompiledKernel* compiled(const char* symbol, int capability) {
  const CompiledKernel* best = nullptr;
  for (const CompiledKernel& k : compiled_kernels())
    if (k.architecture / 10 == capability / 10 && k.architecture <= capability && (!best || k.architecture > best->architecture) &&
        std::string_view(k.symbol) == symbol)
      best = &k;
  return best;
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

std::vector<std::vector<KernelLaunch>> kernel_launches(const Plan& plan, int capability) {
  const std::vector<std::byte*> addresses = imagined_addresses(plan);
  std::vector<std::vector<KernelLaunch>> all;
  for (const PlanCall& c : plan.calls) {
    std::vector<KernelLaunch>& of_call = all.emplace_back();
    for (const kernels::cuda::Launch& l : kernels::cuda::launches(c.call, kernels::Memory{addresses.data()})) {
      KernelLaunch& launch = of_call.emplace_back();
      launch.blocks = l.blocks, launch.threads = l.threads, launch.cooperative = l.cooperative;
      const char* const symbol = symbol_of(l.kernel);
      if (!symbol) continue;
      launch.kernel = readable(symbol);
      if (const CompiledKernel* k = compiled(symbol, capability))
        launch.compiled = {
            .architecture = k->architecture, .registers = k->registers, .shared_bytes = k->shared_bytes, .local_bytes = k->local_bytes};
    }
  }
  return all;
}

}  // namespace norma

// nvcc's code for the kernels calls this in place of the runtime's function (cmake/Cuda.cmake). Only this gives the name behind a host
// function without a driver; cudaFuncGetName needs one.
extern "C" void norma_register_kernel(void** module, const char* host, char* device, const char* symbol, int threads, void* thread,
                                      void* block, void* block_size, void* grid_size, int* warp) {
  norma::registered().push_back({host, symbol});
  __cudaRegisterFunction(module, host, device, symbol, threads, thread, block, block_size, grid_size, warp);
}
