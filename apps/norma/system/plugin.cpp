#include "apps/norma/system/plugin.h"

#include <dlfcn.h>

namespace norma::app {

namespace fs = std::filesystem;

fs::path program_folder() { return fs::read_symlink("/proc/self/exe").parent_path(); }

const std::int32_t* load_module(const fs::path& folder, const ModuleFile& module, std::string& missing) {
  const std::string name = std::string(module.name) + ".so";
  const fs::path beside = folder / name, installed = (folder / NORMA_MODULES / name).lexically_normal();
  std::error_code ignored;
  const fs::path file = !fs::exists(beside, ignored) && fs::exists(installed, ignored) ? installed : beside;
  if (!fs::exists(file, ignored)) {
    missing = std::string(module.library) + " is not installed, or was not when norma was built: " + file.string() + " is missing" +
              module.advice;
    return nullptr;
  }
  void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    missing = std::string(dlerror()) + module.advice;
    return nullptr;
  }
  using Entry = const std::int32_t* (*)();
  const auto entry = reinterpret_cast<Entry>(dlsym(library, module.name));
  const std::int32_t* version = entry ? entry() : nullptr;
  if (version && *version == module.version) return version;
  missing = file.string() + " belongs to another version of norma" + module.advice;
  return nullptr;
}

}  // namespace norma::app
