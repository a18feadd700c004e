// The fake runtime's streams, events, captures, graphs and launches.
#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <utility>

#include "tests/simt/context.h"

namespace norma::simt {
namespace {

bool capturing(const CUstream_st& s) { return s.capture != nullptr; }
bool valid(cudaStream_t stream) { return !stream || context().streams.has(stream); }

// Fails the captures that `which` is true of; whether there were any.
template <class F>
bool fail_captures(F which) {
  bool any = false;
  context().streams.for_each([&](CUstream_st& s) {
    if (!capturing(s) || !which(s)) return;
    s.capture->status = cudaStreamCaptureStatusInvalidated;
    any = true;
  });
  return any;
}

// Throws a Fault where two cooperative grids may run at once. CUDA promises room for the blocks of one: each might hold what the other's
// wait for.
void refuse_crowds(const std::vector<Node>& nodes) {
  const auto cooperative = [](const Node& node) {
    const auto* queued = std::get_if<QueuedGrid>(&node.work);
    return queued && queued->grid.cooperative;
  };
  if (std::ranges::count_if(nodes, cooperative) < 2) return;
  std::vector<std::vector<char>> after(nodes.size(), std::vector<char>(nodes.size()));  // [node][before it, over any way]
  for (std::size_t i = 0; i < nodes.size(); ++i)
    for (const int direct : nodes[i].after) {
      const auto j = static_cast<std::size_t>(direct);
      after[i][j] = 1;
      for (std::size_t k = 0; k < j; ++k) after[i][k] = static_cast<char>(after[i][k] | after[j][k]);
    }
  for (std::size_t i = 0; i < nodes.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (cooperative(nodes[i]) && cooperative(nodes[j]) && !after[i][j])
        throw Fault("two cooperative grids of a graph, nodes " + std::to_string(j) + " and " + std::to_string(i) +
                    ", may run at once; one must follow the other");
}

// Adds the nodes that are not there yet.
void add_nodes(std::vector<int>& to, const std::vector<int>& nodes) {
  for (const int n : nodes)
    if (std::find(to.begin(), to.end(), n) == to.end()) to.push_back(n);
}

// True if the stream's frontier follows every node.
bool follows_all(const CUstream_st& s) {
  std::vector<char> followed(s.capture->nodes.size());
  std::vector<int> open = s.frontier;
  while (!open.empty()) {
    const auto i = static_cast<std::size_t>(open.back());
    open.pop_back();
    if (std::exchange(followed[i], 1)) continue;
    const std::vector<int>& before = s.capture->nodes[i].after;
    open.insert(open.end(), before.begin(), before.end());
  }
  return std::find(followed.begin(), followed.end(), 0) == followed.end();
}

// Pending work is lost with a Fault, or with the context.
void drain_one(CUstream_st& s) {
  for (const auto& work : std::exchange(s.pending, {}))
    if (!context().lost) do_work(work);
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

cudaError_t stream_error(cudaStream_t stream) {
  if (const cudaError_t e = unusable()) return e;
  return valid(stream) ? cudaSuccess : cudaErrorInvalidResourceHandle;
}
cudaError_t event_error(cudaEvent_t event) {
  if (const cudaError_t e = unusable()) return e;
  return context().events.has(event) ? cudaSuccess : cudaErrorInvalidResourceHandle;
}

// Waiting for a stream that is being captured fails the capture: nothing of it has run.
cudaError_t wait_for(cudaStream_t stream) {
  if (const cudaError_t e = stream_error(stream)) return report(e);
  if (!stream) return report(cudaDeviceSynchronize());
  if (fail_captures([=](const CUstream_st& s) { return &s == stream; })) return report(cudaErrorStreamCaptureUnsupported);
  drain(stream);
  return report(context().lost);
}

cudaError_t invalid_grid(const Grid& grid) {
  if (grid.threads < 1 || grid.threads > max_block || grid.blocks < 0 || grid.blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
  const std::int64_t rounded = (grid.threads + warp_size - 1) / warp_size * warp_size;
  const std::int64_t resident = context().machine.multiprocessors * (threads_per_multiprocessor / rounded);
  return grid.cooperative && grid.blocks > resident ? cudaErrorCooperativeLaunchTooLarge : cudaSuccess;
}

}  // namespace

cudaError_t refused(cudaStream_t stream) {
  if (const cudaError_t e = stream_error(stream)) return e;
  if (stream)
    return capturing(*stream) && stream->capture->status == cudaStreamCaptureStatusInvalidated ? cudaErrorStreamCaptureInvalidated
                                                                                               : cudaSuccess;
  const auto waited_for = [](const CUstream_st& s) { return s.blocking && s.capture->mode != cudaStreamCaptureModeRelaxed; };
  return fail_captures(waited_for) ? cudaErrorStreamCaptureImplicit : cudaSuccess;
}

cudaError_t forbid_in_capture(cudaError_t error, bool relaxed_too) {
  const bool any = fail_captures([=](const CUstream_st& s) { return relaxed_too || s.capture->mode != cudaStreamCaptureModeRelaxed; });
  return any ? error : cudaSuccess;
}

void submit(cudaStream_t stream, Task work) {
  if (stream && capturing(*stream)) {
    std::vector<Node>& nodes = stream->capture->nodes;
    nodes.push_back({std::move(work), stream->frontier});
    stream->frontier = {static_cast<int>(nodes.size()) - 1};
  } else if (stream && context().machine.deferred) {
    stream->pending.push_back(std::move(work));
  } else {
    if (stream) drain_one(*stream);  // from a time when work was deferred
    else
      context().streams.for_each([](CUstream_st& s) {
        if (s.blocking) drain_one(s);
      });
    if (!context().lost) do_work(work);
  }
}

void drain(cudaStream_t stream) {
  if (stream) drain_one(*stream);
  else context().streams.for_each(drain_one);
}

void queue_grid(cudaStream_t stream, const Grid& grid, std::function<void()> thread) {
  const cudaError_t planted = std::exchange(context().machine.next_launch, cudaSuccess);
  cudaError_t e = refused(stream);
  if (!e) e = invalid_grid(grid);
  if (!e && !loses_context(planted)) e = planted;
  if (e) {
    report(e);
    return;
  }
  if (grid.blocks == 0) return;
  if (context().machine.queued) context().machine.queued->push_back(grid);
  if (planted) submit(stream, [planted] { context().lost = planted; });
  else submit(stream, QueuedGrid{grid, std::move(thread)});
}

}  // namespace norma::simt

using namespace norma::simt;

cudaError_t cudaDeviceSynchronize() {
  if (const cudaError_t e = unusable()) return report(e);
  if (const cudaError_t e = forbid_in_capture(cudaErrorStreamCaptureUnsupported, true)) return report(e);
  drain(nullptr);
  return report(context().lost);
}

// ---- streams
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  if (const cudaError_t e = unusable()) return report(e);
  if (!stream || flags > cudaStreamNonBlocking) return report(cudaErrorInvalidValue);
  *stream = context().streams.add({.blocking = flags == cudaStreamDefault, .pending = {}, .frontier = {}});
  return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (const cudaError_t e = unusable()) {
    context().streams.remove(stream);
    return report(e);
  }
  if (!context().streams.has(stream)) return report(cudaErrorInvalidResourceHandle);
  drain(stream);
  context().streams.remove(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return wait_for(stream); }

// Every query lets the stream do one thing.
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (const cudaError_t e = stream_error(stream)) return report(e);
  if (!stream || capturing(*stream)) return wait_for(stream);
  if (!stream->pending.empty()) {
    const auto work = std::move(stream->pending.front());
    stream->pending.pop_front();
    do_work(work);
  }
  if (context().lost) return report(context().lost);
  return stream->pending.empty() ? cudaSuccess : report(cudaErrorNotReady);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (const cudaError_t e = stream_error(stream)) return report(e);
  if (const cudaError_t e = event_error(event)) return report(e);
  if (stream && event->capture) {  // joins the capture, or waits in it
    if (capturing(*stream) && stream->capture != event->capture) return report(cudaErrorStreamCaptureMerge);
    stream->capture = event->capture;
    add_nodes(stream->frontier, event->nodes);
    return cudaSuccess;
  }
  if (event->stream && context().streams.has(event->stream)) drain(event->stream);
  return report(context().lost);
}

// ---- events
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  if (const cudaError_t e = unusable()) return report(e);
  if (!event) return report(cudaErrorInvalidValue);
  *event = context().events.add({.timed = (flags & cudaEventDisableTiming) == 0, .nodes = {}});
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (const cudaError_t e = event_error(event)) return report(e);
  if (const cudaError_t e = refused(stream)) return report(e);
  event->stream = stream;
  event->recorded = false;
  event->capture = stream ? stream->capture : nullptr;
  if (event->capture) {
    event->nodes = stream->frontier;
    return cudaSuccess;
  }
  submit(stream, [event] {
    if (context().events.has(event)) event->recorded = true, event->seconds = now();
  });
  return report(context().lost);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (const cudaError_t e = event_error(event)) return report(e);
  if (event->stream && context().streams.has(event->stream)) return wait_for(event->stream);
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (const cudaError_t e = event_error(event)) return report(e);
  if (event->stream && context().streams.has(event->stream) && !event->recorded) return cudaStreamQuery(event->stream);
  return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  for (cudaEvent_t event : {begin, end}) {
    if (const cudaError_t e = event_error(event)) return report(e);
    if (!event->timed) return report(cudaErrorInvalidResourceHandle);
  }
  if (!begin->recorded || !end->recorded) return report(cudaErrorNotReady);
  *milliseconds = static_cast<float>((end->seconds - begin->seconds) * 1e3);
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const cudaError_t e = unusable();
  if (!context().events.remove(event)) return report(e ? e : cudaErrorInvalidResourceHandle);
  return report(e);
}

// ---- captures and graphs
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (const cudaError_t e = stream_error(stream)) return report(e);
  if (!stream) return report(cudaErrorStreamCaptureUnsupported);
  if (capturing(*stream)) return report(cudaErrorIllegalState);
  stream->capture = std::make_shared<Capture>(Capture{.mode = mode, .origin = stream, .nodes = {}});
  stream->frontier.clear();
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (const cudaError_t e = stream_error(stream)) return report(e);
  if (!stream || !capturing(*stream)) return report(cudaErrorIllegalState);
  if (stream->capture->origin != stream) return report(cudaErrorStreamCaptureUnmatched);
  const bool joined = follows_all(*stream);
  const std::shared_ptr<Capture> capture = stream->capture;
  context().streams.for_each([&](CUstream_st& s) {
    if (s.capture == capture) s.capture = nullptr, s.frontier.clear();
  });
  context().events.for_each([&](CUevent_st& e) {
    if (e.capture == capture) e.capture = nullptr, e.nodes.clear();
  });
  if (capture->status == cudaStreamCaptureStatusInvalidated) return report(cudaErrorStreamCaptureInvalidated);
  if (!joined) return report(cudaErrorStreamCaptureUnjoined);
  *graph = context().graphs.add({std::move(capture->nodes)});
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  if (const cudaError_t e = stream_error(stream)) return report(e);
  *status = stream && stream->capture ? stream->capture->status : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  if (const cudaError_t e = unusable()) return report(e);
  if (!exec || !context().graphs.has(graph)) return report(cudaErrorInvalidValue);
  refuse_crowds(graph->nodes);
  if (context().machine.graphs) {
    std::vector<std::vector<int>>& edges = context().machine.graphs->emplace_back();
    for (const Node& node : graph->nodes) edges.push_back(node.after);
  }
  *exec = context().graph_execs.add({graph->nodes});
  return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream) {
  if (const cudaError_t e = refused(stream)) return report(e);
  return report(context().graph_execs.has(exec) ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  if (const cudaError_t e = refused(stream)) return report(e);
  if (!context().graph_execs.has(exec)) return report(cudaErrorInvalidValue);
  submit(stream, [nodes = exec->nodes] { run_nodes(nodes); });
  return report(context().lost);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  const cudaError_t e = unusable();
  if (!context().graphs.remove(graph)) return report(e ? e : cudaErrorInvalidValue);
  return report(e);
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  const cudaError_t e = unusable();
  if (!context().graph_execs.remove(exec)) return report(e ? e : cudaErrorInvalidValue);
  return report(e);
}
