#include "apps/norma/bench/yardstick.h"

#include "apps/norma/system/plugin.h"
#include "norma/error.h"

namespace norma::app {

namespace {

constexpr ModuleFile module{
    "norma_onednn", norma_onednn_version, "oneDNN",
    "; to compare: install oneDNN 2 (Debian: apt-get install libdnnl-dev), configure and build norma again, and run it from the build "
    "folder"};

constexpr ModuleFile cub_module{
    "norma_cub", norma_cub_version, "CUB",
    "; to compare: CUB comes with the CUDA toolkit (NVIDIA's package cuda-cccl); sh cmake/build.sh release norma_cub builds its module; "
    "then run norma from the build folder"};

}  // namespace

Yardstick::Yardstick(const std::filesystem::path& folder) : api_(load_table<NormaOnednn>(folder, module, missing_)) {}

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

Cub::Cub(const std::filesystem::path& folder) : api_(load_table<NormaCub>(folder, cub_module, missing_)) {}

Cub::Tensors Cub::tensors(int gpu, const NormaCubTensor& tensor, std::int64_t copies) const {
  char reason[256] = "no reason given";
  void* const made = api_->create(gpu, &tensor, copies, reason, sizeof reason);
  if (!made) throw Error(ErrorKind::failure, library() + ": " + reason);
  return {api_, made};
}

double Cub::Tensors::seconds(NormaCubWork work) {
  char reason[256] = "no reason given";
  const double s = api_->run(tensors_.get(), work, reason, sizeof reason);
  if (s < 0) throw Error(ErrorKind::failure, std::string(api_->library) + ": " + reason);
  return s;
}

}  // namespace norma::app
