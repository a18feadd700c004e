#include "apps/norma/bench_yardstick.h"

#include <dlfcn.h>

#include "norma/error.h"

namespace norma::app {

namespace fs = std::filesystem;

namespace {

constexpr const char* advice =
    "; to compare: install oneDNN 2 (Debian: apt-get install libdnnl-dev), configure and build norma again, and run it from the build "
    "folder";

}  // namespace

Yardstick::Yardstick(const fs::path& folder) {
  const fs::path file = folder / "norma_onednn.so";
  std::error_code ignored;
  if (!fs::exists(file, ignored)) {
    missing_ = "oneDNN is not installed, or was not when norma was built: " + file.string() + " is missing" + advice;
    return;
  }
  void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    missing_ = std::string(dlerror()) + advice;
    return;
  }
  const auto entry = reinterpret_cast<decltype(&norma_onednn)>(dlsym(library, "norma_onednn"));
  const NormaOnednn* api = entry ? entry() : nullptr;
  if (!api || api->version != norma_onednn_version) missing_ = file.string() + " belongs to another version of norma" + advice;
  else api_ = api;
}

Yardstick::Pass Yardstick::pass(const NormaOnednnShape& shape, NormaOnednnPass pass, int threads, const NormaOnednnData& data) const {
  char reason[256] = "no reason given";
  void* const operation = api_->create(&shape, pass, threads, &data, reason, sizeof reason);
  if (!operation) throw Error(ErrorKind::failure, library() + ": " + reason);
  return {api_, operation};
}

double Yardstick::Pass::run() {
  const double seconds = api_->run(operation_.get());
  if (seconds < 0) throw Error(ErrorKind::failure, std::string(api_->library) + " failed in " + implementation());
  return seconds;
}

std::vector<float> Yardstick::Pass::read(std::size_t count) const {
  std::vector<float> values(count);
  if (!api_->read(operation_.get(), values.data())) throw Error(ErrorKind::failure, std::string(api_->library) + " gave no result");
  return values;
}

fs::path program_folder() { return fs::read_symlink("/proc/self/exe").parent_path(); }

}  // namespace norma::app
