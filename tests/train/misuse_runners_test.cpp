// Misuse of ModuleRunner, ModuleTimer and executors. Each ends in an Error that names what is at fault.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "norma/instruments.h"
#include "tests/support/misuse.h"

namespace norma::test {
namespace {

using namespace nn;

TEST(Misuse, BuffersThatNoStepWouldLeave) {
  ModuleRunner r(BatchNorm{.momentum = {}}, {4, 4});
  const auto counted = [&](float n) { return [&r, n] { r.write("bn.num_batches_tracked", std::vector<float>{n}); }; };
  expect_all({
      {"a count that is no number", usage, {"num_batches_tracked", "got nan"}, counted(NAN)},
      {"an infinite one", usage, {"num_batches_tracked", "got inf"}, counted(INFINITY)},
      {"one below 0", usage, {"num_batches_tracked", "got -5"}, counted(-5)},
      {"one beyond what is counted", usage, {"num_batches_tracked", "got 1e+19"}, counted(1e19f)},
      {"a part of one", usage, {"num_batches_tracked", "got 2.7"}, counted(2.7f)},
      {"a variance below 0",
       usage,
       {"running_var", "got -1"},
       [&] {
         r.write("bn.running_var", std::vector<float>{1, 0, -1, 1});
       }},
  });
  counted(3)();
  r.write("bn.running_mean", std::vector<float>{1, 0, -1, 1});
  EXPECT_EQ(r.read("bn.num_batches_tracked")[0], 3);
}

TEST(Misuse, NumbersThatNameNothing) {
  EXPECT_STREQ(name_of(Region(99)), "?");
  EXPECT_STREQ(name_of(DType(99)), "?");
  expect_all({
      {"no end of time",
       usage,
       {"seconds", "inf"},
       [] {
         ModuleTimer(ReLU{}, {2, 3}, {.seconds = INFINITY});
       }},
      {"no time",
       usage,
       {"seconds", "nan"},
       [] {
         ModuleTimer(ReLU{}, {2, 3}, {.seconds = NAN});
       }},
  });
}

TEST(Misuse, OneModuleAlone) {
  const std::vector<float> ones(16, 1);
  const auto runner = [](const ModuleRunner::Options& o) { return ModuleRunner(mlp(), {4, 4}, o); };
  ModuleRunner r = runner({}), forward = runner({.backward = false}), inner = runner({.input_gradients = false}),
               reusing = runner({.reuse = true});
  ModuleTimer timer(mlp(), {4, 4}, {.seconds = 0});
  expect_all({
      {"before a step", usage, {"\"y\"", "none has run"}, [&] { r.read("y"); }},
      {"no upstream gradient", usage, {"\"dx\"", "\"dy\""}, [&] { r.step(), r.read("dx"); }},
      {"nor for parameters", usage, {"fc1.weight.grad", "\"dy\""}, [&] { r.read("fc1.weight.grad"); }},
      {"an output written", usage, {"\"y\"", "step() computes"}, [&] { r.write("y", ones); }},
      {"a gradient written", usage, {"fc1.bias.grad", "step() computes"}, [&] { r.write("fc1.bias.grad", ones); }},
      {"what is folded away", usage, {"\"bn1\"", "\"relu1\"", "fuse"}, [&] { r.read("bn1"); }},
      {"no backward pass", usage, {"\"dx\"", "Options::backward"}, [&] { forward.read("dx"); }},
      {"no backward pass to write for", usage, {"\"dy\"", "Options::backward"}, [&] { forward.write("dy", ones); }},
      {"no input gradients", usage, {"\"dx\"", "Options::input_gradients"}, [&] { inner.read("dx"); }},
      {"lanes the CPU has not", usage, {"16 lanes, not 7"}, [&] { runner({.lanes = 7}); }},
      {"negative lanes", usage, {"-1"}, [&] { runner({.lanes = -1}); }},
      {"an empty function",
       usage,
       {"empty function"},
       [] {
         ModuleRunner(ModuleRunner::Function{}, {{"x", {2, 3}}}, {});
       }},
      {"copies",
       usage,
       {"copies", "0"},
       [] {
         ModuleTimer(ReLU{}, {2, 3}, {.copies = 0});
       }},
      {"seconds",
       usage,
       {"seconds", "nan"},
       [] {
         ModuleTimer(ReLU{}, {2, 3}, {.seconds = std::nan("")});
       }},
      {"a backward pass to come", usage, {"dx0", "backward()"}, [&] { timer.read("dx0"); }},
  });
  timer.backward();
  EXPECT_EQ(timer.read("dx0").size(), 16U);

  // Values may share memory: those that are whole are right, the rest are refused.
  ModuleRunner whole = runner({});
  for (ModuleRunner* run : {&whole, &reusing}) run->write("x", ones), run->write("dy", std::vector<float>(12, 0.5f)), run->step();
  int refused = 0;
  for (const char* name : {"x", "y", "fc1", "relu1", "dx", "relu1.grad", "fc2.weight.grad", "bn1.running_mean"}) {
    std::vector<float> values;
    try {
      values = reusing.read(name);
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(name), std::string::npos) << e.what();
      ++refused;
      continue;
    }
    EXPECT_EQ(values, whole.read(name)) << name;
  }
  EXPECT_GE(refused, 1);
  expect_error(usage, {"was used again", "write it before each step"}, [&] { reusing.step(); });
  ModuleRunner fresh = runner({.reuse = true});
  EXPECT_NO_THROW(fresh.step()) << "what was never written is zero, and nothing has used its memory yet";
}

TEST(Misuse, OfAnExecutor) {
  const auto plan = compile(mlp(), {.input = {4}, .batch = 8}, Mode::train);
  const auto executor = make_executor(Device::cpu());
  float one = 0;
  expect_all({
      {"run before prepare", usage, {"prepare"}, [&] { executor->run(*plan); }},
      {"read before prepare", usage, {"prepare"}, [&] { executor->read(*plan, 1, &one, 4); }},
      {"run without data", usage, {"data/", "bound"}, [&] { executor->prepare(*plan), executor->run(*plan); }},
      {"timed without data", usage, {"data/", "bound"}, [&] { (void)executor->run_timed(*plan); }},
      {"no such value", usage, {"number -1"}, [&] { executor->read(*plan, -1, &one, 4); }},
      {"no such value to write", usage, {"number 100000"}, [&] { executor->write(*plan, 100000, &one, 4); }},
      {"beyond its end",
       ErrorKind::failure,
       {"bytes"},
       [&] { executor->read(*plan, 1, &one, 4, std::numeric_limits<std::size_t>::max() - 1); }},
      {"bound memory that is not data", usage, {"write it"}, [&] { executor->bind(*plan, 1, &one, 4); }},
  });
}

}  // namespace
}  // namespace norma::test
