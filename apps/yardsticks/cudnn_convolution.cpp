#include "apps/yardsticks/cudnn_convolution.h"

#include <vector>

#include "src/execute/cuda_memory.h"

namespace norma::bench {
namespace {

// run(algorithm, workspace, its bytes) for one algorithm after the other, until cuDNN runs one.
template <class Perf, class Find, class Bytes, class Run>
std::string first_that_runs(Find find, Bytes bytes_of, Run run) {
  std::string reason = "no algorithm";
  std::vector<Perf> found(16);
  int count = 0;
  check(find(static_cast<int>(found.size()), &count, found.data()), "cudnnGetConvolution...Algorithm_v7");
  for (int i = 0; i < count; ++i) {
    const Perf& perf = found[static_cast<std::size_t>(i)];
    if (perf.status != CUDNN_STATUS_SUCCESS) continue;
    try {
      std::size_t bytes = 0;
      check(bytes_of(perf.algo, &bytes), "cudnnGetConvolution...WorkspaceSize");
      const cuda::Block workspace(bytes, "cuDNN's workspace");
      run(perf.algo, workspace.data(), bytes);
      cuda::check(cudaDeviceSynchronize(), "a convolution of cuDNN");  // it works in the workspace
      return "algo" + std::to_string(perf.algo);
    } catch (const Unsupported& e) {
      reason = e.what();
    }
  }
  throw Unsupported(reason);
}

}  // namespace

CudnnConvolution::CudnnConvolution(const kernels::ConvShape& s)
    : x_(tensor_descriptor(s.x)), y_(tensor_descriptor(s.y)), bias_(tensor_descriptor({.n = 1, .c = s.y.c})) {
  const kernels::Window& v = s.window;
  check(cudnnSetFilter4dDescriptor(w_, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NCHW, static_cast<int>(s.y.c),
                                   static_cast<int>(s.channels_per_group()), v.kernel_h, v.kernel_w),
        "cudnnSetFilter4dDescriptor");
  check(cudnnSetConvolution2dDescriptor(convolution_, v.pad_h, v.pad_w, v.stride_h, v.stride_w, v.dilation_h, v.dilation_w,
                                        CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
        "cudnnSetConvolution2dDescriptor");
  check(cudnnSetConvolutionGroupCount(convolution_, static_cast<int>(s.groups)), "cudnnSetConvolutionGroupCount");
  check(cudnnSetConvolutionMathType(convolution_, CUDNN_FMA_MATH), "cudnnSetConvolutionMathType");
}

std::string CudnnConvolution::forward(const void* x, const void* w, const void* b, void* y) const {
  const std::string name = first_that_runs<cudnnConvolutionFwdAlgoPerf_t>(
      [&](int most, int* count, auto* found) {
        return cudnnGetConvolutionForwardAlgorithm_v7(cudnn(), x_, w_, convolution_, y_, most, count, found);
      },
      [&](auto algorithm, std::size_t* bytes) {
        return cudnnGetConvolutionForwardWorkspaceSize(cudnn(), x_, w_, convolution_, y_, algorithm, bytes);
      },
      [&](auto algorithm, void* workspace, std::size_t bytes) {
        check(cudnnConvolutionForward(cudnn(), &one, x_, x, w_, w, convolution_, algorithm, workspace, bytes, &keep_none, y_, y),
              "cudnnConvolutionForward");
      });
  if (b) check(cudnnAddTensor(cudnn(), &one, bias_, b, &one, y_, y), "cudnnAddTensor");
  return name;
}

std::string CudnnConvolution::backward_input(const void* dy, const void* w, void* dx) const {
  return first_that_runs<cudnnConvolutionBwdDataAlgoPerf_t>(
      [&](int most, int* count, auto* found) {
        return cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnn(), w_, y_, convolution_, x_, most, count, found);
      },
      [&](auto algorithm, std::size_t* bytes) {
        return cudnnGetConvolutionBackwardDataWorkspaceSize(cudnn(), w_, y_, convolution_, x_, algorithm, bytes);
      },
      [&](auto algorithm, void* workspace, std::size_t bytes) {
        check(cudnnConvolutionBackwardData(cudnn(), &one, w_, w, y_, dy, convolution_, algorithm, workspace, bytes, &keep_none, x_, dx),
              "cudnnConvolutionBackwardData");
      });
}

std::string CudnnConvolution::backward_weight(const void* dy, const void* x, void* dw) const {
  return first_that_runs<cudnnConvolutionBwdFilterAlgoPerf_t>(
      [&](int most, int* count, auto* found) {
        return cudnnGetConvolutionBackwardFilterAlgorithm_v7(cudnn(), x_, y_, convolution_, w_, most, count, found);
      },
      [&](auto algorithm, std::size_t* bytes) {
        return cudnnGetConvolutionBackwardFilterWorkspaceSize(cudnn(), x_, y_, convolution_, w_, algorithm, bytes);
      },
      [&](auto algorithm, void* workspace, std::size_t bytes) {
        check(cudnnConvolutionBackwardFilter(cudnn(), &one, x_, x, y_, dy, convolution_, algorithm, workspace, bytes, &keep_none, w_, dw),
              "cudnnConvolutionBackwardFilter");
      });
}

void CudnnConvolution::backward_bias(const void* dy, void* db) const {
  check(cudnnConvolutionBackwardBias(cudnn(), &one, y_, dy, &keep_none, bias_, db), "cudnnConvolutionBackwardBias");
}

}  // namespace norma::bench
