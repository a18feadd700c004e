// Misuse of what nets are made of: each ends in an Error of the right kind that names what is at fault.
#include <pthread.h>

#include <cmath>

#include "tests/support/misuse.h"

namespace norma::test {
namespace {

using namespace nn;

constexpr std::int64_t large = std::int64_t{1} << 31;

TEST(MisuseOfNets, Shapes) {
  static_assert(Shape{2, 3}.prepend(5) == Shape{5, 2, 3} && Shape{2, 3}.with_batch(7) == Shape{7, 3} && Shape{0, large}.elements() == 0);
  expect_all({
      {"five dimensions",
       usage,
       {"at most 4", "not 5"},
       [] {
         Shape{1, 2, 3, 4, 5};
       }},
      {"a batch before four",
       usage,
       {"at most 4", "not 5"},
       [] {
         (void)Shape{1, 2, 3, 4}.prepend(8);
       }},
      {"a batch of no dimensions", usage, {"number 0"}, [] { (void)Shape{}.with_batch(8); }},
      {"negative",
       usage,
       {"negative", "-3"},
       [] {
         Shape{2, -3};
       }},
      {"a negative batch",
       usage,
       {"negative", "-1"},
       [] {
         (void)Shape{2, 3}.with_batch(-1);
       }},
      {"beyond 64 bits",
       usage,
       {"(4294967296, 4294967296, 1, 1)", "64 bits"},
       [] {
         (void)Shape{2 * large, 2 * large, 1, 1}.elements();
       }},
      {"no such dimension",
       usage,
       {"number 4"},
       [] {
         (void)Shape{1, 2}[4];
       }},
      {"an empty dimension",
       usage,
       {"empty dimension", "(2, 0)"},
       [] {
         (void)trace(ReLU{}, {2, 0});
       }},
      {"more values than can be counted",
       usage,
       {"[x]", "2^52"},
       [] {
         (void)trace(ReLU{}, {large, 1, large, large});
       }},
      {"more weights",
       usage,
       {"[conv]", "2^52"},
       [] {
         (void)trace(Conv2d{.out = 65536, .kernel = 1 << 24, .padding = 1 << 23}, {1, 1, 4, 4});
       }},
      {"a pool larger than its index",
       usage,
       {"[pool]", "2^31"},
       [] {
         (void)trace(MaxPool2d{.kernel = 1 << 20, .padding = 1 << 19}, {1, 1, 4, 4});
       }},
      {"no end of work",
       usage,
       {"[fc]", "2^60"},
       [] {
         (void)trace(Linear{.out = 1 << 20}, {1 << 24, 1 << 20});
       }},
      {"memory that is not there",
       ErrorKind::failure,
       {"out of memory", "batch size 1099511627776"},
       [] {
         ModuleRunner(ReLU{}, Shape{std::int64_t{1} << 40, 64});
       }},
  });
}

struct Nothing {
  Value operator()(Builder&, Value) const { return {}; }
};

TEST(MisuseOfNets, Modules) {
  Value kept;
  const auto keep = [&kept](Builder& b, Value x) { return kept = ReLU{}(b, x); };
  (void)trace(keep, {2, 4});
  const auto read_kept = [&kept](Builder& b, Value) { return Linear{.out = 2}(b, kept); };
  const auto give_kept = [&kept](Builder&, Value) { return kept; };
  const auto emit = [](NodeOp op, int inputs) {
    return [op, inputs] {
      (void)trace([&](Builder& b, Value x) { return b.emit(op, std::vector<Value>(static_cast<std::size_t>(inputs), x)); }, {2, 4});
    };
  };
  Module deep = ReLU{};
  for (int i = 0; i < 1100; ++i)
    deep = [inner = deep](Builder& b, Value x) {
      const Builder::Scope scope(b, "d");
      return inner(b, x);
    };
  expect_all({
      {"returns nothing",
       usage,
       {"[lost]", "returns no value"},
       [] {
         (void)trace(Sequential{{"lost", Nothing{}}, ReLU{}}, {2, 4});
       }},
      {"returns nothing, alone",
       usage,
       {"module", "returns no value"},
       [] {
         ModuleRunner(Nothing{}, {2, 4});
       }},
      {"a function that returns nothing",
       usage,
       {"returns no value"},
       [] {
         ModuleRunner([](Builder&, const std::vector<Value>&) { return Value{}; }, {{"x", {2, 4}}}, {});
       }},
      {"reads another net's",
       usage,
       {"[module1]", "another net"},
       [&] {
         (void)trace(Sequential{read_kept}, {2, 4});
       }},
      {"returns another net's",
       usage,
       {"[module1]", "another net"},
       [&] {
         (void)trace(Sequential{give_kept}, {2, 4});
       }},
      {"the shape of another net's",
       usage,
       {"another net"},
       [&] {
         (void)trace([&](Builder& b, Value x) { return (void)b.shape(kept), x; }, {2, 4});
       }},
      {"a value made by hand",
       usage,
       {"another net"},
       [] {
         (void)trace([](Builder& b, Value) { return ReLU{}(b, {0}); }, {2, 4});
       }},
      {"an empty function", usage, {"empty"}, [] { Module(std::function<Value(Builder&, Value)>{}); }},
      {"too few values", usage, {"[add]", "2 values, got 1"}, emit(AddNode{}, 1)},
      {"no value", usage, {"[fc]", "1 value, got 0"}, emit(Linear{.out = 2}, 0)},
      {"an input by emit", usage, {"[input]", "Builder::input"}, emit(InputNode{}, 0)},
      {"fused by hand", usage, {"[bn]", "fuse"}, emit(BatchNormNode{.residual = true}, 2)},
      {"two children of one name",
       usage,
       {"\"a\"", "numbers 2 and 3"},
       [] {
         (void)trace(Sequential{Flatten{}, {"a", Linear{.out = 3}}, {"a", Linear{.out = 3}}}, {2, 4});
       }},
      {"an own name is a numbered one",
       usage,
       {"\"fc2\"", "numbers 1 and 2"},
       [] {
         (void)trace(Sequential{{"fc2", Linear{.out = 3}}, Linear{.out = 3}}, {2, 4});
         (void)trace(Sequential{{"fc1", Linear{.out = 3}}, ReLU{}, Linear{.out = 3}, Linear{.out = 3}, {"fc2", Linear{.out = 3}}}, {2, 4});
       }},
      {"the input's name",
       usage,
       {"[x]", "input"},
       [] {
         (void)trace(Sequential{{"x", Linear{.out = 3}}}, {2, 4});
       }},
      {"the output's name",
       usage,
       {"\"y\"", "another name"},
       [] {
         ModuleRunner(Sequential{{"y", Linear{.out = 3}}, ReLU{}}, {2, 4});
       }},
      {"an input without a name",
       usage,
       {"input's name"},
       [] {
         Builder{}.input("", {2, 3});
       }},
      {"a thousand deep",
       usage,
       {"200 deep"},
       [&] {
         (void)trace(deep, {2, 4});
       }},
      {"weights of NaN",
       usage,
       {"[fc]", "weight_init", "nan"},
       [] {
         (void)trace(Linear{.out = 2, .weight_init = Init::constant(std::nan(""))}, {2, 4});
       }},
      {"a node of no graph",
       usage,
       {"number 7", "2 nodes"},
       [] {
         (void)trace(ReLU{}, {2, 4})[Value{7}];
       }},
      {"a node of another graph",
       usage,
       {"number 1", "another net"},
       [] {
         (void)trace(mlp(), {2, 4})[trace(ReLU{}, {2, 9}).outputs[0]];
       }},
      {"a node of another graph, of one that is fused",
       usage,
       {"number 1", "another net"},
       [] {
         (void)fuse(trace(mlp(), {2, 4}))[trace(ReLU{}, {2, 9}).outputs[0]];
       }},
      {"a graph made by hand",
       usage,
       {"[mine]", "Builder"},
       [] {
         (void)fuse({.nodes = {{ActivationNode{}, {Value{3}}, {2, 4}, "mine", "mine"}}, .outputs = {Value{0}}});
       }},
      {"folding what is fused",
       usage,
       {"[bn1]", "unfused_graph"},
       [] {
         const Trainer t(mlp(), {.input = {4}, .batch = 8});
         (void)fold_batch_norms(t.graph(), t.model());
       }},
      {"folding with others' weights",
       ErrorKind::data,
       {"fc1.weight"},
       [] {
         (void)fold_batch_norms(trace(mlp(), {2, 4}), {});
       }},
  });
}

TEST(MisuseOfNets, AModuleThatWasMovedFromIsRefusedByPlace) {
  Module from = Linear{.out = 3};
  const Module to = std::move(from);
  expect_error(usage, {"moved from"}, [&] { (void)trace(from, {2, 4}); });  // NOLINT: that it was moved is the point
  expect_error(usage, {"[a]", "moved from"}, [&] { (void)trace(Sequential{{"a", from}}, {2, 4}); });
  expect_error(usage, {"[residual1/body]", "moved from"}, [&] { Trainer(Sequential{Residual{from}}, {.input = {4}, .batch = 8}); });
  EXPECT_EQ(trace(to, {2, 4}).nodes.size(), 2U);
}

// Runs f on a thread of 2 MB: 256 KB are enough, but not under AddressSanitizer, whose frames are larger.
void on_a_small_stack(const std::function<void()>& f) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 2 << 20);
  pthread_t thread{};
  const auto run = [](void* what) -> void* { return (*static_cast<const std::function<void()>*>(what))(), nullptr; };
  ASSERT_EQ(pthread_create(&thread, &attributes, run, const_cast<std::function<void()>*>(&f)), 0);
  pthread_join(thread, nullptr);
}

