// Measures a GPU's best speed. cuda_probes.cpp defines these, or no_cuda.cpp in a build without CUDA. Each throws Error(device) if the GPU
// cannot be used.
#pragma once
#include <functional>
#include <vector>

#include "norma/executor.h"
#include "norma/instruments.h"

namespace norma {

std::size_t cuda_cache_bytes(int index);
Roofline cuda_roofline(int index);
std::function<double()> cuda_copy_probe(int index, std::size_t array_bytes, std::int64_t copies);
std::vector<Latency> cuda_latencies(int index, std::int64_t rounds);

}  // namespace norma
