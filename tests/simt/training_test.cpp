// Training on the emulated GPU, for questions that only an emulation can answer: other orders of threads, delayed work, leftovers, and
// errors. tests/cuda/training_test.cpp has the tests for any GPU; it runs here, too.
#include <algorithm>

#include "norma/error.h"
#include "norma/launches.h"
#include "src/execute/cuda_executor.h"
#include "tests/simt/runtime.h"
#include "tests/support/expect_error.h"
#include "tests/support/random_nets.h"
#include "tests/support/trainer_cases.h"

namespace norma::test {
namespace {

class EmulatedTraining : public testing::Test {
 protected:
  void TearDown() override {
    simt::reset_machine();
    simt::set_options({});
  }
};

// ------------------------------------------------------------------------------------------ random nets

RC_GTEST_PROP(EmulatedProperty, TheOrderOfThreadsDoesNotMatter, (const RandomNet& net)) {
  const Outcome expected = run(net, {.device = Device::cuda()});
  const simt::ScopedOptions backwards({.order = simt::Order::descending, .together = 3, .weak = true});
  expect_same_bits(expected, run(net, {.device = Device::cuda()}));
}

// ------------------------------------------------------------------------------------------ runs

TrainerOptions on_gpu() {
  TrainerOptions o = options();
  o.device = Device::cuda();
  return o;
}

TEST_F(EmulatedTraining, RunsGiveTheSameBits) {
  const Dataset train = bars(100), test = bars(50, 9);
  const auto run = [&] {
    Trainer trainer(net, on_gpu());
    EXPECT_TRUE(trainer.fit(train, &test, {.epochs = 2}));
    return bytes_of(trainer.model()) + bytes_of(trainer.training());
  };
  const std::string expected = run();
  {
    const simt::ScopedOptions other({.seed = 99, .together = 3, .weak = true});
    EXPECT_EQ(run(), expected) << "with threads in another order";
  }
  simt::machine().deferred = true;
  EXPECT_EQ(run(), expected) << "with work done as late as can be";
}

// The batch norms of a block and of its projection are cooperative kernels on two branches of one graph. Side by side they are a Fault.
TEST_F(EmulatedTraining, BatchNormsOnTwoBranchesTakeTurns) {
  const nn::Sequential two{
      nn::Residual{.body = nn::Sequential{nn::Conv2d{.out = 40, .kernel = 3, .padding = 1, .bias = false}, nn::BatchNorm{}},
                   .projection = nn::Sequential{nn::Conv2d{.out = 40, .kernel = 1, .bias = false}, nn::BatchNorm{}}},
      nn::Flatten{}, nn::Linear{.out = 3}};
  TrainerOptions o = on_gpu();
  o.precision = Precision::bf16;
  const std::shared_ptr<const Plan> plan = compile(two, o, Mode::train);
  std::int64_t cooperative = 0;
  for (const std::vector<KernelLaunch>& launches : kernel_launches(*plan, 90, simt::machine().multiprocessors))
    cooperative += std::ranges::count_if(launches, &KernelLaunch::cooperative);
  ASSERT_GE(cooperative, 2);
  Trainer trainer(two, o);
  EXPECT_TRUE(trainer.fit(bars(80), nullptr, {.epochs = 2}));
}

// The longest chain of a graph, in nodes, and its edges that follow from others.
struct Shape {
  std::size_t nodes = 0, edges = 0, superfluous = 0, longest = 0;
};
Shape shape_of(const std::vector<std::vector<int>>& graph) {
  Shape shape{.nodes = graph.size()};
  std::vector<std::vector<bool>> before(graph.size(), std::vector<bool>(graph.size()));  // [node][a node before it, by any way]
  std::vector<std::size_t> chain(graph.size(), 1);
  for (std::size_t i = 0; i < graph.size(); ++i) {
    std::vector<int> direct = graph[i];
    std::ranges::sort(direct, std::greater{});
    for (const int node : direct) {
      const auto j = static_cast<std::size_t>(node);
      shape.superfluous += before[i][j];
      before[i][j] = true;
      for (std::size_t k = 0; k < j; ++k)
        if (before[j][k]) before[i][k] = true;
      chain[i] = std::max(chain[i], chain[j] + 1);
    }
    shape.edges += direct.size();
    shape.longest = std::max(shape.longest, chain[i]);
  }
  return shape;
}

// A graph of one step has the edges that the Plan needs and no other. In one of several, a branch's first node waits once more for what its
// stream did in the step before: two such edges a step here.
TEST_F(EmulatedTraining, GraphsHaveTheEdgesOfThePlan) {
  std::vector<std::vector<std::vector<int>>> graphs;
  simt::machine().graphs = &graphs;
  TrainerOptions o = on_gpu();
  o.executor.graph_calls = 60;
  Trainer trainer(net, o);
  ASSERT_TRUE(trainer.fit(bars(200), nullptr, {.epochs = 2}));
  simt::machine().graphs = nullptr;
  const std::shared_ptr<const Plan> plan = compile(net, o, Mode::train);
  const std::vector<std::vector<int>> needed = dependencies(*plan);
  std::size_t edges = 0;
  for (const std::vector<int>& of_call : needed) edges += of_call.size();
  ASSERT_FALSE(graphs.empty());
  bool one = false, several = false;
  for (const std::vector<std::vector<int>>& graph : graphs) {
    const Shape shape = shape_of(graph);
    if (shape.nodes == needed.size()) {
      one = true;
      EXPECT_EQ(shape.edges, edges);
      EXPECT_EQ(shape.superfluous, 0u);
    } else if (shape.nodes % needed.size() == 0) {
      several = true;
      const std::size_t steps = shape.nodes / needed.size();
      EXPECT_LE(shape.superfluous, 2 * (steps - 1)) << steps << " steps, " << shape.edges << " edges";
    }
  }
  EXPECT_TRUE(one || several) << graphs.size() << " graphs, none of " << needed.size() << " nodes a step";
}

TEST_F(EmulatedTraining, LeavesNothingBehind) {
  const simt::Live before = simt::live();
  {
    Trainer trainer(net, on_gpu());
    trainer.fit(bars(100), nullptr, {.epochs = 2});
    EXPECT_GT(simt::live().device_bytes, before.device_bytes);
    EXPECT_GT(simt::live().graphs, before.graphs);
  }
  EXPECT_EQ(simt::live(), before);
}

// ------------------------------------------------------------------------------------------ errors

void make_trainer() { Trainer trainer(net, on_gpu()); }

TEST_F(EmulatedTraining, SaysWhyThereIsNoGpu) {
  EXPECT_EQ(why_not_cuda(0), "");
  expect_error(ErrorKind::device, {"device cuda:1 cannot be used: there is no GPU 1, only 0..0"}, [] { make_executor(Device::cuda(1)); });
  simt::machine().devices = 0;
  expect_error(ErrorKind::device, {"the NVIDIA driver finds no GPU"}, make_trainer);
  EXPECT_EQ(Device::best().kind, Device::Kind::cpu);
  simt::reset_machine();
  simt::machine().driver = false;
  expect_error(ErrorKind::device, {"no NVIDIA driver is installed"}, make_trainer);
  simt::reset_machine();
  simt::machine().next_launch = cudaErrorNoKernelImageForDevice;
  expect_error(ErrorKind::device, {"has no code for the"}, make_trainer);
}

TEST_F(EmulatedTraining, OutOfMemorySaysHowMuchByWhatAndWhatToLower) {
  Trainer trainer(net, on_gpu());
  const auto fit = [&] { trainer.fit(bars(100), nullptr, {}); };
  simt::machine().memory = simt::live().device_bytes + (64 << 10);
  expect_error(ErrorKind::failure, {"the GPU is out of memory: the activations of batch size 40 (most: "}, fit);
  expect_error(ErrorKind::failure, {"lower the batch size"}, fit);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "told once more";
  simt::reset_machine();
  fit();  // nothing was lost
}

TEST_F(EmulatedTraining, AFailedLaunchNamesItsCall) {
  Trainer trainer(net, on_gpu());
  const Dataset data = bars(100);
  trainer.evaluate(data);
  simt::machine().next_launch = cudaErrorLaunchOutOfResources;
  expect_error(ErrorKind::failure, {"[data] gather: CUDA: cudaErrorLaunchOutOfResources"}, [&] { trainer.fit(data, nullptr, {}); });
  EXPECT_TRUE(trainer.fit(data, nullptr, {})) << "and the next run works";
}

TEST_F(EmulatedTraining, ABrokenKernelIsReported) {
  Trainer trainer(net, on_gpu());
  const Dataset data = bars(100);
  trainer.evaluate(data);
  simt::machine().next_launch = cudaErrorIllegalAddress;
  expect_error(ErrorKind::failure, {"cudaErrorIllegalAddress"}, [&] { trainer.fit(data, nullptr, {}); });
}

}  // namespace
}  // namespace norma::test
