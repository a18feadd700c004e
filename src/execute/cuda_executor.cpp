// Runs Plans with the CUDA kernels: the Calls in order on one stream, from the second time on as graphs.
#include "src/execute/cuda_executor.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "kernels/cuda/backend.h"
#include "norma/text.h"
#include "src/execute/cuda_memory.h"
#include "src/execute/device_traits.h"
#include "src/execute/value_addresses.h"
#include "src/plan/plan.h"

namespace norma {
namespace {

using cuda::Block;
using cuda::check;

// Place of a Call in a capture. The branches are streams.
struct Turn {
  int branch = 0;
  bool is_first = false;       // of its branch
  std::vector<int> waits_for;  // Calls of other branches
  bool is_awaited = false;     // by another Call, of its branch or of another
};

// A Call leaves its branch to the one of those that wait for it with the longest way to the end of the Plan: the longest chain is one
// branch, the first. The others that wait for it go on with another branch, or begin one.
std::vector<Turn> branch(const Plan& plan) {
  const std::vector<std::vector<int>> waits = dependencies(plan);
  std::vector<Turn> turns(waits.size());
  std::vector<int> way(waits.size(), 1), heir(waits.size(), -1);  // way: Calls from here to the end
  for (std::size_t i = waits.size(); i-- > 0;)
    for (const int before : waits[i]) {
      const auto j = static_cast<std::size_t>(before);
      way[j] = std::max(way[j], way[i] + 1);
      turns[j].is_awaited = true;
    }
  for (std::size_t i = 0; i < waits.size(); ++i)
    for (const int before : waits[i])
      if (int& of = heir[static_cast<std::size_t>(before)]; of < 0 || way[i] > way[static_cast<std::size_t>(of)]) of = static_cast<int>(i);
  int branches = 0;
  for (std::size_t i = 0; i < waits.size(); ++i) {
    Turn& turn = turns[i];
    int inherited = -1;  // the Call whose branch goes on
    for (const int j : waits[i])
      if (heir[static_cast<std::size_t>(j)] == static_cast<int>(i) &&
          (inherited < 0 || turns[static_cast<std::size_t>(j)].branch < turns[static_cast<std::size_t>(inherited)].branch))
        inherited = j;
    turn.is_first = inherited < 0;
    turn.branch = turn.is_first ? branches++ : turns[static_cast<std::size_t>(inherited)].branch;
    for (const int j : waits[i])
      if (j != inherited) turn.waits_for.push_back(j);
  }
  return turns;
}

class CudaExecutor final : public Executor {
 public:
  CudaExecutor(int index, const ExecutorOptions& options) : index_(index), capture_(options.capture), graph_calls_(options.graph_calls) {
    if (graph_calls_ < 1) throw Error(ErrorKind::usage, "graph_calls must be at least 1, got " + std::to_string(graph_calls_));
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, index), "reading the properties of GPU " + std::to_string(index));
    multiprocessors_ = properties.multiProcessorCount;
    name_ =
        std::string(properties.name) + ", compute capability " + std::to_string(properties.major) + "." + std::to_string(properties.minor);
  }
  ~CudaExecutor() override { (void)cudaSetDevice(index_); }

  std::string description() const override { return to_string(Device::cuda(index_)) + " (" + name_ + ")"; }
  const DeviceTraits& traits() const override { return cuda_traits; }

  void prepare(const Plan& plan) override {
    synchronize();  // queued work uses memory that may move
    Prepared prepared;
    std::size_t workspace = 0, counters = 0;
    for (const PlanCall& c : plan.calls) {
      const kernels::cuda::Needs needs = kernels::cuda::needs_of(c.call);
      prepared.own.push_back({workspace, counters});
      prepared.on_host |= kernels::cuda::runs_on_host(c.call);
      workspace += (needs.workspace + alignment - 1) / alignment * alignment;
      counters += needs.counters;
    }
    if (workspace > workspace_.size()) workspace_ = Block(workspace, "the workspace of batch size " + std::to_string(plan.samples));
    if (counters * sizeof(unsigned) > counters_.size()) counters_ = Block(counters * sizeof(unsigned), "counters");
    prepared.branches = branch(plan);
    for (const Turn& turn : prepared.branches)
      while (turn.branch > static_cast<int>(streams_.size())) streams_.emplace_back();
    while (events_.size() <= plan.calls.size()) events_.emplace_back(cudaEventDisableTiming);
    for (std::size_t r = 0; r < region_count; ++r) {
      Block& block = regions_[r];
      if (plan.region_bytes[r] <= block.size()) continue;
      const Region region = static_cast<Region>(r);
      const std::string what = purpose(plan, region);
      Block larger(plan.region_bytes[r], what);
      if (block.size() && region != Region::activations)
        check(cudaMemcpyAsync(larger.data(), block.data(), block.size(), cudaMemcpyDeviceToDevice, stream_), "moving " + what);
      synchronize();
      block = std::move(larger);
    }
    plans_.insert_or_assign(&plan, std::move(prepared));
    for (auto& [known, of_known] : plans_) of_known.addresses = locate(*known);
  }

