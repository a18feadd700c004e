// Convolution: forward, input gradient, weight and bias gradient, compared with cuDNN in float without tensor cores.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <ostream>

#include "apps/yardsticks/cudnn_convolution.h"
#include "tests/cudnn/call_values.h"
#include "tests/cudnn/cudnn_handle.h"
#include "tests/cudnn/parity.h"
#include "tests/support/cases.h"

namespace norma::test {

using namespace kernels;

struct ConvolutionCase {
  std::string name;
  std::int64_t n, c, h, w, filters;
  Window window;
  std::int64_t groups = 1;

  ConvShape shape(int lanes) const {
    const auto size = [](std::int64_t in, std::int32_t kernel, std::int32_t stride, std::int32_t pad, std::int32_t dilation) {
      return (in + 2 * pad - dilation * (kernel - 1) - 1) / stride + 1;
    };
    const Window& v = window;
    return {
        {n, c, h, w, lanes},
        {n, filters, size(h, v.kernel_h, v.stride_h, v.pad_h, v.dilation_h), size(w, v.kernel_w, v.stride_w, v.pad_w, v.dilation_w), lanes},
        window,
        groups};
  }
};

// GoogleTest's text for a parameter.
void PrintTo(const ConvolutionCase& c, std::ostream* out) { *out << c.name; }

namespace {

struct Inputs {
  std::vector<float> x, w, b, dy;
};

// cuDNN's side of one convolution.
class CudnnSide {
 public:
  struct Result {
    std::string name;  // of the algorithm
    std::vector<float> values;
  };

  CudnnSide(const std::string& subject, const ConvShape& s, const Inputs& in) : subject_(subject), s_(s), convolution_(s) {
    x_ = data_.in("x", in.x);
    w_ = data_.in("w", in.w);
    b_ = data_.in("b", in.b);
    dy_ = data_.in("dy", in.dy);
  }

  Result forward() {
    return result("forward", s_.y.count(), [&](void* y) { return convolution_.forward(at(x_), at(w_), at(b_), y); });
  }
  Result backward_input() {
    return result("backward input", s_.x.count(), [&](void* dx) { return convolution_.backward_input(at(dy_), at(w_), dx); });
  }
  Result backward_weight() {
    return result("backward weight", s_.weights(), [&](void* dw) { return convolution_.backward_weight(at(dy_), at(x_), dw); });
  }
  Result backward_bias() {
    return result("backward bias", s_.y.c, [&](void* db) {
      convolution_.backward_bias(at(dy_), db);
      return "bias";
    });
  }

 private:
  std::byte* at(ValueId id) const { return data_.address(id); }

  // No values and a note where cuDNN runs no algorithm.
  template <class Run>
  Result result(const char* what, std::int64_t elements, Run run) {
    const ValueId out = data_.out(what, elements);
    try {
      const std::string name = run(at(out));
      return {name, data_.read(out)};
    } catch (const Unsupported& e) {
      note_unsupported(subject_, std::string("convolution ") + what, e.what());
      return {what, {}};
    }
  }

