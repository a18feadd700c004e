// launches(): what a Call queues, told without queueing it.
#include "norma/launches.h"

#include <cxxabi.h>
#include <gtest/gtest.h>
#include <stdio.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cuda/backend.h"
#include "src/execute/compiled_kernels.h"
#include "src/plan/plan.h"
#include "tests/simt/emulated_call.h"
#include "tests/simt/runtime.h"
#include "tests/support/cases.h"
#include "tests/support/plan_memory.h"

namespace norma {

// A report as ptxas might have made it. A build with CUDA has a table of its own (cmake/kernel_table.cmake).
std::span<const CompiledKernel> compiled_kernels() {
  static constexpr const char *update =
                                  "_ZN5norma7kernels4cuda45_GLOBAL__N__8e0febc1_12_optimizer_cu_21d7dfc1"
                                  "11update_passILi4ENS2_9SgdUpdateEEEvlT0_PNS0_9StepStateE",
                              *advance =
                                  "_ZN5norma7kernels4cuda45_GLOBAL__N__8e0febc1_12_optimizer_cu_21d7dfc1"
                                  "7advanceENS2_8ProgressE";
  static constexpr CompiledKernel kernels[] = {
      {update, 80, 31, 0, 0}, {update, 86, 28, 0, 0}, {update, 90, 24, 16, 8}, {advance, 90, 12, 0, 0}};
  return kernels;
}

namespace test {
namespace {

using kernels::cuda::Launch;

// The grids that a Call really queues; a capture keeps them from running.
std::vector<simt::Grid> captured(const Call& call, const PlanMemory& memory, std::byte* workspace, unsigned* counters) {
  std::vector<simt::Grid> grids;
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  EXPECT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  simt::machine().queued = &grids;
  kernels::cuda::run(call, memory.view(), {stream, workspace, counters, simt::machine().multiprocessors});
  simt::machine().queued = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  return grids;
}

TEST(Launches, AreWhatEveryCallQueues) {
  simt::reset_machine();
  simt::machine().multiprocessors = 132;
  std::size_t kernels_of_all = 0;
  for (const Case& c : cases())
    for (const int lanes : {kernels::cuda::lanes, 1}) {
      const CallCase made = c.make(lanes);
      const Call& call = made.plan.calls[0].call;
      const PlanMemory memory(made.plan);
      if (kernels::cuda::runs_on_host(call)) {
        EXPECT_TRUE(kernels::cuda::launches(call, memory.view(), 132).empty()) << c.name;
        continue;
      }
      const kernels::cuda::Needs needs = kernels::cuda::needs_of(call);
      const Workspace workspace(needs.workspace);
      std::vector<unsigned> counters(needs.counters);
      const std::vector<simt::Grid> expected = captured(call, memory, workspace.data(), counters.data());
      std::vector<simt::Grid> by_telling;
      simt::machine().queued = &by_telling;
      const std::vector<Launch> told = kernels::cuda::launches(call, memory.view(), simt::machine().multiprocessors);
      simt::machine().queued = nullptr;
      EXPECT_TRUE(by_telling.empty()) << c.name << " was launched";
      ASSERT_EQ(told.size(), expected.size()) << c.name << ", " << lanes << " lanes";
      for (std::size_t i = 0; i < told.size(); ++i) {
        EXPECT_EQ(told[i].blocks, expected[i].blocks) << c.name << ", kernel " << i;
        EXPECT_EQ(told[i].threads, expected[i].threads) << c.name << ", kernel " << i;
        EXPECT_EQ(told[i].cooperative, expected[i].cooperative) << c.name << ", kernel " << i;
        EXPECT_STRNE(told[i].kernel, "") << c.name << ", kernel " << i;
      }
      kernels_of_all += told.size();
    }
  EXPECT_GE(kernels_of_all, 2 * cases().size());
  simt::reset_machine();
}

TEST(Launches, EndWithTheCallThatAnErrorStops) {
  const kernels::Fill fill{.y = {0}, .n = 1000, .value = 1};
  std::byte* address = nullptr;
  const kernels::Memory memory{&address};
  EXPECT_EQ(kernels::cuda::launches(fill, memory, 1).size(), 1u);
  // A plane beyond 2^31 elements throws; what follows is queued again.
  const kernels::Dims too_large{.n = 32, .c = 1, .h = 1 << 15, .w = 1 << 15, .lanes = 32};
  EXPECT_THROW(
      kernels::cuda::launches(kernels::BatchNormStatistics{.mean = {0}, .var = {0}, .rstd = {0}, .x = {0}, .dims = too_large}, memory, 1),
      std::length_error);
  std::vector<simt::Grid> grids;
  std::vector<float> y(1000);
  address = reinterpret_cast<std::byte*>(y.data());
  simt::machine().queued = &grids;
  kernels::cuda::run(fill, memory, {.multiprocessors = 1});
  simt::machine().queued = nullptr;
  EXPECT_EQ(grids.size(), 1u);
  EXPECT_EQ(y[999], 1);
}

std::vector<KernelLaunch> launches_of(const Case& c, int capability) {
  return kernel_launches(c.make(kernels::cuda::lanes).plan, capability, 132).at(0);
}

TEST(Launches, HaveReadableNames) {
  std::set<std::string> names;
  for (const Case& c : cases())
    for (const KernelLaunch& l : launches_of(c, 90)) names.insert(l.kernel);
  for (const std::string& name : names) {
    EXPECT_TRUE(std::isalpha(name[0])) << name;
    for (const char* part : {"norma", "NameOf", "namespace", "void", "&", " >"}) EXPECT_EQ(name.find(part), std::string::npos) << name;
    EXPECT_EQ(std::ranges::count(name, '<'), std::ranges::count(name, '>')) << name;
  }
  for (const char* name : {"update_pass<4, SgdUpdate>", "gather<u8>", "advance"}) EXPECT_TRUE(names.contains(name)) << name;
}

std::string demangled(const std::string& name) {
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(name.c_str(), nullptr, nullptr, nullptr), std::free);
  return text ? text.get() : name;
}

// Names of all kernels that launch() is compiled for here, as the table of symbols has them; but for the probes of speed.
std::set<std::string> compiled_names() {
  std::set<std::string> names;
  const std::unique_ptr<FILE, int (*)(FILE*)> nm(::popen("nm /proc/$PPID/exe", "r"), ::pclose);
  char line[8192];
  const std::string begin = "_ZTS";
  while (nm && std::fgets(line, sizeof line, nm.get())) {
    const std::string text(line, std::strcspn(line, "\n"));
    if (const std::size_t at = text.find(begin + "N5norma7kernels4cuda6NameOf"); at != std::string::npos)
      if (const std::string name = text.substr(at + begin.size()); name.find("5probe") == std::string::npos) names.insert(name);
  }
  return names;
}

// Else a kernel would run for the first time in somebody's net.
TEST(Launches, OfTheCasesReachEveryKernel) {
  std::set<std::string> missing = compiled_names();
  ASSERT_GE(missing.size(), 80u) << "nm is not here, or names are spelled differently";
  for (const Case& c : cases())
    for (const int lanes : {kernels::cuda::lanes, 1}) {
      const CallCase made = c.make(lanes);
      for (const int multiprocessors : {3, 0})
        for (const Launch& l : kernels::cuda::launches(made.plan.calls[0].call, PlanMemory(made.plan).view(), multiprocessors))
          missing.erase(l.kernel);
    }
  for (const std::string& name : missing) ADD_FAILURE() << "no case launches " << demangled(name);
}

// The registers of the code that a GPU of this capability runs; 0: there is none.
int registers(const std::string& name, int capability) {
  for (const Case& c : cases())
    for (const KernelLaunch& l : launches_of(c, capability))
      if (l.kernel == name) return l.compiled ? l.compiled->registers : 0;
  ADD_FAILURE() << "no case launches " << name;
  return 0;
}

TEST(Launches, HaveTheResourcesThatPtxasReportedOfTheirKernel) {
  EXPECT_EQ(registers("update_pass<4, SgdUpdate>", 75), 0);
  EXPECT_EQ(registers("update_pass<4, SgdUpdate>", 80), 31);
  EXPECT_EQ(registers("update_pass<4, SgdUpdate>", 86), 28);
  EXPECT_EQ(registers("update_pass<4, SgdUpdate>", 89), 28);
  EXPECT_EQ(registers("update_pass<4, SgdUpdate>", 90), 24);
  EXPECT_EQ(registers("update_pass<4, SgdUpdate>", 100), 0);
  EXPECT_EQ(registers("advance", 90), 12);
  EXPECT_EQ(registers("gather<u8>", 90), 0);
}

}  // namespace
}  // namespace test
}  // namespace norma