  void bind(const Plan& plan, int value, const void* source, std::size_t bytes, std::int64_t version) override {
    check_bind(plan, value);
    use_device();
    const std::string& name = plan[ValueId{value}].name;
    std::byte* const address = resident(name, source, bytes, version);
    bound_[name] = address;
    for (auto& [known, prepared] : plans_)
      if (const auto it = known->names.find(name); it != known->names.end())
        prepared.addresses[static_cast<std::size_t>(it->second.index)] = address;
  }

  void write(const Plan& plan, int value, const void* source, std::size_t bytes, std::size_t offset) override {
    use_device();
    staging_.to_device(address_of(plans_, plan, value, bytes, offset), source, bytes, stream_);
  }

  void read(const Plan& plan, int value, void* destination, std::size_t bytes, std::size_t offset) override {
    check_survives(plan, value);
    use_device();
    staging_.to_host(destination, address_of(plans_, plan, value, bytes, offset), bytes, stream_);
  }

  void run(const Plan& plan, std::int64_t times, bool check_each) override {
    use_device();
    Prepared& p = prepared_for(plans_, plan);
    check_bound(plan, p.addresses);
    for (; times > 0 && (check_each || capture_ == Capture::off || !p.ran || p.on_host); --times) {
      for_each_call(plan, p, [&](std::size_t call) {
        if (check_each) check_outputs(plan, plan.calls[call]);
      });
      p.ran = true;  // this run has loaded the kernels: a capture must not
    }
    const std::int64_t most = std::max<std::int64_t>(1, graph_calls_ / static_cast<std::int64_t>(plan.calls.size()));
    for (; times >= most && most > 1; times -= most) launch(plan, p, p.several, most);
    for (; times > 0; --times) launch(plan, p, p.once, 1);
  }

  void run_call(const Plan& plan, std::size_t call) override {
    check_whole(plan);
    check_call(plan, call);
    use_device();
    queue(plan, call, prepared_for(plans_, plan), stream_);
  }

  std::vector<double> run_timed(const Plan& plan) override {
    use_device();
    std::vector<cuda::Event> events(plan.calls.size() + 1);
    check(cudaEventRecord(events[0], stream_), "recording an event");
    std::size_t done = 0;
    for_each_call(plan, prepared_for(plans_, plan),
                  [&](std::size_t) { check(cudaEventRecord(events[++done], stream_), "recording an event"); });
    synchronize();
    std::vector<double> seconds;
    for (std::size_t i = 0; i < plan.calls.size(); ++i) {
      float milliseconds = 0;
      check(cudaEventElapsedTime(&milliseconds, events[i], events[i + 1]), "reading an event");
      seconds.push_back(1e-3 * static_cast<double>(milliseconds));
    }
    return seconds;
  }

  void synchronize() override {
    use_device();
    check(cudaStreamSynchronize(stream_), "running a Plan (check_each names the Call)");
  }

 private:
  // Some runs of a Plan as a graph. It holds for the addresses it was made with.
  struct Recorded {
    cuda::Graph graph;
    std::vector<std::byte*> addresses;
    std::byte *workspace = nullptr, *counters = nullptr;
  };
  struct Prepared {
    std::vector<std::byte*> addresses;  // [values]
    struct Own {
      std::size_t workspace, counters;  // bytes into the workspace; number of the first counter
    };
    std::vector<Own> own;               // [calls]
    std::vector<Turn> branches;         // [calls]
    bool ran = false, on_host = false;  // has run; has a Call of the host
    Recorded once, several;
  };
  // A copy of something of the host's.
  struct Resident {
    std::string name;
    const void* source;
    std::size_t bytes;
    std::int64_t version;
    Block block;
  };

  void use_device() const { check(cudaSetDevice(index_), "choosing GPU " + std::to_string(index_)); }

  void queue(const Plan& plan, std::size_t call, const Prepared& p, cudaStream_t stream) const {
    const PlanCall& c = plan.calls[call];
    const Prepared::Own& own = p.own[call];
    kernels::cuda::run(c.call, kernels::Memory{p.addresses.data()},
                       kernels::cuda::Queue{.stream = stream,
                                            .workspace = workspace_.data() + own.workspace,
                                            .counters = reinterpret_cast<unsigned*>(counters_.data()) + own.counters,
                                            .multiprocessors = multiprocessors_});
    if (const cudaError_t e = cudaGetLastError(); e != cudaSuccess)
      throw Error(ErrorKind::failure, "[" + printable(c.path) + "] " + name_of(c.call) + ": CUDA: " + cuda::text_of(e));
  }