  std::string subject_;
  ConvShape s_;
  bench::CudnnConvolution convolution_;
  DeviceValues data_;
  ValueId x_, w_, b_, dy_;
};

class ConvolutionParity : public ::testing::TestWithParam<ConvolutionCase> {
 protected:
  void SetUp() override {
    if (!unavailable().empty()) GTEST_SKIP() << unavailable();
  }
};

TEST_P(ConvolutionParity, IsAsCloseToDoubleAsCudnn) {
  const ConvolutionCase& c = GetParam();
  const std::string subject = "conv " + c.name;
  const ConvShape plain = c.shape(1);
  const std::int64_t terms = plain.channels_per_group() * plain.window.area(), pixels = plain.y.n * plain.y.plane();
  Random random(20261122);
  const double deviation = 1 / std::sqrt(static_cast<double>(terms));
  const Inputs in{random.normals(plain.x.count()), random.normals(plain.weights(), 0, deviation), random.normals(plain.y.c, 0, deviation),
                  random.normals(plain.y.count())};
  CudnnSide cudnn(subject, plain, in);
  const CudnnSide::Result y = cudnn.forward(), dx = cudnn.backward_input(), dw = cudnn.backward_weight(), db = cudnn.backward_bias();

  for (int lanes : {1, kernels::cuda::lanes}) {
    const ConvShape s = c.shape(lanes);
    CallValues v;
    const ValueId x = v.in("x", s.x, in.x), w = v.in("w", flat(s.weights()), in.w), b = v.in("b", flat(s.y.c), in.b);
    const ValueId gradient = v.in_gradient("dy", s.y, in.dy);
    const Conv2dForward forward{.y = v.out("y", s.y), .x = x, .w = w, .b = b, .shape = s};
    const Conv2dBackwardInput backward_input{.dx = v.out("dx", s.x), .dy = gradient, .w = w, .shape = s};
    Conv2dBackwardWeight backward_weight{.dy = gradient, .x = x, .shape = s};
    backward_weight.dw = v.out("dw", flat(s.weights()));
    backward_weight.db = v.out("db", flat(s.y.c));
    backward_weight.partial = v.scratch("partial", backward_weight.partial_elements() * 4);
    v.run(forward);
    v.run(backward_input);
    v.run(backward_weight);

    // A sum of normal numbers may be small by chance. Its error is still that of its terms: sqrt(pixels) of size 1.
    const auto check_output = [&](const char* name, ValueId id, std::int64_t sum, double least_scale, const CudnnSide::Result& theirs) {
      Quantity q{.name = name, .expected = v.expected(id), .floor = sum_floor(sum)};
      q.scale = std::max(largest(q.expected), least_scale);
      const Yardstick yardstick{theirs.name, theirs.values};
      compare(subject, name_of(lanes == 1 ? Layout::nchw : Layout::lanes), q, v.norma(id), {&yardstick, 1});
    };
    const double root = std::sqrt(static_cast<double>(pixels));
    check_output("y", forward.y, terms, 0, y);
    check_output("dx", backward_input.dx, plain.filters_per_group() * plain.window.area(), 0, dx);
    check_output("dw", backward_weight.dw, pixels, root, dw);
    check_output("db", backward_weight.db, pixels, root, db);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, ConvolutionParity,
                         ::testing::Values(ConvolutionCase{"lenet1", 256, 1, 28, 28, 6, {5, 5}},
                                           ConvolutionCase{"lenet2", 256, 6, 12, 12, 16, {5, 5}},
                                           ConvolutionCase{"odd_lenet2", 37, 6, 12, 12, 16, {5, 5}},
                                           ConvolutionCase{"resnet_3x3", 4, 64, 28, 28, 64, {3, 3, 1, 1, 1, 1}},
                                           ConvolutionCase{"pointwise", 16, 17, 5, 3, 6, {1, 1}},
                                           ConvolutionCase{"stride2_pad1", 17, 3, 9, 8, 4, {3, 3, 2, 2, 1, 1}},
                                           ConvolutionCase{"kernel_4x2_stride_3x2", 17, 3, 13, 10, 4, {4, 2, 3, 2}},
                                           ConvolutionCase{"pad_2x0", 17, 3, 5, 7, 4, {3, 3, 1, 1, 2, 0}},
                                           ConvolutionCase{"dilation_2x3", 17, 3, 9, 11, 4, {3, 3, 1, 1, 0, 0, 2, 3}},
                                           ConvolutionCase{"dilation_stride_pad", 17, 3, 11, 10, 4, {3, 2, 2, 3, 2, 1, 2, 2}},
                                           ConvolutionCase{"many_channels_stride2", 3, 65, 9, 13, 33, {3, 3, 2, 2, 1, 1}},
                                           ConvolutionCase{"groups2", 17, 6, 6, 7, 8, {3, 3, 1, 1, 1, 1}, 2},
                                           ConvolutionCase{"depthwise", 17, 6, 7, 6, 6, {3, 3, 1, 1, 1, 1}, 6}),
                         [](const auto& p) { return p.param.name; });

}  // namespace
}  // namespace norma::test
