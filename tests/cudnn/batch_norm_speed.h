// The speed of cuDNN's batch norms: norma_cudnn_tests --batch-norm-speed <file of shapes>.
#pragma once

namespace norma::test {

// Prints one JSON object with the median seconds of a call, or the reason for their absence. Rows: each shape of the file
// (apps/yardsticks/peers/batch_norm_shapes.txt), layout, path and pass. Paths: spatial and persistent (the legacy entry points), graph (the
// graph API). Passes: forward, in training, and backward. The calls of a measurement rotate over several sets of tensors, together more
// than twice the L2, in one CUDA graph. Returns 0; 1 where a measurement failed; 4, with the reason on stderr, without a GPU or cuDNN.
// Throws on a bad file.
int batch_norm_speed(const char* shapes_file);

}  // namespace norma::test
