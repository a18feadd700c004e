// The fake CUDA runtime: what it does, and that it refuses what CUDA refuses.
#include "tests/simt/runtime.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <numeric>
#include <set>

#include "tests/simt/test_kernels.h"

namespace norma::simt {
namespace {

void add_kernel(float* x, float value) { x[blockIdx.x * blockDim.x + threadIdx.x] += value; }

void scale_kernel(float* x, float factor) { x[blockIdx.x * blockDim.x + threadIdx.x] *= factor; }

class Runtime : public testing::Test {
 protected:
  static constexpr std::size_t n = 64, bytes = n * sizeof(float);

  void SetUp() override {
    reset_machine();
    ASSERT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
    ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&x_), bytes), cudaSuccess);
  }
  void TearDown() override {
    reset_machine();
    EXPECT_EQ(cudaFree(x_), cudaSuccess);
    EXPECT_EQ(cudaStreamDestroy(stream_), cudaSuccess);
    EXPECT_EQ(live(), Live{});
  }

  // Launches x += value on the stream: the error.
  cudaError_t add(float value, int threads = n) {
    launch(add_kernel, 1, threads, stream_, x_, value);
    return cudaGetLastError();
  }
  std::array<float, n> read() {
    std::array<float, n> host{};
    EXPECT_EQ(cudaMemcpy(host.data(), x_, bytes, cudaMemcpyDeviceToHost), cudaSuccess);
    return host;
  }
  cudaGraphExec_t instantiate(cudaGraph_t graph) {
    cudaGraphExec_t exec = nullptr;
    EXPECT_EQ(cudaGraphInstantiate(&exec, graph), cudaSuccess);
    EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
    return exec;
  }

  cudaStream_t stream_ = nullptr;
  float* x_ = nullptr;
};

TEST_F(Runtime, DeviceMemoryStartsAsNaNAndIsCopiedAndSet) {
  for (float v : read()) EXPECT_TRUE(std::isnan(v));
  std::array<float, n> host;
  std::iota(host.begin(), host.end(), 1.0f);
  EXPECT_EQ(cudaMemcpyAsync(x_, host.data(), bytes, cudaMemcpyHostToDevice, stream_), cudaSuccess);
  EXPECT_EQ(read(), host);
  EXPECT_EQ(cudaMemsetAsync(x_, 0, bytes / 2, stream_), cudaSuccess);
  EXPECT_EQ(read()[n / 2 - 1], 0);
  EXPECT_EQ(read()[n / 2], host[n / 2]);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(x_) % 256, 0u);
}