  // Queues every Call, and after each calls then(its number).
  template <class F>
  void for_each_call(const Plan& plan, const Prepared& p, F then) const {
    for (std::size_t i = 0; i < plan.calls.size(); ++i) {
      queue(plan, i, p, stream_);
      if (p.on_host) use_device();  // a function of the host may have chosen another
      then(i);
    }
  }

  // Some kernel of it needs all its blocks resident at once.
  bool is_cooperative(const PlanCall& c, const Prepared& p) const {
    return std::ranges::any_of(kernels::cuda::launches(c.call, kernels::Memory{p.addresses.data()}, multiprocessors_),
                               &kernels::cuda::Launch::cooperative);
  }

  // Queues every Call on the stream of its branch. There it waits for the Calls of other branches that it needs. Cooperative kernels wait
  // for each other: each may take the whole device, and CUDA does not promise that two do not share it. The executor's stream then waits
  // for all. This is for captures only: a graph turns waiting into an edge.
  void fork(const Plan& plan, const Prepared& p) const {
    const auto stream_of = [&](int branch) { return branch == 0 ? cudaStream_t{stream_} : streams_[static_cast<std::size_t>(branch - 1)]; };
    const auto wait = [&](int branch, std::size_t event) {
      check(cudaStreamWaitEvent(stream_of(branch), events_[event], 0), "capturing a Plan");
    };
    const std::size_t begun = plan.calls.size();
    check(cudaEventRecord(events_[begun], stream_), "capturing a Plan");
    std::optional<std::size_t> cooperative;  // the Call of the last one
    for (std::size_t i = 0; i < plan.calls.size(); ++i) {
      const Turn& turn = p.branches[i];
      if (is_cooperative(plan.calls[i], p)) {
        if (cooperative && p.branches[*cooperative].branch != turn.branch) wait(turn.branch, *cooperative);
        cooperative = i;
      }
      if (turn.branch != 0 && turn.is_first && turn.waits_for.empty()) wait(turn.branch, begun);
      for (const int other : turn.waits_for) wait(turn.branch, static_cast<std::size_t>(other));
      queue(plan, i, p, stream_of(turn.branch));
      check(cudaEventRecord(events_[i], stream_of(turn.branch)), "capturing a Plan");
    }
    for (std::size_t i = 0; i < plan.calls.size(); ++i)
      if (p.branches[i].branch != 0 && !p.branches[i].is_awaited) wait(0, i);
  }

