// The traits of each backend.
#pragma once
#include "kernels/cpu/backend.h"
#include "kernels/cuda/backend.h"
#include "norma/executor.h"

namespace norma {

// With fewer packs than threads some would idle: then they share each Call's work. Pack by pack a Call finds its neighbour's values in
// the cache, so that nothing is joined.
inline DeviceTraits cpu_traits(int threads) { return {.lanes = kernels::cpu::lanes, .by_pack_from = threads}; }

// A GPU's second-level cache holds `ample` at least, and its Calls run side by side where they do not wait for memory.
inline constexpr DeviceTraits cuda_traits{
    .lanes = kernels::cuda::lanes, .joins = true, .steps_ahead = std::int64_t{1} << 20, .ample = std::size_t{32} << 20};

// Needs no GPU. Throws Error(usage) as make_executor.
DeviceTraits traits_of(const Device& device, const ExecutorOptions& options);

}  // namespace norma