TEST_F(Runtime, CopiesMustLieInDeviceMemory) {
  std::array<float, 2 * n> host{};
  EXPECT_EQ(cudaMemcpy(x_, host.data(), bytes + 1, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(x_ + 1, host.data(), bytes, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host.data(), x_ - 1, 4, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host.data(), x_, 4, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host.data(), host.data() + 1, 4, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(host.data(), 0, 4), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(x_ + n - 1, 0, 5), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(host.data(), x_ + n - 1, 4, cudaMemcpyDefault), cudaSuccess);
}

TEST_F(Runtime, AllocationsEndOnce) {
  void* p = nullptr;
  ASSERT_EQ(cudaMalloc(&p, 100), cudaSuccess);
  EXPECT_EQ(cudaFree(static_cast<std::byte*>(p) + 4), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFreeHost(p), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(p), cudaSuccess);
  EXPECT_EQ(cudaFree(p), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(nullptr), cudaSuccess);
  EXPECT_EQ(cudaMemset(p, 0, 4), cudaErrorInvalidValue);
  ASSERT_EQ(cudaMallocHost(&p, 100), cudaSuccess);
  EXPECT_EQ(live().pinned_allocations, 1u);
  EXPECT_EQ(cudaFreeHost(p), cudaSuccess);
}

TEST_F(Runtime, OutOfMemory) {
  machine().memory = bytes + 1000;
  std::size_t free = 0, total = 0;
  EXPECT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  EXPECT_EQ(free, 1000u);
  void* p = &free;
  EXPECT_EQ(cudaMalloc(&p, 1001), cudaErrorMemoryAllocation);
  EXPECT_EQ(p, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&p, 1000), cudaSuccess);
  EXPECT_EQ(cudaFree(p), cudaSuccess);
}

TEST_F(Runtime, DevicesAndDrivers) {
  int value = -1;
  cudaDeviceProp properties;
  EXPECT_EQ(cudaGetDeviceCount(&value), cudaSuccess);
  EXPECT_EQ(value, 1);
  EXPECT_EQ(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
  EXPECT_EQ(properties.major, 9);
  EXPECT_EQ(cudaGetDeviceProperties(&properties, 1), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaSetDevice(1), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, 0), cudaSuccess);
  EXPECT_EQ(value, properties.multiProcessorCount);
  machine().devices = 0;
  EXPECT_EQ(cudaGetDeviceCount(&value), cudaErrorNoDevice);
  EXPECT_EQ(value, 0);
  machine().driver = false;
  EXPECT_EQ(cudaGetDeviceCount(&value), cudaErrorInsufficientDriver);
  EXPECT_EQ(cudaDriverGetVersion(&value), cudaSuccess);
  EXPECT_EQ(value, 0);
  EXPECT_STREQ(cudaGetErrorName(cudaErrorInsufficientDriver), "cudaErrorInsufficientDriver");
  EXPECT_STREQ(cudaGetErrorString(cudaErrorNoDevice), "no CUDA-capable device is detected");
}

TEST_F(Runtime, LaunchesThatCannotBe) {
  EXPECT_EQ(add(1, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(add(1, 1025), cudaErrorInvalidConfiguration);
  launch_cooperative(add_kernel, machine().multiprocessors * 2 + 1, 1024, stream_, x_, 1.0f);
  EXPECT_EQ(cudaGetLastError(), cudaErrorCooperativeLaunchTooLarge);
  machine().next_launch = cudaErrorNoKernelImageForDevice;
  EXPECT_EQ(add(1), cudaErrorNoKernelImageForDevice);
  EXPECT_EQ(cudaMemset(x_, 0, bytes), cudaSuccess);  // an error of the launch alone
  EXPECT_EQ(add(1), cudaSuccess);
  EXPECT_EQ(read()[0], 1);
}

// Each may hold multiprocessors that the other's blocks wait for.
TEST_F(Runtime, CooperativeGridsOnTwoBranchesMustTakeTurns) {
  cudaStream_t other = nullptr;
  cudaEvent_t begun = nullptr, done = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(cudaEventCreateWithFlags(&begun, cudaEventDisableTiming), cudaSuccess);
  ASSERT_EQ(cudaEventCreateWithFlags(&done, cudaEventDisableTiming), cudaSuccess);
  const auto two = [&](bool chained) {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    EXPECT_EQ(cudaEventRecord(begun, stream_), cudaSuccess);
    EXPECT_EQ(cudaStreamWaitEvent(other, begun, 0), cudaSuccess);
    launch_cooperative(add_kernel, 1, 32, stream_, x_, 1.0f);
    if (chained) {
      EXPECT_EQ(cudaEventRecord(done, stream_), cudaSuccess);
      EXPECT_EQ(cudaStreamWaitEvent(other, done, 0), cudaSuccess);
    }
    launch_cooperative(add_kernel, 1, 32, other, x_, 1.0f);
    EXPECT_EQ(cudaEventRecord(done, other), cudaSuccess);
    EXPECT_EQ(cudaStreamWaitEvent(stream_, done, 0), cudaSuccess);
    ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
    try {
      EXPECT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
      EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
    } catch (...) {
      EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
      throw;
    }
    EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  };
  two(true);
  EXPECT_THROW(two(false), Fault);
  EXPECT_EQ(cudaEventDestroy(done), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(begun), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(other), cudaSuccess);
}

TEST_F(Runtime, AnErrorOfRunningLosesTheContext) {
  machine().next_launch = cudaErrorIllegalAddress;
  machine().deferred = true;
  EXPECT_EQ(add(1), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, 4), cudaErrorIllegalAddress);
  EXPECT_EQ(add(1), cudaErrorIllegalAddress);
}

TEST_F(Runtime, GraphsCaptureAndReplay) {
  void* pinned = nullptr;
  ASSERT_EQ(cudaMallocHost(&pinned, bytes), cudaSuccess);
  float* host = static_cast<float*>(pinned);
  ASSERT_EQ(cudaMemset(x_, 0, bytes), cudaSuccess);
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  EXPECT_EQ(add(1), cudaSuccess);
  EXPECT_EQ(add(2), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(host, x_, bytes, cudaMemcpyDeviceToHost, stream_), cudaSuccess);
  ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  EXPECT_EQ(read()[0], 0);  // nothing ran
  cudaGraphExec_t exec = instantiate(graph);
  for (int i = 1; i <= 3; ++i) {
    EXPECT_EQ(cudaGraphLaunch(exec, stream_), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    EXPECT_EQ(host[n - 1], 3 * i);
  }
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
  EXPECT_EQ(cudaGraphLaunch(exec, stream_), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
}

// Two branches lie between a beginning and an end. Either may run first, and the test sees both orders and no other.
TEST_F(Runtime, BranchesOfAGraphRunInAnyOrder) {
  cudaStream_t branch = nullptr;
  cudaEvent_t forked = nullptr, joined = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&branch, cudaStreamNonBlocking), cudaSuccess);
  for (cudaEvent_t* e : {&forked, &joined}) ASSERT_EQ(cudaEventCreateWithFlags(e, cudaEventDisableTiming), cudaSuccess);
  cudaGraph_t graph = nullptr;
  const auto scale = [&](cudaStream_t stream, float factor) { launch(scale_kernel, 1, n, stream, x_, factor); };
  const auto fork = [&] {
    ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    EXPECT_EQ(add(1), cudaSuccess);
    EXPECT_EQ(cudaEventRecord(forked, stream_), cudaSuccess);
    EXPECT_EQ(cudaStreamWaitEvent(branch, forked), cudaSuccess);
    scale(branch, 3);
    EXPECT_EQ(add(2), cudaSuccess);
  };
  fork();
  EXPECT_EQ(cudaEventRecord(joined, branch), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(stream_, joined), cudaSuccess);
  scale(stream_, 10);
  EXPECT_EQ(cudaStreamEndCapture(branch, &graph), cudaErrorStreamCaptureUnmatched);
  EXPECT_EQ(cudaGetLastError(), cudaErrorStreamCaptureUnmatched);
  ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  cudaGraphExec_t exec = instantiate(graph);
  std::set<float> seen;
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(cudaMemset(x_, 0, bytes), cudaSuccess);
    EXPECT_EQ(cudaGraphLaunch(exec, stream_), cudaSuccess);
    seen.insert(read()[0]);
  }
  EXPECT_EQ(seen, (std::set<float>{50, 90}));  // ((0 + 1) * 3 + 2) * 10, ((0 + 1) + 2) * 3 * 10
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
  fork();  // and never joined
  EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaErrorStreamCaptureUnjoined);
  for (cudaEvent_t e : {forked, joined}) EXPECT_EQ(cudaEventDestroy(e), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(branch), cudaSuccess);
  (void)cudaGetLastError();
}

