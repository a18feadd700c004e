// Pooling, activations and softmax with cross entropy, compared with cuDNN.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <ostream>

#include "tests/cudnn/call_values.h"
#include "tests/cudnn/cudnn_handle.h"
#include "tests/cudnn/parity.h"
#include "tests/support/cases.h"

namespace norma::test {

using namespace kernels;

struct PoolCase {
  std::string name;
  std::int64_t n, c, h, w;
  Window window;

  PoolShape shape(int lanes) const {
    const Window& v = window;
    return {{n, c, h, w, lanes},
            {n, c, (h + 2 * v.pad_h - v.kernel_h) / v.stride_h + 1, (w + 2 * v.pad_w - v.kernel_w) / v.stride_w + 1, lanes},
            window};
  }
};

// GoogleTest's text for a parameter.
void PrintTo(const PoolCase& c, std::ostream* out) { *out << c.name; }

namespace {

const char* layout_name(int lanes) { return name_of(lanes == 1 ? Layout::nchw : Layout::lanes); }

// Compares output `id` of norma with cuDNN's; both may be off by `floor`.
void compare_output(const std::string& subject, const char* name, const CallValues& v, ValueId id, int lanes, double floor,
                    const std::vector<float>& theirs) {
  Quantity q{.name = name, .expected = v.expected(id), .floor = floor};
  q.scale = largest(q.expected);
  const Yardstick yardstick{"legacy", theirs};
  compare(subject, layout_name(lanes), q, v.norma(id), {&yardstick, 1});
}

template <class Base>
class OnGpu : public Base {
 protected:
  void SetUp() override {
    if (!unavailable().empty()) GTEST_SKIP() << unavailable();
  }
};

// ------------------------------------------------------------------------------------------ pooling

using PoolParity = OnGpu<::testing::TestWithParam<PoolCase>>;

struct Pooled {
  std::vector<float> y, dx;
};

Pooled cudnn_pool(const PoolShape& s, cudnnPoolingMode_t mode, const std::vector<float>& x, const std::vector<float>& dy) {
  const TensorDescriptor xd = tensor_descriptor(s.x), yd = tensor_descriptor(s.y);
  const auto pooling = pooling_descriptor(s, mode);
  DeviceValues values;
  const ValueId x_data = values.in("x", x), dy_data = values.in("dy", dy);
  const ValueId y_data = values.out("y", s.y.count()), dx_data = values.out("dx", s.x.count());
  const auto at = [&](ValueId id) { return values.address(id); };
  check(cudnnPoolingForward(cudnn(), pooling, &one, xd, at(x_data), &keep_none, yd, at(y_data)), "cudnnPoolingForward");
  check(cudnnPoolingBackward(cudnn(), pooling, &one, yd, at(y_data), yd, at(dy_data), xd, at(x_data), &keep_none, xd, at(dx_data)),
        "cudnnPoolingBackward");
  return {values.read(y_data), values.read(dx_data)};
}

TEST_P(PoolParity, MaximumIsCudnns) {
  const PoolCase& c = GetParam();
  Random random(20261122);
  const std::vector<float> x = random.normals(c.shape(1).x.count()), dy = random.normals(c.shape(1).y.count());
  const Pooled cudnn = cudnn_pool(c.shape(1), CUDNN_POOLING_MAX_DETERMINISTIC, x, dy);
  for (int lanes : {1, kernels::cuda::lanes}) {
    const PoolShape s = c.shape(lanes);
    CallValues v;
    const ValueId argmax = v.out_argmax("argmax", s.y);
    const MaxPoolForward forward{.y = v.out("y", s.y), .argmax = argmax, .x = v.in("x", s.x, x), .shape = s};
    const MaxPoolBackward backward{.dx = v.out("dx", s.x), .dy = v.in_gradient("dy", s.y, dy), .argmax = argmax, .shape = s};
    v.run(forward);
    v.run(backward);
    compare_output("max_pool " + c.name, "y", v, forward.y, lanes, 0, cudnn.y);
    compare_output("max_pool " + c.name, "dx", v, backward.dx, lanes, sum_floor(s.window.area()), cudnn.dx);
  }
}

TEST_P(PoolParity, AverageIsAsCloseToDoubleAsCudnn) {
  const PoolCase& c = GetParam();
  Random random(20261122);
  const std::vector<float> x = random.normals(c.shape(1).x.count()), dy = random.normals(c.shape(1).y.count());
  for (bool include_pad : {true, false}) {
    const std::string subject = (include_pad ? "avg_pool " : "avg_pool_without_pad ") + c.name;
    const Pooled cudnn = cudnn_pool(
        c.shape(1), include_pad ? CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING : CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING, x, dy);
    for (int lanes : {1, kernels::cuda::lanes}) {
      const PoolShape s = c.shape(lanes);
      CallValues v;
      const AvgPoolForward forward{.y = v.out("y", s.y), .x = v.in("x", s.x, x), .shape = s, .include_pad = include_pad};
      const AvgPoolBackward backward{.dx = v.out("dx", s.x), .dy = v.in_gradient("dy", s.y, dy), .shape = s, .include_pad = include_pad};
      v.run(forward);
      v.run(backward);
      compare_output(subject, "y", v, forward.y, lanes, sum_floor(s.window.area()), cudnn.y);
      compare_output(subject, "dx", v, backward.dx, lanes, sum_floor(s.window.area()), cudnn.dx);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, PoolParity,
    ::testing::Values(PoolCase{"lenet1", 256, 6, 24, 24, {2, 2, 2, 2}}, PoolCase{"lenet2", 256, 16, 8, 8, {2, 2, 2, 2}},
                      PoolCase{"resnet", 8, 64, 56, 56, {3, 3, 2, 2, 1, 1}}, PoolCase{"odd_size", 15, 3, 5, 7, {2, 2, 2, 2}},
                      PoolCase{"overlapping", 17, 3, 9, 8, {3, 3, 2, 2}}, PoolCase{"overlapping_stride1", 17, 2, 6, 7, {3, 3}},
                      PoolCase{"pad1", 17, 3, 8, 9, {3, 3, 2, 2, 1, 1}},
                      PoolCase{"kernel_3x2_stride_1x2_pad_1x0", 17, 3, 7, 8, {3, 2, 1, 2, 1, 0}},
                      PoolCase{"stride_beyond_kernel", 17, 3, 9, 11, {2, 2, 3, 4}}, PoolCase{"whole_plane", 17, 17, 7, 5, {7, 5, 7, 5}}),
    [](const auto& p) { return p.param.name; });

// ------------------------------------------------------------------------------------------ activations

using ActivationParity = OnGpu<::testing::TestWithParam<Activation>>;

TEST_P(ActivationParity, IsAsCloseToDoubleAsCudnn) {
  const Activation act = GetParam();
  for (const Dims& shape : {Dims{256, 6, 24, 24}, Dims{256, 120}, Dims{17, 3, 5, 7}}) {
    const std::string subject =
        std::string(name_of(act)) + " " + std::to_string(shape.n) + "x" + std::to_string(shape.c) + "x" + std::to_string(shape.plane());
    Random random(20261122);
    const std::vector<float> x = random.normals(shape.count(), 0, 3), dy = random.normals(shape.count());
    std::vector<float> y;  // what backward starts from
    for (float value : x) y.push_back(static_cast<float>(reference::activate(act, static_cast<double>(value))));

    const TensorDescriptor tensor = tensor_descriptor(shape);
    const auto activation = activation_descriptor(act);
    DeviceValues data;
    const auto at = [&](ValueId id) { return data.address(id); };
    const ValueId x_data = data.in("x", x), y_data = data.in("y given", y), dy_data = data.in("dy", dy);
    const ValueId y_out = data.out("y", shape.count()), dx_out = data.out("dx", shape.count());
    check(cudnnActivationForward(cudnn(), activation, &one, tensor, at(x_data), &keep_none, tensor, at(y_out)), "cudnnActivationForward");
    check(cudnnActivationBackward(cudnn(), activation, &one, tensor, at(y_data), tensor, at(dy_data), tensor, at(x_data), &keep_none,
                                  tensor, at(dx_out)),
          "cudnnActivationBackward");

    for (int lanes : {1, kernels::cuda::lanes}) {
      Dims d = shape;
      d.lanes = lanes;
      CallValues v;
      const ActivationForward forward{.y = v.out("y", d), .x = v.in("x", d, x), .dims = d, .act = act};
      const ActivationBackward backward{
          .dx = v.out("dx", d), .dy = v.in_gradient("dy", d, dy), .saved = v.in("y given", d, y), .dims = d, .act = act};
      v.run(forward);
      v.run(backward);
      compare_output(subject, "y", v, forward.y, lanes, act == Activation::relu ? 0 : 4 * ulp, data.read(y_out));
      compare_output(subject, "dx", v, backward.dx, lanes, act == Activation::relu ? 0 : 4 * ulp, data.read(dx_out));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Functions, ActivationParity, ::testing::Values(Activation::relu, Activation::sigmoid, Activation::tanh),
                         [](const auto& p) { return std::string(name_of(p.param)); });

// ------------------------------------------------------------------------------------------ softmax

// samples, classes, deviation of the logits
using SoftmaxParity = OnGpu<::testing::TestWithParam<std::tuple<int, int, int>>>;

std::vector<float> cudnn_softmax(const Dims& d, cudnnSoftmaxAlgorithm_t algorithm, const std::vector<float>& logits) {
  const TensorDescriptor tensor = tensor_descriptor(d);
  DeviceValues data;
  const ValueId x = data.in("logits", logits), y = data.out("softmax", d.count());
  check(cudnnSoftmaxForward(cudnn(), algorithm, CUDNN_SOFTMAX_MODE_CHANNEL, &one, tensor, data.address(x), &keep_none, tensor,
                            data.address(y)),
        "cudnnSoftmaxForward");
  return data.read(y);
}

// cuDNN has no cross entropy: its gradient (p - onehot)/N is made of its probabilities, its loss of its logarithms of them.
TEST_P(SoftmaxParity, CrossEntropyIsAsCloseToDoubleAsCudnn) {
  const auto [samples, classes, deviation] = GetParam();
  const Dims shape{samples, classes};
  const std::string subject = "softmax " + std::to_string(samples) + "x" + std::to_string(classes) + " dev " + std::to_string(deviation);
  Random random(20261122);
  const std::vector<float> logits = random.normals(shape.count(), 0, deviation);
  std::vector<std::int32_t> labels;
  for (int i = 0; i < samples; ++i) labels.push_back(static_cast<std::int32_t>(random.below(classes)));

  const std::vector<float> probabilities = cudnn_softmax(shape, CUDNN_SOFTMAX_ACCURATE, logits);
  const std::vector<float> logarithms = cudnn_softmax(shape, CUDNN_SOFTMAX_LOG, logits);
  std::vector<float> gradient;
  double sum = 0;
  for (std::size_t i = 0; i < labels.size(); ++i)
    for (int c = 0; c < classes; ++c) {
      const std::size_t at = i * static_cast<std::size_t>(classes) + static_cast<std::size_t>(c);
      gradient.push_back(static_cast<float>((static_cast<double>(probabilities[at]) - (c == labels[i] ? 1 : 0)) / samples));
      if (c == labels[i]) sum -= static_cast<double>(logarithms[at]);
    }
  const std::vector<float> loss{static_cast<float>(sum / samples)};

  for (int lanes : {1, kernels::cuda::lanes}) {
    Dims d = shape;
    d.lanes = lanes;
    CallValues v;
    SoftmaxCrossEntropy call{.dims = d};
    call.loss = v.out_loss("loss");
    call.dlogits = v.out("dlogits", d);
    call.logits = v.in("logits", d, logits);
    call.labels = v.in_labels("labels", labels);
    call.partial = v.scratch("partial", samples * 8);
    v.run(call);
    Quantity q{.name = "dlogits", .expected = v.expected(call.dlogits), .scale = 1.0 / samples};
    const Yardstick theirs{"accurate", gradient}, theirs_log{"log", loss};
    compare(subject, layout_name(lanes), q, v.norma(call.dlogits), {&theirs, 1});
    const Quantity l{.name = "loss", .expected = {v.expected_loss(call.loss).loss}, .scale = v.expected_loss(call.loss).loss};
    const std::vector<float> norma_loss{static_cast<float>(v.norma_loss(call.loss).loss)};
    compare(subject, layout_name(lanes), l, norma_loss, {&theirs_log, 1});
    EXPECT_EQ(v.norma_loss(call.loss).correct, v.expected_loss(call.loss).correct);
    EXPECT_EQ(v.norma_loss(call.loss).counted, samples);
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, SoftmaxParity,
                         ::testing::Values(std::tuple{256, 10, 1}, std::tuple{256, 10, 30}, std::tuple{96, 10, 1}, std::tuple{37, 3, 1},
                                           std::tuple{17, 1000, 2}, std::tuple{1, 2, 1}),
                         [](const auto& p) {
                           return std::to_string(std::get<0>(p.param)) + "x" + std::to_string(std::get<1>(p.param)) + "_deviation" +
                                  std::to_string(std::get<2>(p.param));
                         });

}  // namespace
}  // namespace norma::test
