// cuDNN's kernels for norma verify, where norma_cudnn.so lies beside the program.
#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "norma/verify.h"

namespace norma::app {

// On a GPU by number. Without a value where it cannot be used: then `missing` says why and what to do. A Call on which cuDNN fails counts
// as not offered, with a warning.
std::optional<OtherLibrary> cudnn_kernels(const std::filesystem::path& folder, int gpu, std::string& missing);

}  // namespace norma::app