TEST_F(Runtime, WhatACaptureForbidsFailsIt) {
  const auto fails = [&](cudaError_t expected, auto call) {
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeGlobal), cudaSuccess);
    EXPECT_EQ(add(1), cudaSuccess);
    EXPECT_EQ(call(), expected);
    EXPECT_EQ(add(1), cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(graph, nullptr);
    (void)cudaGetLastError();
  };
  void* p = nullptr;
  fails(cudaErrorStreamCaptureUnsupported, [&] { return cudaStreamSynchronize(stream_); });
  fails(cudaErrorStreamCaptureUnsupported, [&] { return cudaDeviceSynchronize(); });
  fails(cudaErrorStreamCaptureUnsupported, [&] { return cudaMalloc(&p, 4); });
  fails(cudaErrorStreamCaptureUnsupported, [&] { return cudaFree(nullptr); });
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaErrorIllegalState);
  EXPECT_EQ(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal), cudaErrorStreamCaptureUnsupported);

  ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&p, 4), cudaSuccess);
  ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaFree(p), cudaSuccess);
}

TEST_F(Runtime, LegacyStreamFailsTheCaptureOfABlockingStream) {
  cudaStream_t blocking = nullptr;
  ASSERT_EQ(cudaStreamCreate(&blocking), cudaSuccess);
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(blocking, cudaStreamCaptureModeGlobal), cudaSuccess);
  EXPECT_EQ(cudaMemset(x_, 0, bytes), cudaErrorStreamCaptureImplicit);
  EXPECT_EQ(cudaStreamEndCapture(blocking, &graph), cudaErrorStreamCaptureInvalidated);
  EXPECT_EQ(cudaStreamDestroy(blocking), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(blocking), cudaErrorInvalidResourceHandle);
}

