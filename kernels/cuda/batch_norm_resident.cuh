// Batch normalisation in one pass over memory: along rows in batch_norm_resident.cu, over columns in batch_norm_resident_columns.cu. The
// blocks that share channels are a team; each keeps its part of them on chip while it waits for their sums.
#pragma once
#include "kernels/cuda/batch_norm_parts.cuh"

namespace norma::kernels::cuda {

struct ForwardOperands {
  bool relu;
  float* y;
  const float *x, *r;  // r may be null
};

// Launches a kernel whose teams of `blocks` blocks take turns in `tasks` tasks, as many at a time as the device holds. Three teams are
// needed, unless all tasks fit at once: one is read and one written while the third waits. With fewer it would take longer than two passes,
// and is not launched. Returns false then, and where the device has less room than it says: for debuggers, or a share of it (MPS).
template <class... Parameters, class... Arguments>
bool launch_resident(Kernel<Parameters...> kernel, int blocks_together, std::int64_t blocks, std::int64_t tasks, const Queue& queue,
                     Arguments... arguments) {
  const std::int64_t held_at_once = resident_blocks(kernel, sum_threads, queue.multiprocessors, blocks_together) / blocks;
  const std::int64_t teams = held_at_once < tasks ? held_at_once : tasks;
  if (teams < 3 && teams < tasks) return false;
  launch_cooperative(kernel, teams * blocks, sum_threads, queue.stream, arguments...);
  return !was_too_large();
}

// Rows shorter than a warp; false where the device does not hold enough.
bool launch_resident_columns(const View& view, const Partials<Moments>& partials, const ForwardOperands& p, const Statistics& result,
                             const Normalisation& normalisation, const Queue& queue);
bool launch_resident_columns(const View& view, const Partials<Pair>& partials, Activation act, const GradientOperands& p, float* dx,
                             const GradientSums& result, const BackwardNormalisation& normalisation, const Queue& queue);

}  // namespace norma::kernels::cuda
