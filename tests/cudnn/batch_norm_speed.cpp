#include "tests/cudnn/batch_norm_speed.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "src/execute/cuda_memory.h"
#include "tests/cudnn/batch_norm_calls.h"
#include "tests/cudnn/device.h"
#include "tests/support/cases.h"

namespace norma::test {
namespace {

using kernels::Dims;
using nlohmann::ordered_json;

constexpr float eps = 1e-5f, momentum = 0.1f;
constexpr std::size_t replays = 15;  // of which the median is taken

struct NamedShape {
  std::string name;
  Dims shape;
};

std::vector<NamedShape> read_shapes(const char* path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(std::string(path) + ": cannot be read");
  std::vector<NamedShape> shapes;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (line.empty() || line[0] == '#') continue;
    NamedShape s;
    if (!(std::istringstream(line) >> s.name >> s.shape.n >> s.shape.c >> s.shape.h >> s.shape.w) || s.shape.count() <= 0)
      throw std::runtime_error(std::string(path) + ":" + std::to_string(number) + ": expects a name and N C H W, has: " + line);
    shapes.push_back(std::move(s));
  }
  return shapes;
}

// Sets of tensors that together are more than twice the L2. A call's input has left the cache since its set's last turn. All sets hold
// equal numbers, so one set of statistics, and one reserve, serves them all.
class Sets {
 public:
  Sets(const Dims& shape, std::size_t l2_bytes) {
    const std::size_t bytes = static_cast<std::size_t>(shape.count()) * sizeof(float), touched = 2 * bytes;  // by training; backward: 3
    const std::size_t count = std::max<std::size_t>(2, (2 * l2_bytes + touched - 1) / touched + 1);
    std::vector<float> drawn(std::size_t{1} << 20);
    Random random(20261125);
    for (float& v : drawn) v = static_cast<float>(random.normal());
    const norma::cuda::Block numbers(drawn.size() * sizeof(float), "random numbers");
    norma::cuda::check(cudaMemcpy(numbers.data(), drawn.data(), numbers.size(), cudaMemcpyHostToDevice), "copying to the GPU");
    const auto add = [&](std::size_t size) -> void* {
      const norma::cuda::Block& b = blocks_.emplace_back(size, "a tensor");
      for (std::size_t at = 0; at < size; at += numbers.size())
        norma::cuda::check(cudaMemcpy(b.data() + at, numbers.data(), std::min(numbers.size(), size - at), cudaMemcpyDeviceToDevice),
                           "copying");
      return b.data();
    };
    BatchNormArrays a;
    for (void** channels : {&a.gamma, &a.beta, &a.mean, &a.rstd, &a.running_mean, &a.running_var, &a.next_running_mean, &a.next_running_var,
                            &a.dgamma, &a.dbeta})
      *channels = add(static_cast<std::size_t>(shape.c) * sizeof(float));
    for (std::size_t i = 0; i < count; ++i) {
      for (void** tensor : {&a.x, &a.y, &a.dy, &a.dx}) *tensor = add(bytes);
      arrays_.push_back(a);
    }
    norma::cuda::check(cudaDeviceSynchronize(), "copying");
  }

  const std::vector<BatchNormArrays>& arrays() const { return arrays_; }

 private:
  std::vector<norma::cuda::Block> blocks_;
  std::vector<BatchNormArrays> arrays_;
};

// A pass of one way of computing, on the arrays of set i, on the handle's stream.
using Enqueue = std::function<void(std::size_t i)>;

class Clock {
 public:
  Clock() { check(cudnnSetStream(cudnn(), stream_), "cudnnSetStream"); }
  ~Clock() { (void)cudnnSetStream(cudnn(), nullptr); }

  // Seconds of a call: calls that go round the sets as one CUDA graph, timed over its replays.
  ordered_json seconds(std::size_t sets, const Enqueue& enqueue) const {
    const std::size_t calls = sets * ((8 + sets - 1) / sets);
    enqueue(0);  // what is loaded or compiled by the first call is not captured
    wait();
    norma::cuda::check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed), "capturing");
    std::string failure;
    try {
      for (std::size_t i = 0; i < calls; ++i) enqueue(i % sets);
    } catch (const std::exception& e) {
      failure = e.what();
    }
    cudaGraph_t recorded = nullptr;
    const cudaError_t ended = cudaStreamEndCapture(stream_, &recorded);
    if (!failure.empty()) {
      if (recorded) (void)cudaGraphDestroy(recorded);
      throw std::runtime_error("captured: " + failure);
    }
    norma::cuda::check(ended, "capturing");
    const norma::cuda::Graph graph(recorded);
    const std::vector<norma::cuda::Event> events(replays + 1);
    for (int i = 0; i < 2; ++i) norma::cuda::check(cudaGraphLaunch(graph, stream_), "launching a graph");
    for (const norma::cuda::Event& event : events) {
      norma::cuda::check(cudaEventRecord(event, stream_), "recording an event");
      norma::cuda::check(cudaGraphLaunch(graph, stream_), "launching a graph");  // the last one's end is not timed
    }
    wait();
    std::vector<double> seconds;
    for (std::size_t i = 0; i < replays; ++i) {
      float milliseconds = 0;
      norma::cuda::check(cudaEventElapsedTime(&milliseconds, events[i], events[i + 1]), "timing");
      seconds.push_back(static_cast<double>(milliseconds) / 1e3 / static_cast<double>(calls));
    }
    std::sort(seconds.begin(), seconds.end());
    return {{"median", seconds[replays / 2]}, {"least", seconds.front()}, {"most", seconds.back()}};
  }

 private:
  void wait() const { norma::cuda::check(cudaStreamSynchronize(stream_), "a batch norm of cuDNN"); }

  norma::cuda::Stream stream_;
};