TEST_F(Runtime, DeferredWorkRunsWhenItIsWaitedFor) {
  void* pinned = nullptr;
  ASSERT_EQ(cudaMallocHost(&pinned, bytes), cudaSuccess);
  float* host = static_cast<float*>(pinned);
  host[0] = -1;
  ASSERT_EQ(cudaMemset(x_, 0, bytes), cudaSuccess);
  machine().deferred = true;
  EXPECT_EQ(add(1), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(host, x_, bytes, cudaMemcpyDeviceToHost, stream_), cudaSuccess);
  EXPECT_EQ(host[0], -1);
  EXPECT_EQ(cudaStreamQuery(stream_), cudaErrorNotReady);
  EXPECT_EQ(cudaGetLastError(), cudaErrorNotReady);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(host[0], 1);
  EXPECT_EQ(cudaStreamQuery(stream_), cudaSuccess);

  EXPECT_EQ(add(1), cudaSuccess);
  float pageable = 0;  // the copy to it is done when the call returns
  EXPECT_EQ(cudaMemcpyAsync(&pageable, x_, 4, cudaMemcpyDeviceToHost, stream_), cudaSuccess);
  EXPECT_EQ(pageable, 2);
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
}

TEST_F(Runtime, EventsMeasureTheWorkBetweenThem) {
  std::array<cudaEvent_t, 2> events{};
  for (cudaEvent_t& e : events) ASSERT_EQ(cudaEventCreate(&e), cudaSuccess);
  float ms = -1;
  EXPECT_EQ(cudaEventElapsedTime(&ms, events[0], events[1]), cudaErrorNotReady);
  EXPECT_EQ(cudaGetLastError(), cudaErrorNotReady);
  machine().deferred = true;
  EXPECT_EQ(cudaEventRecord(events[0], stream_), cudaSuccess);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(add(1), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(events[1], stream_), cudaSuccess);
  EXPECT_EQ(cudaEventElapsedTime(&ms, events[0], events[1]), cudaErrorNotReady);
  EXPECT_EQ(cudaEventSynchronize(events[1]), cudaSuccess);
  EXPECT_EQ(cudaEventElapsedTime(&ms, events[0], events[1]), cudaSuccess);
  EXPECT_GT(ms, 0);
  for (cudaEvent_t e : events) EXPECT_EQ(cudaEventDestroy(e), cudaSuccess);
}

TEST_F(Runtime, AFaultComesOutAndLeavesTheRuntimeUsable) {
  const auto wrong = +[] {
    if (threadIdx.x < 3) __syncthreads();
  };
  EXPECT_THROW(launch(wrong, 1, 32, stream_), Fault);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);

  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeGlobal), cudaSuccess);
  launch(wrong, 1, 32, stream_);
  ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  cudaGraphExec_t exec = instantiate(graph);
  EXPECT_THROW(cudaGraphLaunch(exec, stream_), Fault);
  machine().deferred = true;
  EXPECT_EQ(cudaGraphLaunch(exec, stream_), cudaSuccess);
  EXPECT_THROW(cudaStreamSynchronize(stream_), Fault);
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);

  EXPECT_EQ(cudaMemsetAsync(x_, 0, bytes, stream_), cudaSuccess);
  EXPECT_EQ(add(1), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(read()[0], 1);
}

}  // namespace
}  // namespace norma::simt
