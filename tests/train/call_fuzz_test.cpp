// Random nets with valid and invalid options, random calls in random order. Each call keeps its promise or throws Error, and a refused call
// changes nothing. NORMA_FUZZ_SECONDS=600 continues for 600 seconds with other seeds.
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <random>

#include "norma/norma.h"

namespace norma::test {
namespace {

using namespace nn;

class Choices {
 public:
  explicit Choices(std::uint64_t seed) : words_(seed) {}
  std::int64_t below(std::int64_t n) { return static_cast<std::int64_t>(words_() % static_cast<std::uint64_t>(n)); }
  bool one_in(std::int64_t n) { return below(n) == 0; }
  template <class T>
  T any(std::initializer_list<T> of) {
    return of.begin()[below(static_cast<std::int64_t>(of.size()))];
  }
  // A number as it should be, seldom one as it should not.
  std::int64_t count(std::int64_t most) {
    return one_in(24) ? any<std::int64_t>({0, -1, most * 9, std::int64_t{1} << 45, std::int64_t{1} << 62, INT64_MIN, INT64_MAX})
                      : 1 + below(most);
  }
  Size2 size(std::int64_t most) { return one_in(2) ? Size2(count(most)) : Size2(count(most), count(most)); }
  double number(double most) {
    if (one_in(24)) return any({0.0, -1.0, std::nan(""), HUGE_VAL, 1e-320, 1e300});
    return most * static_cast<double>(1 + below(1000)) / 1000;
  }

