// A Predictor has two Plans: for packs of samples, with a sample a lane, and for samples one by one, with lanes over filters and positions.
// Both share the parameters and work in one arena, and their results have the same bits.
#include "norma/predictor.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <type_traits>
#include <utility>
#include <variant>

#include "kernels/cpu/backend.h"
#include "kernels/cpu/sample_weights.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/team.h"
#include "norma/batch_norm_tools.h"
#include "norma/error.h"
#include "norma/model_file.h"
#include "norma/text.h"
#include "src/data/affine.h"
#include "src/execute/cpu_executor.h"
#include "src/net/match_tensors.h"
#include "src/plan/lower.h"
#include "src/plan/plan.h"
#include "src/predict/arena.h"

namespace norma {
namespace {

using kernels::cpu::lanes;

// Vectors may be read past a value's end.
constexpr std::size_t slack = 64;

// Up to so many samples go one by one. A pack takes as long for one sample as for 16: with AVX-512 6 times one sample's time for LeNet and
// 13 for ResNet-20, with AVX2 10 and 16.
constexpr std::int64_t most_one_by_one = 8;

constexpr double most_elements = 0x1p52;  // of a pack

// Throws where a convolution's sample with its padding, which the kernel for one sample lays out, is larger.
void check_padding(const PlanCall& c) {
  const auto* conv = std::get_if<kernels::Conv2dForward>(&c.call);
  if (!conv || !kernels::cpu::padded(conv->shape.window)) return;
  const kernels::ConvShape& s = conv->shape;
  const auto reached = [](std::int64_t outputs, std::int64_t stride, std::int64_t kernel, std::int64_t dilation) {
    return static_cast<double>(outputs) * static_cast<double>(stride) + static_cast<double>(kernel) * static_cast<double>(dilation);
  };
  const double elements = static_cast<double>(s.x.c) * reached(s.y.h, s.window.stride_h, s.window.kernel_h, s.window.dilation_h) *
                          reached(s.y.w, s.window.stride_w, s.window.kernel_w, s.window.dilation_w);
  if (elements > most_elements)
    throw Error(ErrorKind::usage, "[" + printable(c.path) + "] a sample with its padding has more than 2^52 elements");
}

DType checked(const PredictorOptions& options) {
  const DType stored = stored_type(options.input, options.sample_type);
  double elements = lanes;
  for (const std::int64_t d : options.input) elements *= static_cast<double>(d);
  if (!(elements > 0) || elements > most_elements)
    throw Error(ErrorKind::usage, "input " + to_string(options.input) + " has no elements, or more than 2^48");
  return stored;
}

// A net's Plan for a number of samples, with what running it needs.
struct Route {
  Plan plan;
  std::vector<kernels::Call> calls;
  std::vector<std::byte*> fixed;  // addresses of the values that every call shares, else null
  std::size_t scratch = 0;        // bytes
  ValueId samples, state, y;
};

Route make_route(const Module& net, const PredictorOptions& options, DType stored, std::int64_t samples, int with_lanes) {
  const Shape input = transformed(options.input, options.transform.resize);
  LowerOptions how;
  how.mode = Mode::eval;
  how.lanes = with_lanes;
  how.backward = false;
  how.data = InputData{.sample = options.input, .type = stored, .resize = options.transform.resize, .labels = false};
  Route route;
  route.plan = lower(fuse(trace(net, input.prepend(samples))), how);
  for (const PlanCall& c : route.plan.calls) {
    if (std::holds_alternative<kernels::BatchNormStatistics>(c.call))
      throw Error(ErrorKind::usage, "[" + printable(c.path) +
                                        "] has no running statistics: it normalises by the samples that happen to come together; "
                                        "Trainer::predict takes a whole set");
    const bool served = std::visit([](const auto& call) { return kernels::cpu::serves_samples<std::decay_t<decltype(call)>>; }, c.call);
    if (!served) throw Error(ErrorKind::failure, "no kernel for one sample: " + name_of(c.call));  // every Call of inference has one
    check_padding(c);
    route.calls.push_back(c.call);
    route.scratch =
        std::max(route.scratch, with_lanes == 1 ? kernels::cpu::sample_scratch_bytes(c.call) : kernels::cpu::scratch_bytes(c.call, 1));
  }
  route.fixed.resize(route.plan.values.size());
  route.samples = route.plan.find(name_of(DataSlot::samples));
  route.state = route.plan.find("state");
  route.y = route.plan.find("y");
  return route;
}

// Rounded up to whole lines of the cache.
std::size_t lines(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

struct [[gnu::visibility("hidden")]] Predictor::State {
  State(const Module& net, const Checkpoint& model, PredictorOptions o)
      : options(std::move(o)),
        stored(checked(options)),
        backend(choose_cpu_backend(options.isa)),
        affine(options.transform, options.input[0], stored) {
    const Shape input = transformed(options.input, options.transform.resize);
    const Graph graph = trace(net, input.prepend(lanes));
    Checkpoint tensors = matched_model(model, graph, notes);
    if (const std::string fault = first_fault(tensors); !fault.empty())
      throw Error(ErrorKind::diverged, "the model cannot predict: " + fault);
    std::optional<FoldedBatchNorms> folded;
    if (options.fold) folded = fold_batch_norms(graph, tensors);
    const Module& used = folded ? folded->net : net;
    packs = make_route(used, options, stored, lanes, lanes);
    ones = make_route(used, options, stored, 1, 1);
    output = graph[graph.outputs.at(0)].shape.with_batch(1);
    output = output.rank() == 4 ? Shape{output[1], output[2], output[3]} : Shape{output.elements()};
    place_parameters(folded ? folded->model : tensors);
    for (Route* const route : {&packs, &ones}) {
      set(*route, name_of(DataSlot::scale), affine.scale.data());
      set(*route, name_of(DataSlot::offset), affine.offset.data());
    }
    arenas.give(make_arena());
    // Packs of fewer samples. A function of the user's sees no others than the caller's, so that one is called for each sample.
    const bool can_cut = std::ranges::all_of(packs.calls, [](const kernels::Call& call) {
      return !std::visit([](const auto& c) { return kernels::on_host<std::decay_t<decltype(c)>>; }, call);
    });
    for (std::int64_t n = most_one_by_one + 1; can_cut && n < lanes; ++n) {
      cut_calls.push_back(packs.calls);
      for (kernels::Call& call : cut_calls.back())
        std::visit(
            [&](auto& c) {
              if constexpr (requires { c.cut(n); }) c.cut(n);
            },
            call);
    }
  }

  static void set(Route & route, std::string_view name, const void* address) {
    if (route.plan.has(name))
      route.fixed[static_cast<std::size_t>(route.plan.find(name).index)] = static_cast<std::byte*>(const_cast<void*>(address));
  }

  // Parameters and buffers in memory, as both Plans read them.
  void place_parameters(const Checkpoint& model) {
    std::map<std::string, kernels::ConvShape> laid;  // weights that kernels for one sample read in another order
    for (const kernels::Call& call : ones.calls) {
      if (const auto* conv = std::get_if<kernels::Conv2dForward>(&call)) laid[ones.plan[conv->w].name] = conv->shape;
      if (const auto* linear = std::get_if<kernels::LinearForward>(&call))
        laid[ones.plan[linear->w].name] = kernels::cpu::as_convolution(*linear);
    }
    for (const StoredTensor& t : model.tensors) {
      if (!packs.plan.has(t.name)) continue;  // of a layer that the output does not read
      std::byte* const plain = parameters.emplace_back(lines(t.bytes.size()) + slack).data();
      std::memcpy(plain, t.bytes.data(), t.bytes.size());
      set(packs, t.name, plain);
      const auto found = laid.find(t.name);
      if (found == laid.end() || !kernels::cpu::filters_are_lanes(found->second)) {
        set(ones, t.name, plain);
        continue;
      }
      const auto floats = static_cast<std::size_t>(kernels::cpu::sample_weights(found->second));
      std::byte* const again = parameters.emplace_back(lines(floats * sizeof(float)) + slack).data();
      kernels::cpu::lay_sample_weights(found->second, reinterpret_cast<const float*>(plain), reinterpret_cast<float*>(again));
      set(ones, t.name, again);
    }
  }

  static std::size_t activations(const Route& route) {
    return route.plan.region_bytes[static_cast<std::size_t>(Region::activations)] + slack;
  }

  // Memory of one call: the counters, the activations of either Plan, and scratch.
  std::unique_ptr<Arena> make_arena() const {
    const std::size_t counters = lines(sizeof(kernels::StepState));
    const std::size_t values = lines(std::max(activations(packs), activations(ones)));
    auto arena = std::make_unique<Arena>();
    arena->memory = AlignedBytes(counters + values + lines(std::max(packs.scratch, ones.scratch)) + slack);
    const auto locate = [&](const Route& route) {
      std::vector<std::byte*> addresses = route.fixed;
      for (std::size_t i = 0; i < addresses.size(); ++i)
        if (const PlanValue& v = route.plan.values[i]; v.region == Region::activations)
          addresses[i] = arena->memory.data() + counters + v.offset;
      addresses[static_cast<std::size_t>(route.state.index)] = arena->memory.data();
      return addresses;
    };
    arena->packs = locate(packs), arena->ones = locate(ones);
    new (arena->memory.data()) kernels::StepState{};
    return arena;
  }
  std::byte* scratch(const Arena& arena) const {
    return arena.memory.data() + lines(sizeof(kernels::StepState)) + lines(std::max(activations(packs), activations(ones)));
  }

  template <class T>
  void predict(std::span<const T> samples, std::span<float> outputs) const {
    constexpr DType type = std::is_same_v<T, float> ? DType::f32 : DType::u8;
    if (type != stored)
      throw Error(ErrorKind::usage, std::string("samples are ") + name_of(type) + ", but this Predictor takes " + name_of(stored) +
                                        ": PredictorOptions::sample_type");
    const auto features = static_cast<std::size_t>(options.input.elements()), each = static_cast<std::size_t>(output.elements());
    if (samples.size() % features != 0)
      throw Error(ErrorKind::usage, "samples " + to_string(options.input) + " have " + std::to_string(features) + " values each, got " +
                                        std::to_string(samples.size()) + " in all");
    const std::size_t count = samples.size() / features;
    if (outputs.size() != count * each)
      throw Error(ErrorKind::usage, "the outputs of " + std::to_string(count) + " samples are " + std::to_string(count * each) +
                                        " floats, got room for " + std::to_string(outputs.size()));
    if constexpr (std::is_same_v<T, float>)
      if (const auto bad = std::ranges::find_if_not(samples, [](float x) { return std::isfinite(x); }); bad != samples.end()) {
        const auto at = static_cast<std::size_t>(bad - samples.begin());
        throw Error(ErrorKind::data, "sample " + std::to_string(at / features) + ", feature " + std::to_string(at % features) + " is " +
                                         std::to_string(*bad));
      }
    const kernels::cpu::TeamScope alone(nullptr);  // a loss or an operation may ask on a thread that has a team
    std::unique_ptr<Arena> arena = arenas.take([&] { return make_arena(); });
    for (std::size_t first = 0; first < count;) {
      const auto left = static_cast<std::int64_t>(count - first);
      const std::int64_t now = run(*arena, samples.data() + first * features, left, outputs.data() + first * each);
      first += static_cast<std::size_t>(now);
    }
    arenas.give(std::move(arena));
    if (const auto bad = std::ranges::find_if_not(outputs, [](float y) { return std::isfinite(y); }); bad != outputs.end()) {
      const auto at = static_cast<std::size_t>(bad - outputs.begin());
      throw Error(ErrorKind::diverged, "the net's output " + std::to_string(at % each) + " for sample " + std::to_string(at / each) +
                                           " is " + std::to_string(*bad));
    }
  }

  // Predicts some of `left` samples, at least one; returns how many.
  std::int64_t run(Arena & arena, const void* samples, std::int64_t left, float* outputs) const {
    const std::int64_t all = std::min<std::int64_t>(left, lanes);
    const bool cut = all > most_one_by_one && all < lanes && !cut_calls.empty();
    const auto source = static_cast<std::byte*>(const_cast<void*>(samples));  // only read
    if (all < lanes && !cut) {
      arena.ones[static_cast<std::size_t>(ones.samples.index)] = source;
      const kernels::Memory memory{.address = arena.ones.data(), .scratch = scratch(arena)};
      for (const kernels::Call& call : ones.calls) backend.run_sample(call, memory);
      std::memcpy(outputs, memory.at<float>(ones.y), static_cast<std::size_t>(output.elements()) * sizeof(float));
      return 1;
    }
    arena.packs[static_cast<std::size_t>(packs.samples.index)] = source;
    const kernels::Memory memory{.address = arena.packs.data(), .scratch = scratch(arena)};
    for (const kernels::Call& call : cut ? cut_calls[static_cast<std::size_t>(all - most_one_by_one - 1)] : packs.calls)
      backend.run(call, kernels::Part::whole, memory);
    const float* const y = memory.at<float>(packs.y);
    for (std::int64_t n = 0; n < all; ++n)
      for (std::int64_t i = 0; i < output.elements(); ++i) *outputs++ = y[i * lanes + n];
    return all;
  }

  PredictorOptions options;
  DType stored;
  const kernels::cpu::Backend& backend;
  Affine affine;
  std::vector<std::string> notes, classes;
  Shape output;
  Route ones, packs;
  std::vector<std::vector<kernels::Call>> cut_calls;  // of packs, for most_one_by_one + 1 .. 15 samples; empty if it cannot be cut
  std::vector<AlignedBytes> parameters;
  mutable Arenas arenas;
};

Predictor::Predictor(const Module& net, const Checkpoint& model, PredictorOptions options)
    : state_(std::make_shared<const State>(net, model, std::move(options))) {}

Predictor Predictor::load(const std::filesystem::path& model, PredictorOptions options) {
  std::error_code ignored;
  const std::filesystem::path file = std::filesystem::is_directory(model, ignored) ? model / "model.safetensors" : model;
  const Checkpoint weights = load_safetensors(file);
  const std::optional<Module> net = read_model_net(weights.metadata, file.string());
  const std::optional<ModelInput> input = read_model_input(weights.metadata, file.string());
  if (!net || !input)
    throw Error(ErrorKind::data, printable(file.string()) + " does not say what its " + (net ? "input" : "net") +
                                     " is: an older norma or another program wrote it, or the net holds an nn::Operation; give the net "
                                     "to Predictor's constructor");
  (void)choose_cpu_backend(options.isa);  // the caller's own
  options.input = input->sample, options.sample_type = input->stored, options.transform = input->transform;
  try {
    auto state = std::make_shared<State>(*net, weights, std::move(options));
    state->classes = input->classes;
    if (static_cast<std::int64_t>(state->classes.size()) > state->output.elements())
      throw Error(ErrorKind::data, "it names " + std::to_string(state->classes.size()) + " classes and its net has " +
                                       std::to_string(state->output.elements()) + " outputs");
    return Predictor(std::shared_ptr<const State>(std::move(state)));
  } catch (const Error& e) {
    throw Error(e.kind() == ErrorKind::usage ? ErrorKind::data : e.kind(), printable(file.string()) + ": " + e.what());
  }
}

namespace {

template <class State>
const State& there(const std::shared_ptr<const State>& state) {
  if (!state) throw Error(ErrorKind::usage, "this Predictor was moved from: it has no net");
  return *state;
}

}  // namespace

void Predictor::predict(std::span<const std::uint8_t> samples, std::span<float> outputs) const { there(state_).predict(samples, outputs); }
void Predictor::predict(std::span<const float> samples, std::span<float> outputs) const { there(state_).predict(samples, outputs); }

std::vector<float> Predictor::predict(std::span<const std::uint8_t> samples) const {
  std::vector<float> outputs(samples.size() / static_cast<std::size_t>(input().elements()) * static_cast<std::size_t>(output().elements()));
  predict(samples, outputs);
  return outputs;
}
std::vector<float> Predictor::predict(std::span<const float> samples) const {
  std::vector<float> outputs(samples.size() / static_cast<std::size_t>(input().elements()) * static_cast<std::size_t>(output().elements()));
  predict(samples, outputs);
  return outputs;
}

const Shape& Predictor::input() const { return there(state_).options.input; }
DType Predictor::sample_type() const { return there(state_).stored; }
const Shape& Predictor::output() const { return there(state_).output; }
const std::vector<std::string>& Predictor::classes() const { return there(state_).classes; }
const std::vector<std::string>& Predictor::notes() const { return there(state_).notes; }

}  // namespace norma