  // Launches a graph of `times` runs. It captures one if there is none for these addresses.
  void launch(const Plan& plan, const Prepared& p, Recorded& recorded, std::int64_t times) {
    if (!recorded.graph || recorded.addresses != p.addresses || recorded.workspace != workspace_.data() ||
        recorded.counters != counters_.data()) {
      check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "capturing a Plan");
      cudaGraph_t graph = nullptr;
      try {
        for (std::int64_t i = 0; i < times; ++i)
          if (capture_ == Capture::branches) fork(plan, p);
          else for_each_call(plan, p, [](std::size_t) {});
      } catch (...) {
        if (cudaStreamEndCapture(stream_, &graph) == cudaSuccess && graph) (void)cudaGraphDestroy(graph);
        (void)cudaGetLastError();
        throw;
      }
      check(cudaStreamEndCapture(stream_, &graph), "capturing a Plan");
      recorded.graph = cuda::Graph(graph);
      check(cudaGraphUpload(recorded.graph, stream_), "sending the graph of a Plan to the GPU");
      recorded.addresses = p.addresses, recorded.workspace = workspace_.data(), recorded.counters = counters_.data();
    }
    check(cudaGraphLaunch(recorded.graph, stream_), "launching the graph of a Plan");
  }

  // Throws if the Call wrote a float that is not finite, or did not run to its end.
  void check_outputs(const Plan& plan, const PlanCall& c) {
    const std::string call = "[" + printable(c.path) + "] " + name_of(c.call);
    check(cudaStreamSynchronize(stream_), call);
    for_each_operand(c.call, [&](const kernels::Operand& o) {
      if (!o.value || o.access == kernels::Access::read || plan[o.value].dtype != DType::f32) return;
      const PlanValue& v = plan[o.value];
      std::vector<float> values(v.bytes / sizeof(float));
      read(plan, o.value.index, values.data(), v.bytes, 0);
      for (const float x : values)
        if (!std::isfinite(x))
          throw Error(ErrorKind::diverged, call + " wrote " + std::to_string(x) + " to " + printable(v.name) + " " + to_string(v.shape));
    });
  }

  // The device's copy of these bytes. Those of one version all stay; one of another version, or of none, gives its place to the next.
  std::byte* resident(const std::string& name, const void* source, std::size_t bytes, std::int64_t version) {
    for (const Resident& r : residents_)
      if (r.name == name && version != 0 && r.version == version && r.source == source && r.bytes == bytes) return r.block.data();
    auto place = std::find_if(residents_.begin(), residents_.end(), [&](const Resident& r) {
      return r.name == name && (version == 0 ? r.version == 0 : r.version != 0 && r.version != version);
    });
    if (place == residents_.end()) place = residents_.insert(place, Resident{name, nullptr, 0, 0, {}});
    if (bytes > place->block.size()) {
      synchronize();
      *place = Resident{name, nullptr, 0, 0, {}};
      place->block = Block(bytes, "\"" + name + "\"");
    }
    staging_.to_device(place->block.data(), source, bytes, stream_);
    place->source = source, place->bytes = bytes, place->version = version;
    return place->block.data();
  }

  std::vector<std::byte*> locate(const Plan& plan) const {
    std::array<std::byte*, region_count> begins{};
    for (std::size_t r = 0; r < region_count; ++r) begins[r] = regions_[r].data();
    return norma::locate(plan, begins, bound_);
  }

  int index_;
  Capture capture_;
  std::int64_t graph_calls_;
  std::string name_;
  int multiprocessors_ = 0;
  cuda::Stream stream_;
  cuda::Staging staging_;
  std::vector<cuda::Stream> streams_;  // of the branches but the first
  std::vector<cuda::Event> events_;    // as many as the longest Plan has Calls, and one
  Block workspace_, counters_;
  std::array<Block, region_count> regions_;
  std::map<std::string, std::byte*> bound_;
  std::vector<Resident> residents_;
  std::unordered_map<const Plan*, Prepared> plans_;
};

std::string version_text(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

}  // namespace

std::string why_not_cuda(int index) {
  int driver = 0, runtime = 0, count = 0;
  (void)cudaRuntimeGetVersion(&runtime);
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) return "no NVIDIA driver is installed";
  if (const cudaError_t e = cudaGetDeviceCount(&count); e != cudaSuccess) {
    (void)cudaGetLastError();
    if (e == cudaErrorNoDevice) return "the NVIDIA driver finds no GPU";
    if (e == cudaErrorInsufficientDriver)
      return "the NVIDIA driver knows CUDA " + version_text(driver) + ", this build needs " + version_text(runtime) +
             "; install NVIDIA's driver " + (needed_driver(runtime).empty() ? "for it" : needed_driver(runtime)) + " or a later one";
    return cuda::text_of(e);
  }
  if (index >= count) return "there is no GPU " + std::to_string(index) + ", only 0.." + std::to_string(count - 1);
  // Loading the first kernel shows if the build has code for this GPU.
  try {
    check(cudaSetDevice(index), "choosing GPU " + std::to_string(index));
    const cuda::Stream stream;
    const Block block(alignment, "a first value");
    std::byte* address = block.data();
    kernels::cuda::run(kernels::Fill{.y = {0}, .n = 1, .value = 1}, kernels::Memory{&address},
                       {.stream = stream, .workspace = nullptr, .counters = nullptr, .multiprocessors = 0});
    if (cudaError_t e = cudaGetLastError(); e != cudaSuccess || (e = cudaStreamSynchronize(stream)) != cudaSuccess) {
      (void)cudaGetLastError();
      if (e != cudaErrorNoKernelImageForDevice && e != cudaErrorUnsupportedPtxVersion) return cuda::text_of(e);
      cudaDeviceProp p{};
      check(cudaGetDeviceProperties(&p, index), "reading the properties of the GPU");
      const std::string capability = std::to_string(p.major) + std::to_string(p.minor);
      return std::string("this build has no code for the ") + p.name + " (compute capability " + std::to_string(p.major) + "." +
             std::to_string(p.minor) + "), only for " NORMA_CUDA_ARCHITECTURES "; configure with -DCMAKE_CUDA_ARCHITECTURES=" + capability;
    }
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

std::unique_ptr<Executor> make_cuda_executor(int index, const ExecutorOptions& options) {
  if (const std::string why = why_not_cuda(index); !why.empty())
    throw Error(ErrorKind::device, "device " + to_string(Device::cuda(index)) + " cannot be used: " + why +
                                       "; use --device cpu, or auto to take what is there");
  return std::make_unique<CudaExecutor>(index, options);
}

}  // namespace norma
