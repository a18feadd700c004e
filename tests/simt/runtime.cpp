// The fake runtime's device, errors and memory.
#include "tests/simt/runtime.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <new>

#include "tests/simt/context.h"
#include "tests/simt/visibility.h"

namespace norma::simt {
namespace {

constexpr std::align_val_t alignment{256};

struct Text {
  cudaError_t error;
  const char *name, *string;
};
constexpr std::array texts{
    Text{cudaSuccess, "cudaSuccess", "no error"},
    Text{cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    Text{cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    Text{cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    Text{cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    Text{cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
    Text{cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"},
    Text{cudaErrorDevicesUnavailable, "cudaErrorDevicesUnavailable", "CUDA-capable device(s) is/are busy or unavailable"},
    Text{cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    Text{cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    Text{cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice", "no kernel image is available for execution on the device"},
    Text{cudaErrorECCUncorrectable, "cudaErrorECCUncorrectable", "uncorrectable ECC error encountered"},
    Text{cudaErrorUnsupportedPtxVersion, "cudaErrorUnsupportedPtxVersion", "the provided PTX was compiled with an unsupported toolchain."},
    Text{cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    Text{cudaErrorIllegalState, "cudaErrorIllegalState", "the operation cannot be performed in the present state"},
    Text{cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    Text{cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    Text{cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources", "too many resources requested for launch"},
    Text{cudaErrorLaunchTimeout, "cudaErrorLaunchTimeout", "the launch timed out and was terminated"},
    Text{cudaErrorAssert, "cudaErrorAssert", "device-side assert triggered"},
    Text{cudaErrorMisalignedAddress, "cudaErrorMisalignedAddress", "misaligned address"},
    Text{cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    Text{cudaErrorCooperativeLaunchTooLarge, "cudaErrorCooperativeLaunchTooLarge", "too many blocks in cooperative launch"},
    Text{cudaErrorNotPermitted, "cudaErrorNotPermitted", "operation not permitted"},
    Text{cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    Text{cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"},
    Text{cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"},
    Text{cudaErrorStreamCaptureMerge, "cudaErrorStreamCaptureMerge", "operation would result in a merge of separate capture sequences"},
    Text{cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"},
    Text{cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched", "capture was not ended in the same stream as it began"},
    Text{cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
         "operation would make the legacy stream depend on a capturing blocking stream"},
    Text{cudaErrorUnknown, "cudaErrorUnknown", "unknown error"},
};

const Text* find(cudaError_t error) {
  const auto* found = std::find_if(texts.begin(), texts.end(), [error](const Text& t) { return t.error == error; });
  return found == texts.end() ? nullptr : found;
}

bool is_device(const void* address) { return context().memory.hold(address, 0); }

// True if a copy's two sides fit `kind`, and device memory holds all of it.
bool valid_copy(const void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  const bool to_device = is_device(to), from_device = is_device(from);
  if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault || !to || !from) return false;
  if (kind != cudaMemcpyDefault) {
    if (to_device != (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice)) return false;
    if (from_device != (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice)) return false;
  }
  return (!to_device || context().memory.hold(to, bytes)) && (!from_device || context().memory.hold(from, bytes));
}

// Copies when its turn comes; memory may have been freed since it was queued.
void copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  if (valid_copy(to, from, bytes, kind)) std::memmove(to, from, bytes);
  else context().lost = cudaErrorIllegalAddress;
}

void set(void* memory, int value, std::size_t bytes) {
  if (context().memory.hold(memory, bytes)) std::memset(memory, value, bytes);
  else context().lost = cudaErrorIllegalAddress;
}

cudaError_t allocate(Allocations& memory, void** address, std::size_t bytes, std::size_t limit) {
  if (const cudaError_t e = unusable()) return report(e);
  if (!address) return report(cudaErrorInvalidValue);
  if (const cudaError_t e = forbid_in_capture(cudaErrorStreamCaptureUnsupported)) return report(e);
  *address = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (bytes > limit || memory.bytes() > limit - bytes) return report(cudaErrorMemoryAllocation);
  *address = memory.add(bytes);
  return cudaSuccess;
}

cudaError_t release(Allocations& memory, void* address) {
  if (const cudaError_t e = unusable()) {
    memory.remove(address);
    return report(e);
  }
  if (const cudaError_t e = forbid_in_capture(cudaErrorStreamCaptureUnsupported)) return report(e);
  drain(nullptr);
  if (address && !memory.remove(address)) return report(cudaErrorInvalidValue);
  return cudaSuccess;
}

}  // namespace

Allocations::~Allocations() {
  for (const auto& [address, bytes] : alive_) ::operator delete(const_cast<std::byte*>(address), alignment);
}

void* Allocations::add(std::size_t bytes) {
  auto* p = static_cast<std::byte*>(::operator new(bytes, alignment));
  for (std::size_t i = 0; i < bytes; i += sizeof unset) std::memcpy(p + i, &unset, std::min(sizeof unset, bytes - i));
  alive_.emplace(p, bytes);
  bytes_ += bytes;
  if (of_device_) visibility().add(p, bytes);
  return p;
}

bool Allocations::remove(void* memory) {
  const auto found = alive_.find(static_cast<std::byte*>(memory));
  if (found == alive_.end()) return false;
  bytes_ -= found->second;
  alive_.erase(found);
  if (of_device_) visibility().remove(memory);
  ::operator delete(memory, alignment);
  return true;
}

bool Allocations::hold(const void* address, std::size_t bytes) const {
  const auto* p = static_cast<const std::byte*>(address);
  const auto after = alive_.upper_bound(p);
  if (after == alive_.begin()) return false;
  const auto& [begin, size] = *std::prev(after);
  const auto offset = static_cast<std::size_t>(p - begin);
  return bytes == 0 ? offset < size : offset <= size && bytes <= size - offset;
}

Context& context() {
  static Context one;
  return one;
}

Machine& machine() { return context().machine; }

void reset_machine() {
  Context& c = context();
  c.machine = {};
  c.device = 0;
  c.last = c.lost = cudaSuccess;
  c.streams.for_each([](CUstream_st& s) {
    s.pending.clear(), s.frontier.clear();
    s.capture = nullptr;
  });
}

Live live() {
  const Context& c = context();
  return {c.memory.bytes(), c.memory.size(), c.pinned.size(), c.streams.size(), c.events.size(), c.graphs.size() + c.graph_execs.size()};
}

cudaError_t report(cudaError_t error) {
  if (error != cudaSuccess) context().last = error;
  return error;
}

cudaError_t unusable() {
  const Context& c = context();
  if (!c.machine.driver) return cudaErrorInsufficientDriver;
  if (c.machine.devices == 0) return cudaErrorNoDevice;
  return c.lost;
}

bool loses_context(cudaError_t error) {
  return error == cudaErrorECCUncorrectable || error == cudaErrorIllegalAddress || error == cudaErrorLaunchTimeout ||
         error == cudaErrorAssert || error == cudaErrorMisalignedAddress || error == cudaErrorLaunchFailure;
}

}  // namespace norma::simt

using namespace norma::simt;

const char* cudaGetErrorName(cudaError_t error) {
  const auto* found = find(error);
  return found ? found->name : "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  const auto* found = find(error);
  return found ? found->string : "unrecognized error code";
}

cudaError_t cudaPeekAtLastError() {
  if (context().lost) return context().lost;
  return context().last;
}

cudaError_t cudaGetLastError() {
  const cudaError_t last = cudaPeekAtLastError();
  context().last = cudaSuccess;
  return last;
}

// Works without a driver: 0.
cudaError_t cudaDriverGetVersion(int* version) {
  *version = context().machine.driver ? 13000 : 0;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  if (const cudaError_t e = unusable()) return report(e);
  *count = context().machine.devices;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (const cudaError_t e = unusable()) return report(e);
  if (device < 0 || device >= context().machine.devices) return report(cudaErrorInvalidDevice);
  context().device = device;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  if (const cudaError_t e = unusable()) return report(e);
  *device = context().device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (const cudaError_t e = unusable()) return report(e);
  const Machine& m = context().machine;
  if (device < 0 || device >= m.devices) return report(cudaErrorInvalidDevice);
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "norma SIMT emulator");
  properties->totalGlobalMem = m.memory;
  properties->sharedMemPerBlock = properties->sharedMemPerBlockOptin = properties->sharedMemPerMultiprocessor = max_shared;
  properties->regsPerBlock = 65536;
  properties->warpSize = warp_size;
  properties->maxThreadsPerBlock = max_block;
  properties->major = m.major;
  properties->minor = m.minor;
  properties->multiProcessorCount = m.multiprocessors;
  properties->pciBusID = device;
  properties->memoryBusWidth = 4096;
  properties->l2CacheSize = 32 << 20;
  properties->maxThreadsPerMultiProcessor = threads_per_multiprocessor;
  properties->cooperativeLaunch = 1;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp p;
  if (const cudaError_t e = cudaGetDeviceProperties(&p, device)) return e;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = static_cast<int>(p.sharedMemPerBlock); break;
    case cudaDevAttrWarpSize: *value = p.warpSize; break;
    case cudaDevAttrClockRate: *value = 1'000'000; break;
    case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; break;
    case cudaDevAttrMemoryClockRate: *value = 1'000'000; break;
    case cudaDevAttrGlobalMemoryBusWidth: *value = p.memoryBusWidth; break;
    case cudaDevAttrL2CacheSize: *value = p.l2CacheSize; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = p.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrComputeCapabilityMajor: *value = p.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = p.minor; break;
    case cudaDevAttrCooperativeLaunch: *value = p.cooperativeLaunch; break;
    default: return report(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  if (const cudaError_t e = unusable()) return report(e);
  *total = context().machine.memory;
  *free = *total - std::min(*total, context().memory.bytes());
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) { return allocate(context().memory, memory, bytes, context().machine.memory); }
cudaError_t cudaFree(void* memory) { return release(context().memory, memory); }
cudaError_t cudaMallocHost(void** memory, std::size_t bytes) { return cudaHostAlloc(memory, bytes, cudaHostAllocDefault); }
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned) { return allocate(context().pinned, memory, bytes, SIZE_MAX); }
cudaError_t cudaFreeHost(void* memory) { return release(context().pinned, memory); }

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (const cudaError_t e = refused(stream)) return report(e);
  if (bytes == 0) return cudaSuccess;
  if (!valid_copy(to, from, bytes, kind)) return report(cudaErrorInvalidValue);
  submit(stream, [=] { copy(to, from, bytes, kind); });
  // Only pinned memory is read and written by the device itself, later: of other memory, the host's side is done when this returns.
  const auto pageable = [](const void* address) { return !is_device(address) && !context().pinned.hold(address, 0); };
  if (stream && !stream->capture && (pageable(to) || pageable(from))) drain(stream);
  return report(context().lost);
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return cudaMemcpyAsync(to, from, bytes, kind);
}

cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
  if (const cudaError_t e = refused(stream)) return report(e);
  if (bytes == 0) return cudaSuccess;
  if (!context().memory.hold(memory, bytes)) return report(cudaErrorInvalidValue);
  submit(stream, [=] { set(memory, value, bytes); });
  return report(context().lost);
}

cudaError_t cudaMemset(void* memory, int value, std::size_t bytes) { return cudaMemsetAsync(memory, value, bytes); }
