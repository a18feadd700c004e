// A Trainer in somebody else's program: the host's threads, its signals and forks, small stacks, quotas of its container, stopping within
// an evaluation.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "norma/instruments.h"
#include "norma/norma.h"
#include "src/execute/threads.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/trainer_cases.h"

namespace norma::test {
namespace {

namespace fs = std::filesystem;

std::string hash_with(const ExecutorOptions& executor) {
  TrainerOptions o = options();
  o.executor = executor;
  Trainer trainer(net, o);
  trainer.fit(bars(100), nullptr, {.epochs = 1});
  return trainer.parameters_hash();
}

TEST(Guest, TheHostsThreadsRunTheLoops) {
  const std::string expected = hash_with({});
  std::int64_t loops = 0;
  std::size_t threads_before = 0;
  const auto backwards = [&](int n, const std::function<void(int)>& work) {
    ++loops;
    for (int i = n; i-- > 0;) work(i);
  };
  const auto count = [] { return std::distance(fs::directory_iterator("/proc/self/task"), fs::directory_iterator{}); };
  threads_before = static_cast<std::size_t>(count());
  for (const int threads : {2, 5}) {
    loops = 0;
    EXPECT_EQ(hash_with({.threads = threads, .parallel_for = backwards}), expected) << threads;
    EXPECT_GT(loops, 20);
  }
  EXPECT_EQ(static_cast<std::size_t>(count()), threads_before) << "norma started threads of its own";
  const auto at_once = [](int n, const std::function<void(int)>& work) {
    std::vector<std::thread> all;
    for (int i = 1; i < n; ++i) all.emplace_back([&work, i] { work(i); });
    work(0);
    for (std::thread& t : all) t.join();
  };
  EXPECT_EQ(hash_with({.threads = 3, .parallel_for = at_once}), expected);
}

TEST(Guest, WhatTheHostsThreadsThrowComesBack) {
  TrainerOptions o = options();
  o.executor.threads = 2;
  o.executor.parallel_for = [](int, const std::function<void(int)>&) { throw std::runtime_error("the host ends"); };
  Trainer trainer(net, o);
  EXPECT_THROW(trainer.fit(bars(100), nullptr, {.epochs = 1}), std::runtime_error);
}

TEST(Guest, AForkedProcessTrainsOn) {
  TrainerOptions o = options();
  o.executor.threads = 3;
  Trainer trainer(net, o), again(net, o);
  const Dataset data = bars(100);
  again.fit(data, nullptr, {.epochs = 2});
  trainer.fit(data, nullptr, {.epochs = 1});
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(60);
    trainer.fit(data, nullptr, {.epochs = 2});
    const bool same = trainer.parameters_hash() == again.parameters_hash() && hash_with({.threads = 2}) == hash_with({.threads = 1});
    _exit(same ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "the child's end";
  trainer.fit(data, nullptr, {.epochs = 2});
  EXPECT_EQ(trainer.parameters_hash(), again.parameters_hash()) << "the parent's";
}

TEST(Guest, IdleThreadsSleep) {
  TrainerOptions o = options();
  o.executor.threads = 4;
  Trainer trainer(net, o);
  trainer.fit(bars(100), nullptr, {.epochs = 1});
  const auto cpu_seconds = [] {
    timespec t{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  };
  const double before = cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(cpu_seconds() - before, 0.03);
}

// A signal must interrupt a thread of the host, which expects it.
TEST(Guest, SignalsReachTheHostsThreadsAlone) {
  TrainerOptions o = options();
  o.executor.threads = 3;
  Trainer trainer(net, o);
  trainer.fit(bars(100), nullptr, {.epochs = 1});
  int blocking = 0;
  for (const auto& task : fs::directory_iterator("/proc/self/task")) {
    std::ifstream in(task.path() / "status");
    for (std::string line; std::getline(in, line);)
      if (line.starts_with("SigBlk:")) blocking += line.find_first_not_of("0", 8) != std::string::npos;
  }
  EXPECT_GE(blocking, 2);
}

// Runs f on the smallest stack that programs give their threads.
void on_small_stack(const std::function<void()>& f) {
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, std::size_t{160} << 10), 0);
  pthread_t thread{};
  const auto call = [](void* g) -> void* {
    (*static_cast<const std::function<void()>*>(g))();
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, call, const_cast<std::function<void()>*>(&f)), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

TEST(Guest, ASmallStackIsEnough) {
  // Convolutions in rows and in tiles, with and without a stride, linear layers over several blocks.
  const nn::Sequential wide{nn::Conv2d{.out = 8, .kernel = 3, .padding = 1},
                            nn::BatchNorm{},
                            nn::ReLU{},
                            nn::Conv2d{.out = 40, .kernel = 3, .padding = 1},
                            nn::ReLU{},
                            nn::Conv2d{.out = 40, .kernel = 3, .stride = 2},
                            nn::GroupNorm{.groups = 4},
                            nn::Tanh{},
                            nn::Conv2d{.out = 36, .kernel = 1},
                            nn::AvgPool2d{.kernel = 2},
                            nn::Flatten{},
                            nn::Linear{.out = 130},
                            nn::Dropout{},
                            nn::Linear{.out = 3}};
  for (const Precision precision : {Precision::fp32, Precision::bf16})
    on_small_stack([&] {
      TrainerOptions o = options();
      o.executor.threads = 1;
      o.precision = precision;
      Trainer trainer(wide, o);
      trainer.fit(bars(50), nullptr, {.epochs = 1});
      trainer.evaluate(bars(20));
      trainer.observe(Mode::train, bars(20), std::vector<std::string>{"conv2"}, 0, 16);
    });
}

TEST(Guest, AQuotaOfTheControlGroupCounts) {
  const TemporaryFolder folder;
  const auto put = [&](const std::string& file, const std::string& text) {
    fs::create_directories((folder / file).parent_path());
    std::ofstream(folder / file) << text;
  };
  const std::string version_2 = "0::/pod/app\n", version_1 = "12:memory:/box\n3:cpu,cpuacct:/box\n1:name=systemd:/x\n";
  EXPECT_FALSE(cpu_quota(version_2, folder.path()));
  put("pod/app/cpu.max", "max 100000\n");
  EXPECT_FALSE(cpu_quota(version_2, folder.path()));
  put("pod/cpu.max", "250000 100000\n");
  EXPECT_DOUBLE_EQ(*cpu_quota(version_2, folder.path()), 2.5);
  put("pod/app/cpu.max", "50000 100000\n");  // the least of all levels
  EXPECT_DOUBLE_EQ(*cpu_quota(version_2, folder.path()), 0.5);
  put("cpu.max", "20000 100000\n");  // of a container that sees its own group as the root
  EXPECT_DOUBLE_EQ(*cpu_quota("0::/\n", folder.path()), 0.2);
  EXPECT_FALSE(cpu_quota(version_1, folder.path()));
  put("cpu/box/cpu.cfs_quota_us", "-1\n");
  put("cpu/box/cpu.cfs_period_us", "100000\n");
  EXPECT_FALSE(cpu_quota(version_1, folder.path()));
  put("cpu/box/cpu.cfs_quota_us", "150000\n");
  EXPECT_DOUBLE_EQ(*cpu_quota(version_1, folder.path()), 1.5);
  EXPECT_FALSE(cpu_quota("", folder.path()));
  EXPECT_FALSE(cpu_quota("nonsense\n:\n", folder.path()));
  EXPECT_GE(usable_cores(), 1);
}

// A run that is asked to stop while it evaluates keeps the steps of its epoch and does not report it. The resumed run ends with equal
// results.
TEST(Guest, StopsWithinAnEvaluation) {
  const Dataset train = bars(100), test = bars(700, 5);  // three batches of an evaluation
  Trainer whole(net, options());
  std::vector<EpochMetrics> expected;
  ASSERT_TRUE(whole.fit(train, &test, {.epochs = 2, .on_epoch = [&](const EpochMetrics& m) { expected.push_back(m); }}));
  for (const int asked_before : {0, 1, 2}) {
    Trainer stopped(net, options());
    int asked = 0;
    ASSERT_FALSE(stopped.fit(
        train, &test, {.epochs = 2, .on_epoch = [](const EpochMetrics&) { FAIL(); }, .go_on = [&] { return asked++ < asked_before; }}));
    EXPECT_EQ(stopped.epochs_done(), 0);
    Trainer resumed(net, options());
    resumed.load_model(stopped.model());
    resumed.load_training(stopped.training());
    std::vector<EpochMetrics> told;
    ASSERT_TRUE(resumed.fit(train, &test, {.epochs = 2, .on_epoch = [&](const EpochMetrics& m) { told.push_back(m); }}));
    EXPECT_EQ(bytes_of(resumed.model()), bytes_of(whole.model()));
    EXPECT_EQ(bytes_of(resumed.training()), bytes_of(whole.training()));
    ASSERT_EQ(told.size(), expected.size());
    for (std::size_t i = 0; i < told.size(); ++i) {
      EXPECT_EQ(told[i].train_loss, expected[i].train_loss);
      EXPECT_EQ(told[i].test_loss, expected[i].test_loss);
      EXPECT_EQ(told[i].parameters_hash, expected[i].parameters_hash);
    }
  }
}

// ---- numbers that a float cannot stand for

void refused(const TrainerOptions& o, const char* option) {
  expect_error(ErrorKind::usage, {option, "float"}, [&] { Trainer(net, o); });
}

TEST(Guest, OptionsThatAreNoFloatsAreRefused) {
  for (const double v : {1e-50, 1e-40, 1e39}) {
    EXPECT_FALSE(fits_float(v));
    TrainerOptions o = options();
    o.optimizer = Sgd{.lr = v};
    refused(o, "lr");
    o.optimizer = Adam{.eps = v};
    refused(o, "eps");
    o.optimizer = Sgd{.weight_decay = v};
    refused(o, "weight_decay");
    o = options();
    o.schedule.gamma = v;
    refused(o, "gamma");
    o = options();
    o.transform = {.mean = {v}, .stddev = {1}};
    refused(o, "transform");
    o.transform = {.mean = {0}, .stddev = {v}};
    refused(o, "transform");
    const auto of_norm = [&](nn::BatchNorm norm, const char* option) {
      const nn::Sequential one{nn::Flatten{}, nn::Linear{.out = 3}, norm};
      expect_error(ErrorKind::usage, {"[bn1]", option, "float"}, [&] { Trainer(one, options()); });
    };
    of_norm({.eps = v}, "eps");
    if (v < 1) of_norm({.momentum = v}, "momentum");
    of_norm({.initial_running_var = v}, "initial_running_var");
    const nn::Sequential constant{nn::Flatten{}, nn::Linear{.out = 3, .bias_init = Init::constant(v)}};
    expect_error(ErrorKind::usage, {"[fc1]", "bias_init", "float"}, [&] { Trainer(constant, options()); });
    if (v < 1) {
      TrainerOptions smooth = options();
      smooth.loss = CrossEntropy{.label_smoothing = v};
      refused(smooth, "label_smoothing");
      const nn::Sequential dropout{nn::Flatten{}, nn::Dropout{.p = v}, nn::Linear{.out = 3}};
      expect_error(ErrorKind::usage, {"[dropout1]", "p must", "float"}, [&] { Trainer(dropout, options()); });
    }
  }
  TrainerOptions o = options();
  o.optimizer = Adam{.beta2 = 1 - 1e-12};  // below 1, and 1 as a float
  refused(o, "beta2");
  o = options();
  o.transform = {.mean = {1e38}, .stddev = {1}};  // all bytes would be -1e38
  refused(o, "mean 1e+38");
  o.transform = {.mean = {1e25}, .stddev = {1e-20}};  // each is a float, their quotient is not
  refused(o, "transform");
  const nn::Sequential wild{nn::Flatten{}, nn::Linear{.out = 3, .weight_init = Init::normal(0, 3e38)}};
  expect_error(ErrorKind::usage, {"fc1.weight", "float"}, [&] { Trainer(wild, options()); });
  EXPECT_TRUE(fits_float(0) && fits_float(1e-5) && fits_float(-3e38) && fits_float(1.2e-38));
  EXPECT_FALSE(fits_float(std::numeric_limits<double>::quiet_NaN()));
}

}  // namespace
}  // namespace norma::test