TEST(MisuseOfNets, NoDepthOfModulesEndsTheStack) {
  const auto nested = [](int levels) {
    Sequential s{Linear{.out = 3}};
    for (int i = 1; i < levels; ++i) s = std::move(Sequential{}.append(std::move(s)));
    return s;
  };
  Module itself = ReLU{};
  itself = [&itself](Builder& b, Value x) { return itself(b, x); };
  const Sequential allowed = nested(199), deeper = nested(200);  // and the layer within
  on_a_small_stack([&] {
    EXPECT_EQ(trace(allowed, {2, 4}).nodes.size(), 2U);
    expect_error(usage, {"200 deep"}, [&] { (void)trace(deeper, {2, 4}); });
    expect_error(usage, {"200 deep"}, [&] { (void)trace(itself, {2, 4}); });
  });
}

TEST(MisuseOfNets, NamesDoNothingToATerminal) {
  const std::string name = "a\x1b[31m\nb", shown = "a\\x1b[31m\\nb";
  const auto clean = [&](const std::string& text) {
    EXPECT_EQ(text.find('\x1b'), std::string::npos) << text;
    EXPECT_NE(text.find(shown), std::string::npos) << text;
  };
  const auto refusal = [](const std::function<void()>& f) -> std::string {
    try {
      f();
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  clean(trace(Sequential{{name, ReLU{}}}, {2, 4}).print());
  ModuleRunner run(Sequential{{name, Linear{.out = 2}}}, {2, 4});
  clean(print(run.plan()));
  clean(refusal([&] { run.read(name + "?"); }));
  clean(refusal([&] { run.write(name + ".weight", {}); }));
  clean(refusal([&] { run.read(name + ".weigth"); }));
  clean(refusal([&] { (void)trace(Sequential{{name, Linear{}}}, {2, 4}); }));
  clean(refusal([&] { (void)trace(Sequential{{name, Nothing{}}}, {2, 4}); }));
  clean(refusal([&] { (void)trace(Sequential{{name, ReLU{}}, {name, ReLU{}}}, {2, 4}); }));
  clean(refusal([&] { (void)trace(Sequential{{name + "/", ReLU{}}}, {2, 4}); }));
  clean(refusal([&] { Builder{}.input(name, {2}); }));
  clean(refusal([&] { (void)Device::parse(name); }));
}

TEST(MisuseOfNets, WhatIsOfNoKindOrOutOfRange) {
  const auto started = [](Init i) { return [i] { (void)trace(Linear{.out = 3, .weight_init = i}, {2, 4}); }; };
  expect_all({
      {"Init::Kind", usage, {"[fc]", "weight_init", "kind 99"}, started({static_cast<Init::Kind>(99), 1, 1})},
      {"an interval turned round", usage, {"[fc]", "weight_init", "low <= high"}, started(Init::uniform(1, -1))},
      {"a gain below 0", usage, {"[fc]", "weight_init", "gain", "-1"}, started(Init::he_uniform(-1))},
      {"Activation",
       usage,
       {"activation 9"},
       [] {
         (void)trace([](Builder& b, Value x) { return b.activation(static_cast<Activation>(9), x); }, {2, 4});
       }},
      {"all but all dropped",
       usage,
       {"[dropout1]", "p", "float"},
       [] {
         (void)trace(Sequential{Dropout{1 - 1e-12}}, {2, 4});
       }},
  });
  EXPECT_NO_THROW(trace(Sequential{Dropout{1}}, {2, 4}));
}

TEST(MisuseOfNets, ASequentialOfOneIsACopy) {
  const Sequential net = mlp();
  const auto name = [](const Sequential& s) { return trace(s, {2, 4}).parameters()[0].name; };
  EXPECT_EQ(name(Sequential{net}), "fc1.weight");
  EXPECT_EQ(name(Sequential{{"a", net}}), "a.fc1.weight");
  EXPECT_EQ(name(Sequential{}.append(net)), "sequential1.fc1.weight");
  EXPECT_EQ(name(Sequential{net, ReLU{}}), "sequential1.fc1.weight");
}

TEST(MisuseOfNets, NumberedNamesNeverMeet) {
  const auto two = [](Builder& b, Value x) { return ReLU{}(b, Linear{.out = 4}(b, x)); };
  std::vector<std::string> paths;
  for (const Node& n : trace(Sequential{{"a_2", ReLU{}}, {"a", two}, {"b", ReLU{}}}, {2, 4}).nodes) paths.push_back(n.path);
  EXPECT_EQ(paths, (std::vector<std::string>{"x", "a_2", "a", "a_3", "b"}));
}

}  // namespace
}  // namespace norma::test
