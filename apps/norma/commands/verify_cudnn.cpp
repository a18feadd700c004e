#include "apps/norma/commands/verify_cudnn.h"

#include "apps/norma/system/log.h"
#include "apps/norma/system/plugin.h"
#include "apps/yardsticks/cudnn.h"

namespace norma::app {
namespace {

constexpr ModuleFile module{
    "norma_cudnn", norma_cudnn_version, "cuDNN",
    "; to compare: install cuDNN 9 for your CUDA (NVIDIA's package libcudnn9-dev-cuda-13, or python's nvidia-cudnn-cu13 with its folder in "
    "LD_LIBRARY_PATH); where norma was built without it, configure and build norma again, and run it from the build folder"};

}  // namespace

std::optional<OtherLibrary> cudnn_kernels(const std::filesystem::path& folder, int gpu, std::string& missing) {
  const auto* cudnn = load_table<NormaCudnn>(folder, module, missing);
  if (!cudnn) return {};
  if (const char* why = cudnn->unavailable(gpu)) {
    missing = why;
    return {};
  }
  return OtherLibrary{cudnn->library, [cudnn, gpu](const PlanCall& call, std::span<void* const> operands) -> std::uint32_t {
                        char error[512] = "no reason given";
                        const std::int64_t written = cudnn->run(gpu, &call, operands.data(), error, sizeof error);
                        if (written >= 0) return static_cast<std::uint32_t>(written);
                        log_warning(std::string(cudnn->library) + ": " + error);
                        return 0;
                      }};
}

}  // namespace norma::app