// All ways of computing one shape in one layout.
class Measurements {
 public:
  Measurements(const NamedShape& s, Layout layout, const Sets& sets, const Clock& clock)
      : s_(s), layout_(layout), arrays_(sets.arrays()), clock_(clock) {}

  void legacy(cudnnBatchNormMode_t mode) {
    const char* path = mode == CUDNN_BATCHNORM_SPATIAL ? "spatial" : "persistent";
    for (bool backward : {false, true})
      add_row(path, backward, [&] {
        const LegacyBatchNorm calls(s_.shape, layout_, mode);
        const norma::cuda::Block workspace(calls.workspace_bytes(), "the workspace"), reserve(calls.reserve_bytes(), "the reserve");
        const auto training = [&](BatchNormArrays a) {
          a.workspace = workspace.data(), a.reserve = reserve.data();
          calls.training(a, static_cast<double>(momentum), static_cast<double>(eps));
        };
        if (!backward) return clock_.seconds(arrays_.size(), [&](std::size_t i) { training(arrays_[i]); });
        training(arrays_[0]);  // makes what backward reads
        return clock_.seconds(arrays_.size(), [&](std::size_t i) {
          BatchNormArrays a = arrays_[i];
          a.workspace = workspace.data(), a.reserve = reserve.data();
          calls.backward(a, static_cast<double>(eps));
        });
      });
  }

  void graph() {
    add_row("graph", false, [&] {
      GraphTraining g(s_.shape, layout_, arrays_[0], momentum, eps);
      return replayed(g.operation, [&](const BatchNormArrays& a) {
        g.operation.move(g.x, a.x);
        g.operation.move(g.y, a.y);
      });
    });
    add_row("graph", true, [&] {
      GraphBackward g(s_.shape, layout_, arrays_[0]);
      return replayed(g.operation, [&](const BatchNormArrays& a) {
        g.operation.move(g.x, a.x);
        g.operation.move(g.dy, a.dy);
        g.operation.move(g.dx, a.dx);
      });
    });
  }

  ordered_json rows = ordered_json::array();
  bool failed = false;

 private:
  // Adds a row with the time, or with the reason for its absence.
  void add_row(const char* path, bool backward, const std::function<ordered_json()>& seconds) {
    const Dims& d = s_.shape;
    ordered_json row{{"name", s_.name},
                     {"shape", {d.n, d.c, d.h, d.w}},
                     {"layout", name_of(layout_)},
                     {"path", path},
                     {"pass", backward ? "backward" : "forward"}};
    try {
      row["seconds"] = seconds();
    } catch (const Unsupported& e) {
      row["unsupported"] = e.what();
    } catch (const std::exception& e) {
      failed = true;
      row["failed"] = e.what();
      std::fprintf(stderr, "%s, %s, %s: %s\n", s_.name.c_str(), name_of(layout_), path, e.what());
    }
    rows.push_back(std::move(row));
  }

  template <class Move>
  ordered_json replayed(GraphOperation& operation, const Move& move) const {
    const norma::cuda::Block workspace(operation.workspace_bytes(), "the workspace");
    std::vector<BackendDescriptor> packs;
    for (const BatchNormArrays& a : arrays_) {
      move(a);
      packs.push_back(operation.variant_pack(workspace.data()));
    }
    return clock_.seconds(packs.size(), [&](std::size_t i) { operation.enqueue(packs[i]); });
  }

  const NamedShape& s_;
  Layout layout_;
  const std::vector<BatchNormArrays>& arrays_;
  const Clock& clock_;
};

}  // namespace

int batch_norm_speed(const char* shapes_file) {
  if (!unavailable().empty()) {
    std::fprintf(stderr, "norma_cudnn_tests: %s\n", unavailable().c_str());
    return 4;
  }
  const std::vector<NamedShape> shapes = read_shapes(shapes_file);
  cudaDeviceProp device{};
  norma::cuda::check(cudaGetDeviceProperties(&device, 0), "asking for the GPU's properties");
  int l2_bytes = 0;
  norma::cuda::check(cudaDeviceGetAttribute(&l2_bytes, cudaDevAttrL2CacheSize, 0), "asking for the size of the L2");
  const Clock clock;
  ordered_json rows = ordered_json::array();
  bool failed = false;
  for (const NamedShape& s : shapes) {
    const Sets sets(s.shape, static_cast<std::size_t>(l2_bytes));
    const bool pixels = s.shape.plane() != 1;  // of one pixel the two layouts are the same memory
    for (Layout layout : pixels ? std::vector{Layout::nchw, Layout::nhwc} : std::vector{Layout::nchw}) {
      Measurements m(s, layout, sets, clock);
      m.legacy(CUDNN_BATCHNORM_SPATIAL);
      m.legacy(CUDNN_BATCHNORM_SPATIAL_PERSISTENT);
      m.graph();
      rows.insert(rows.end(), m.rows.begin(), m.rows.end());
      failed |= m.failed;
    }
  }
  const ordered_json result{{"device", std::string(device.name) + ", cuDNN " + std::to_string(cudnnGetVersion())},
                            {"cudnn", cudnnGetVersion()},
                            {"shapes", rows}};
  std::printf("%s\n", result.dump().c_str());
  return failed ? 1 : 0;
}

}  // namespace norma::test