 private:
  std::mt19937_64 words_;
};

Value stray;  // of whatever net was built last

Module layer(Choices& r, int depth);

Sequential block(Choices& r, int depth, std::int64_t most) {
  Sequential s;
  for (std::int64_t i = r.below(most + 1); i > 0; --i) {
    if (r.one_in(8))
      s.append(
          {r.any<std::string>({"a", "b", "conv1", "fc1", "x", "y", "dy", "loss", "data", "labels", "", "a/b", "a.b"}), layer(r, depth)});
    else s.append(layer(r, depth));
  }
  return s;
}

Module layer(Choices& r, int depth) {
  switch (r.below(depth > 0 ? 20 : 16)) {
    case 0:
      return Conv2d{
          .out = r.count(4), .kernel = r.size(3), .stride = r.size(2), .padding = r.size(2), .groups = r.one_in(6) ? r.count(3) : 1};
    case 1: return Conv2d{.out = r.count(3), .kernel = 3, .padding = 1, .bias = r.one_in(2)};
    case 2: return Linear{.out = r.count(6), .weight_init = r.one_in(9) ? Init::normal(r.number(1), r.number(1)) : Init{}};
    case 3: return BatchNorm{.affine = r.one_in(2), .track_running_stats = !r.one_in(4)};
    case 4: return BatchNorm{.eps = r.number(1e-3), .momentum = r.one_in(3) ? std::nullopt : std::optional(r.number(1))};
    case 5: return LayerNorm{.elementwise_affine = r.one_in(2)};
    case 6: return InstanceNorm{.affine = r.one_in(2), .track_running_stats = r.one_in(2)};
    case 7: return GroupNorm{.groups = r.count(3)};
    case 8: return MaxPool2d{.kernel = r.size(3), .padding = r.one_in(3) ? r.size(2) : Size2(0), .ceil_mode = r.one_in(2)};
    case 9: return AvgPool2d{.kernel = r.size(3)};
    case 10: return GlobalAvgPool2d{};
    case 11:
      return r.one_in(3) ? Module(ConvTranspose2d{.out = r.count(3),
                                                  .kernel = r.size(3),
                                                  .stride = r.size(2),
                                                  .padding = r.size(2),
                                                  .output_padding = r.one_in(3) ? r.size(2) : Size2(0)})
                         : Module(Activate{r.any<Activation>({Activation::relu, Activation::gelu, Activation::elu})});
    case 12: return Tanh{};
    case 13: return Dropout{.p = r.number(1)};
    case 14: return Flatten{};
    case 15:
      if (r.one_in(6)) return [](Builder&, Value) { return Value{}; };
      if (r.one_in(6)) return [](Builder&, Value) { return stray; };
      return [](Builder& b, Value x) { return stray = b.activation(Activation::sigmoid, x); };
    case 16: return Residual{block(r, depth - 1, 3)};
    case 17: return Residual{layer(r, depth - 1), layer(r, depth - 1)};
    case 18: return [](Builder& b, Value x) { return b.add(x, x); };
    default: return block(r, depth - 1, 3);
  }
}

Shape sample_shape(Choices& r) {
  if (r.one_in(20)) return {r.count(3), r.count(3)};
  return r.one_in(3) ? Shape{r.count(8)} : Shape{r.count(3), r.count(8), r.count(8)};
}

Dataset data_for(Choices& r, const Shape& sample, std::int64_t classes) {
  Dataset d;
  d.name = "drawn";
  d.sample = r.one_in(20) ? sample_shape(r) : sample;
  const std::int64_t n = r.one_in(20) ? 0 : 1 + r.below(40), values = sample.elements() > 4096 ? 0 : n * sample.elements();
  const bool bytes = sample.rank() == 3 && !r.one_in(12);
  for (std::int64_t i = 0; i < values; ++i) {
    if (bytes) d.bytes.push_back(static_cast<std::uint8_t>(r.below(256)));
    else d.floats.push_back(static_cast<float>(r.below(1000)) / 1000);
  }
  if (!r.one_in(12))
    for (std::int64_t i = 0; i < n; ++i) d.labels.push_back(static_cast<std::int32_t>(r.one_in(300) ? r.count(100) : r.below(classes)));
  if (r.one_in(20)) d.labels.resize(static_cast<std::size_t>(r.below(n + 3)));
  return d;
}

// Counts of the calls' ends.
struct Counts {
  std::int64_t right = 0, refused = 0;
};

// Only Errors with words may come out.
template <class F>
bool attempt(Counts& counts, F&& call) {
  try {
    call();
    ++counts.right;
    return true;
  } catch (const Error& e) {
    EXPECT_FALSE(std::string(e.what()).empty());
    ++counts.refused;
    return false;
  } catch (const std::exception& e) {
    ADD_FAILURE() << "not an Error: " << e.what();
    throw;
  }
}

std::string any_name(Choices& r, const Graph& graph) {
  const Node& n = graph.nodes[static_cast<std::size_t>(r.below(static_cast<std::int64_t>(graph.nodes.size())))];
  const std::vector<ParameterInfo> parameters = graph.parameters();
  switch (r.below(7)) {
    case 0: return n.path;
    case 1: return n.output_path + ".grad";
    case 2: return n.path + ".mean";
    case 3:
    case 4:
      return parameters.empty() ? "x" : parameters[static_cast<std::size_t>(r.below(static_cast<std::int64_t>(parameters.size())))].name;
    case 5: return (parameters.empty() ? n.path : parameters[0].name) + ".grad";
    default:
      return r.any<std::string>(
          {"x", "y", "dx", "dy", "state", "loss", "labels", "data/samples", "parameters", "gradients", "", "nothing"});
  }
}

void train(Choices& r, Counts& counts) {
  Sequential net = block(r, 2, 6);
  const std::int64_t classes = 1 + r.below(5);
  if (!r.one_in(10)) net.append({"flat", Flatten{}}).append({"head", Linear{.out = classes}});
  const Shape sample = [&] {
    Shape s;
    while (!attempt(counts, [&] { s = sample_shape(r); })) {
    }
    return s;
  }();
  TrainerOptions o{.input = sample, .batch = r.count(24), .seed = 3};
  if (r.one_in(3)) o.optimizer = Sgd{.lr = r.number(0.1), .momentum = r.number(0.9)};
  if (r.one_in(3)) o.loss = MeanSquared{};
  if (r.one_in(6)) o.schedule.kind = Schedule::Kind::cosine;
  if (r.one_in(8)) o.transform = {.mean = {r.number(1)}, .stddev = {r.number(1)}};
  if (r.one_in(8)) o.transform.resize = r.size(6);
  o.drop_last = r.one_in(3), o.fuse = !r.one_in(3), o.reuse = !r.one_in(4), o.executor.threads = r.one_in(8) ? 2 : 1;
  std::optional<Trainer> made;
  if (!attempt(counts, [&] { made.emplace(net, o); })) return;
  Trainer& t = *made;
  std::vector<Dataset> sets;
  while (sets.size() < 3 && attempt(counts, [&] { sets.push_back(data_for(r, sample, classes)); })) {
  }
  if (sets.empty()) return;
  const auto any_set = [&]() -> const Dataset& { return sets[static_cast<std::size_t>(r.below(static_cast<std::int64_t>(sets.size())))]; };
  const auto small = [&] { return r.one_in(10) ? r.any<std::int64_t>({-1, 7, 20, std::int64_t{1} << 45, INT64_MIN}) : r.below(5); };
  Checkpoint model = t.model(), training = t.training();
  for (std::int64_t calls = 1 + r.below(10); calls > 0; --calls) {
    const std::string before = t.parameters_hash();
    bool may_train = false;
    const auto one = [&](int nested, const auto& self) -> void {
      const Dataset& d = any_set();
      switch (r.below(nested ? 11 : 15)) {
        case 0: (void)t.evaluate(d); break;
        case 1: (void)t.predict(d); break;
        case 2: (void)t.read(any_name(r, t.unfused_graph())); break;
        case 3:
          (void)t.observe(r.one_in(2) ? Mode::train : Mode::eval, d, std::vector<ObserveRequest>{{any_name(r, t.unfused_graph()), small()}},
                          small(), small());
          break;
        case 4: (void)t.model(), (void)t.training(); break;
        case 5: (void)print(t.plan(r.one_in(2) ? Mode::train : Mode::eval, small())); break;
        case 6: (void)t.sample_order(r.one_in(9) ? small() : r.below(99), small()); break;
        case 7: (void)t.time_calls(Mode::train, d, r.below(5) - 1); break;
        case 8: (void)t.time_steps(d, r.below(4) - 1, r.below(4) - 1); break;
        case 9: (void)t.time_evaluations(d, r.below(4) - 1); break;
        case 10: (void)fold_batch_norms(r.one_in(2) ? t.unfused_graph() : t.graph(), model); break;
        case 11: may_train = true, (void)t.recalibrate(d, small()); break;
        case 12: may_train = true, t.load_model(model), t.load_training(training); break;
        case 13: t.reset_optimizer(); break;
        default: {
          may_train = true;
          const bool nest = r.one_in(4);
          FitOptions f{.epochs = t.epochs_done() + r.below(6) - 1};
          if (nest) f.on_step = [&](const Progress&) { return attempt(counts, [&] { self(1, self); }), !r.one_in(9); };
          if (nest) f.on_epoch = [&](const EpochMetrics&) { attempt(counts, [&] { self(1, self); }); };
          t.fit(d, r.one_in(2) ? &any_set() : nullptr, f);
        }
      }
    };
    attempt(counts, [&] { one(0, one); });
    if (!may_train) {
      EXPECT_EQ(t.parameters_hash(), before);
    }
    if (r.one_in(5)) model = t.model(), training = t.training();
  }
}

void run_alone(Choices& r, Counts& counts) {
  const Sequential net = block(r, 2, 5);
  ModuleRunner::Options o{
      .mode = r.one_in(3) ? Mode::eval : Mode::train, .fuse = !r.one_in(3), .reuse = r.one_in(3), .backward = !r.one_in(4)};
  if (r.one_in(20)) o.lanes = static_cast<int>(r.below(40)) - 4;
  o.input_gradients = !r.one_in(4), o.executor.threads = 1;  // many threads of tiny nets only wait for each other
  std::optional<ModuleRunner> made;
  if (!attempt(counts, [&] { made.emplace(net, sample_shape(r).prepend(1 + r.below(20)), o); })) return;
  ModuleRunner& run = *made;
  for (std::int64_t calls = r.below(16); calls > 0; --calls)
    attempt(counts, [&] {
      const std::string name = any_name(r, run.graph());
      switch (r.below(4)) {
        case 0: run.step(); break;
        case 1: run.write(name, std::vector<float>(static_cast<std::size_t>(run.shape(name).elements()), 0.5f)); break;
        case 2: EXPECT_EQ(static_cast<std::int64_t>(run.read(name).size()), run.shape(name).elements()) << name; break;
        default: run.write(r.any<std::string>({"x", "dy"}), std::vector<float>(static_cast<std::size_t>(run.shape("x").elements()), 1.5f));
      }
    });
}

TEST(CallFuzz, EveryCallIsRightOrRefused) {
  const char* const seconds = std::getenv("NORMA_FUZZ_SECONDS");
  const auto start = std::chrono::steady_clock::now();
  const auto over = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() >= std::atof(seconds); };
  Counts counts;
  for (std::uint64_t seed = 1; seed <= 3000 || (seconds && !over()); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Choices r(seed);
    if (seed % 3 == 0) run_alone(r, counts);
    else train(r, counts);
    if (HasFailure()) break;
  }
  EXPECT_GT(counts.right, 100) << "hardly anything was tried";
  EXPECT_GT(counts.refused, 100);
  std::printf("%lld calls right, %lld refused\n", static_cast<long long>(counts.right), static_cast<long long>(counts.refused));
}

}  // namespace
}  // namespace norma::test
