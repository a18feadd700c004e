#include "tests/support/random_nets.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/cpu/backend.h"
#include "kernels/cuda/backend.h"
#include "norma/graph.h"
#include "src/execute/tensor_io.h"
#include "src/verify/reference.h"
#include "tests/support/cases.h"

namespace norma::test {
namespace {

struct Net {
  RandomNet r;
  bool smooth;  // no kinks: rounding cannot choose another branch

  Value operator()(Builder& b, Value x) const {
    for (std::size_t i = 0; i < r.layers.size(); ++i) {
      const Builder::Scope scope(b, "l" + std::to_string(i));
      x = layer(b, x, r.layers[i]);
    }
    const Builder::Scope scope(b, "head");
    return nn::Linear{.out = 4}(b, nn::Flatten{}(b, x));
  }

 private:
  Value activation(Builder& b, Value x) const { return smooth ? nn::Tanh{}(b, x) : nn::ReLU{}(b, x); }
  Value layer(Builder& b, Value x, int kind) const {
    const Shape s = b.shape(x);
    const bool pools = s[2] >= 2 && s[3] >= 2;
    switch (kind) {
      case 0: return nn::Conv2d{.out = 3, .kernel = 3, .padding = 1}(b, x);
      case 1: return pools ? nn::Conv2d{.out = 2, .kernel = 2, .stride = 2}(b, x) : x;
      case 2: return nn::Conv2d{.out = s[1], .kernel = {1, 3}, .padding = {0, 2}, .dilation = 2, .groups = s[1], .bias = false}(b, x);
      case 3: return nn::BatchNorm{}(b, x);
      case 4: return activation(b, x);
      case 5: return nn::Sigmoid{}(b, x);
      case 6: return activation(b, nn::BatchNorm{.affine = false}(b, x));
      case 7: return !pools ? x : smooth ? nn::AvgPool2d{}(b, x) : nn::MaxPool2d{}(b, x);
      case 8: return nn::AvgPool2d{.kernel = 3, .stride = 2, .padding = 1, .ceil_mode = true}(b, x);
      case 9: return nn::Dropout{.p = 0.3}(b, x);
      case 10: {  // the sum and its activation are the batch norm's, when fused
        const nn::Sequential body{nn::Conv2d{.out = s[1], .kernel = 3, .padding = 1, .bias = false}, nn::BatchNorm{}};
        return activation(b, nn::Residual{body}(b, x));
      }
      case 11: {  // of its two batch norms, the second
        const nn::Sequential body{nn::Conv2d{.out = 3, .kernel = 3, .stride = 2, .padding = 1}, nn::BatchNorm{.affine = false}};
        return nn::Residual{body, nn::Sequential{nn::Conv2d{.out = 3, .stride = 2}, nn::BatchNorm{}}}(b, x);
      }
      case 12: return nn::Sigmoid{}(b, nn::Residual{nn::BatchNorm{.affine = false}}(b, x));  // x is both terms
      case 13: {
        const nn::Sequential body{nn::Conv2d{.out = s[1], .kernel = 3, .padding = 1, .bias = false}, nn::BatchNorm{}, nn::Tanh{}};
        return nn::Residual{body}(b, x);
      }
      case 14: return nn::LayerNorm{.bias = s[1] > 1}(b, x);
      case 17: {  // twice as large, and smooth whatever the net is
        if (s[2] > 8) return x;
        return nn::GELU{}(b, nn::ConvTranspose2d{.out = 2, .kernel = 3, .stride = 2, .padding = 1, .output_padding = 1}(b, x));
      }
      case 18: return nn::ELU{.alpha = 0.5}(b, nn::SiLU{}(b, nn::BatchNorm{}(b, x)));
      case 15: return s[2] * s[3] < 2 ? x : nn::InstanceNorm{.affine = s[1] > 1, .track_running_stats = s[2] > 2}(b, x);
      default: {
        const std::int64_t groups = s[1] % 2 == 0 ? 2 : 1;
        return s[1] * s[2] * s[3] < 2 * groups ? x : nn::GroupNorm{.groups = groups, .affine = s[2] > 1}(b, x);
      }
    }
  }
};

std::optional<Loss> loss_of(int kind) {
  if (kind == 0) return CrossEntropy{};
  if (kind == 1) return CrossEntropy{.reduction = Reduction::sum, .label_smoothing = 0.1};
  return MeanSquared{};
}

// Elements are drawn by value name and position alone, so every way of running gets the same numbers; samples by their own index.
std::vector<float> content(const PlanValue& v, std::int64_t first) {
  std::uint64_t key = 0xcbf29ce484222325;  // FNV-1a
  for (char ch : v.name) key = (key ^ static_cast<unsigned char>(ch)) * 0x100000001b3;
  std::vector<float> out;
  const bool batched = v.in_lanes() || v.dtype == DType::i32;
  const std::int64_t per_sample = v.in_lanes() ? v.dims.features() : 1;
  Random random(key);
  if (batched)
    for (std::int64_t i = 0; i < first * per_sample; ++i) random.uniform();
  for (std::int64_t i = 0; i < v.shape.elements(); ++i) {
    const double u = random.uniform();
    out.push_back(static_cast<float>(v.dtype == DType::i32             ? std::floor(4 * u)
                                     : v.name.ends_with("running_var") ? 0.5 + u
                                     : v.in_lanes()                    ? 4 * u - 2
                                                                       : u - 0.5));
  }
  return out;
}

bool written_from_outside(const PlanValue& v) {
  return v.region == Region::parameters || v.region == Region::buffers || v.name == "x" || v.name == "labels" || v.name == "targets";
}

}  // namespace

void showValue(const RandomNet& r, std::ostream& out) {
  out << "input (" << r.n << ", " << r.c << ", " << r.h << ", " << r.w << "), loss " << r.loss << ", layers";
  for (int l : r.layers) out << " " << l;
}

Module module_of(const RandomNet& r, bool smooth) { return Net{r, smooth}; }

Plan make_plan(const RandomNet& r, const Way& way, AssignOptions assign, std::optional<Optimizer> optimizer) {
  const Shape input{way.n ? way.n : r.n, r.c, r.h, r.w};
  Graph graph = trace(Net{r, way.smooth}, input);
  if (way.fused) graph = fuse(std::move(graph));
  LowerOptions options;
  options.mode = way.mode;
  options.lanes = way.device.kind == Device::Kind::cuda ? kernels::cuda::lanes : kernels::cpu::lanes;
  options.backward = way.mode == Mode::train;
  options.loss = loss_of(r.loss);
  options.optimizer = optimizer;
  options.by_pack = way.by_pack;
  options.join = way.fused && way.device.kind == Device::Kind::cuda;
  options.assign = assign;
  return lower(graph, options);
}

Outcome run(const RandomNet& r, const Way& way) {
  const Plan plan = make_plan(r, way, {.reuse = way.reuse});
  const auto executor = make_executor(
      way.device,
      {.threads = way.threads, .capture = way.capture, .graph_calls = way.graph_steps * static_cast<std::int64_t>(plan.calls.size())});
  executor->prepare(plan);
  for (std::size_t i = 0; i < plan.values.size(); ++i) {
    const PlanValue& v = plan.values[i];
    const ValueId id{static_cast<std::int32_t>(i)};
    if (!written_from_outside(v) || v.dtype == DType::i64) continue;
    const std::vector<float> values = content(v, way.first);
    if (!v.in_lanes()) {
      write_tensor(*executor, plan, id, values);
      continue;
    }
    std::vector<float> stored(v.bytes / sizeof(float), static_cast<float>(way.garbage));
    std::size_t k = 0;
    reference::for_each_element(
        v.dims, [&](auto n, auto c, auto h, auto w) { stored[static_cast<std::size_t>(v.dims.index(n, c, h, w))] = values[k++]; });
    executor->write(plan, id.index, stored.data(), v.bytes);
  }
  write_struct(*executor, plan, plan.find("state"), kernels::StepState{.seed = 5, .step = 3});
  executor->run(plan, way.runs);

  Outcome out;
  for (const auto& [name, id] : plan.names)
    if (name == "y" || (way.mode == Mode::train && (plan[id].region == Region::gradients || plan[id].region == Region::buffers)))
      out[name] = read_tensor(*executor, plan, id);
  const auto loss = read_struct<kernels::LossResult>(*executor, plan, plan.find("loss"));
  out["loss"] = {static_cast<float>(loss.loss), static_cast<float>(loss.loss_sum), static_cast<float>(loss.correct)};
  return out;
}

void expect_same_bits(const Outcome& a, const Outcome& b) {
  RC_ASSERT(a.size() == b.size());
  for (const auto& [name, values] : a) {
    const auto it = b.find(name);
    RC_ASSERT(it != b.end());
    RC_ASSERT(values.size() == it->second.size());
    for (std::size_t i = 0; i < values.size(); ++i)
      if (std::memcmp(&values[i], &it->second[i], sizeof(float)) != 0)
        RC_FAIL(name + "[" + std::to_string(i) + "]: " + std::to_string(values[i]) + " and " + std::to_string(it->second[i]));
  }
}

void expect_agreement_with_the_reference(const RandomNet& net, Way way) {
  way.smooth = true;
  const Outcome actual = run(net, way);
  const Plan plan = make_plan(net, way, {});
  reference::BasicReference<reference::Tracked> reference(plan);
  for (std::size_t i = 0; i < plan.values.size(); ++i)
    if (const PlanValue& v = plan.values[i]; written_from_outside(v) && v.dtype != DType::i64) reference.write(v.name, content(v, 0));
  reference.state(plan, plan.find("state")) = {.seed = 5, .step = 3};
  reference.run(plan);
  const auto agrees = [](float x, const reference::Tracked& expected) {
    return std::abs(static_cast<double>(x) - expected.v) <=
           64 * std::sqrt(expected.e2) + static_cast<double>(std::numeric_limits<float>::min());
  };
  RC_ASSERT(agrees(actual.at("loss")[0], reference.loss(plan, plan.find("loss")).loss));
  for (const auto& [name, values] : actual) {
    if (name == "loss") continue;
    const std::vector<reference::Tracked> expected = reference.read(plan, plan.find(name));
    for (std::size_t i = 0; i < values.size(); ++i)
      if (!agrees(values[i], expected[i]))
        RC_FAIL(name + "[" + std::to_string(i) + "]: " + std::to_string(values[i]) + " instead of " + std::to_string(expected[i].v) + ", " +
                std::to_string(std::abs(static_cast<double>(values[i]) - expected[i].v) / std::sqrt(expected[i].e2)) +
                " standard errors off");
  }
}

}  // namespace norma::test
