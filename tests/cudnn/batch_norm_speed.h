// The speed of cuDNN's batch norms: norma_cudnn_tests --batch-norm-speed <file of shapes>.
#pragma once

namespace norma::test {

// Prints one JSON object: for each shape of the file (apps/bench/peers/batch_norm_shapes.txt), layout, path (spatial and persistent: the
// legacy entry points; graph: the graph API) and pass (forward, in training; backward) the median seconds of a call, or why there are none.
// The calls of a measurement go round several sets of tensors, together more than twice the L2, in one CUDA graph.
// Returns 0; 1 where a measurement failed; 4, saying why on stderr, where there is no GPU or no cuDNN. Throws on a bad file.
int batch_norm_speed(const char* shapes_file);

}  // namespace norma::test
