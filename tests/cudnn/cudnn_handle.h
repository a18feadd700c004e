// cuDNN's objects, which norma verify's module holds, too, in the layouts of these tests.
#pragma once
#include "apps/yardsticks/cudnn_handle.h"
#include "tests/cudnn/layout.h"

namespace norma::test {

using bench::activation_descriptor, bench::channels_descriptor, bench::check, bench::cudnn, bench::describe, bench::one,
    bench::pooling_descriptor, bench::tensor_descriptor, bench::TensorDescriptor, bench::Unsupported, bench::keep_none;

inline TensorDescriptor tensor_descriptor(const kernels::Dims& d, Layout layout) {
  return bench::tensor_descriptor(d, layout == Layout::nhwc ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW);
}

}  // namespace norma::test
