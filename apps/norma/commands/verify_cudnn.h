// cuDNN's kernels for norma verify, from norma_cudnn.so in the program's folder.
#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "norma/verify.h"

namespace norma::app {

// cuDNN's kernels on the GPU of this number. No value where cuDNN cannot be used: `missing` then gives the reason and the remedy. A Call on
// which cuDNN fails counts as not offered, with a warning.
std::optional<OtherLibrary> cudnn_kernels(const std::filesystem::path& folder, int gpu, std::string& missing);

}  // namespace norma::app
