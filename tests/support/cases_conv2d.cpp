// Cases: convolutions.
#include <algorithm>

#include "tests/support/cases_layer.h"

namespace norma::test {
namespace {

using namespace kernels;

struct Convolution {
  std::string name;
  std::int64_t n, c, h, w, k;
  Window window;
  std::int64_t groups = 1;
  bool bias = true;
  std::int64_t chunks = 1;
  Precision precision = Precision::fp32;
};

std::int64_t output_size(std::int64_t in, std::int32_t kernel, std::int32_t stride, std::int32_t pad, std::int32_t dilation) {
  return (in + 2 * pad - dilation * (kernel - 1) - 1) / stride + 1;
}

ConvShape shape_of(const Convolution& p, const CallCase& c) {
  const Window& win = p.window;
  return {c.dims(p.n, p.c, p.h, p.w),
          c.dims(p.n, p.k, output_size(p.h, win.kernel_h, win.stride_h, win.pad_h, win.dilation_h),
                 output_size(p.w, win.kernel_w, win.stride_w, win.pad_w, win.dilation_w)),
          win, p.groups};
}

CallCase forward(const Convolution& p, int lanes) {
  CallCase c(lanes);
  const ConvShape s = shape_of(p, c);
  const std::int64_t fan_in = s.channels_per_group() * s.window.area();
  Conv2dForward call{.shape = s, .precision = p.precision};
  call.y = c.out("y", s.y);
  call.x = c.in("x", s.x, normal());
  call.w = c.flat("w", s.weights(), weights(fan_in));
  if (p.bias) call.b = c.flat("b", s.y.c, weights(fan_in));
  return c.call(call);
}

CallCase backward_input(const Convolution& p, int lanes) {
  CallCase c(lanes);
  const ConvShape s = shape_of(p, c);
  Conv2dBackwardInput call{.shape = s, .precision = p.precision};
  call.dx = c.out_gradient("dx", s.x);
  call.dy = c.in_gradient("dy", s.y);
  call.w = c.flat("w", s.weights(), weights(s.filters_per_group() * s.window.area()));
  return c.call(call);
}

// The forward pass of a transposed convolution: padding lanes are not 0, neither before nor after. output_padding: rows and columns of dx
// that no element of dy reaches.
CallCase transposed(const Convolution& p, int lanes, std::int64_t output_padding = 0) {
  CallCase c(lanes);
  ConvShape s = shape_of(p, c);
  s.y.h -= output_padding, s.y.w -= output_padding;
  const std::int64_t fan_in = s.filters_per_group() * s.window.area();
  Conv2dBackwardInput call{.shape = s, .precision = p.precision};
  call.dx = c.out("dx", s.x);
  call.dy = c.in("dy", s.y, normal());
  call.w = c.flat("w", s.weights(), weights(fan_in));
  call.b = c.flat("b", s.x.c, weights(fan_in));
  return c.call(call);
}

CallCase backward_weight(const Convolution& p, int lanes) {
  CallCase c(lanes);
  const ConvShape s = shape_of(p, c);
  Conv2dBackwardWeight call{.shape = s, .precision = p.precision};
  call.chunks = std::min(p.chunks, s.x.packs());
  call.dw = c.flat("dw", s.weights());
  if (p.bias) call.db = c.flat("db", s.y.c);
  call.partial = c.scratch("partial", call.partial_elements() * 4);
  call.dy = c.in_gradient("dy", s.y);
  call.x = c.in("x", s.x, normal());
  return c.call(call);
}

const std::vector<Convolution>& convolutions() {
  static const std::vector<Convolution> list = {
      {"lenet1", 17, 1, 28, 28, 6, {5, 5}},
      {"lenet2", 37, 6, 12, 12, 16, {5, 5}, 1, true, 3},
      {"one_sample_one_pixel", 1, 1, 1, 1, 1, {1, 1}},
      {"pointwise", 16, 17, 5, 3, 6, {1, 1}},
      {"pointwise_padded", 5, 3, 4, 5, 6, {1, 1, 1, 1, 1, 0}},
      {"n1", 1, 3, 7, 6, 5, {3, 3, 1, 1, 1, 1}},
      {"n15", 15, 3, 6, 7, 4, {3, 3}},
      {"n16", 16, 3, 6, 7, 4, {3, 3}},
      {"n17_chunks2", 17, 3, 6, 7, 4, {3, 3}, 1, true, 2},
      {"n81_chunks4", 81, 2, 5, 5, 3, {3, 3}, 1, true, 4},
      {"no_bias", 17, 3, 6, 7, 7, {3, 3}, 1, false},
      {"c17_k17", 5, 17, 6, 5, 17, {3, 3}},
      {"k33", 3, 4, 5, 5, 33, {3, 3, 1, 1, 1, 1}},
      {"kernel_1x5", 17, 3, 5, 9, 4, {1, 5}},
      {"kernel_1x35_pad17", 17, 2, 4, 21, 3, {1, 35, 1, 1, 0, 17}},
      {"kernel_4x2_stride_3x2", 17, 3, 13, 10, 4, {4, 2, 3, 2}},
      {"stride2_pad1", 17, 3, 9, 8, 4, {3, 3, 2, 2, 1, 1}},
      {"stride_beyond_kernel", 17, 2, 11, 12, 3, {2, 2, 4, 3}},
      {"pad_2x0", 17, 3, 5, 7, 4, {3, 3, 1, 1, 2, 0}},
      {"pad_beyond_kernel", 5, 2, 4, 3, 3, {2, 2, 1, 1, 3, 2}},
      {"dilation_2x3", 17, 3, 9, 11, 4, {3, 3, 1, 1, 0, 0, 2, 3}},
      {"dilation_stride_pad", 17, 3, 11, 10, 4, {3, 2, 2, 3, 2, 1, 2, 2}},
      {"kernel_as_large_as_input", 17, 3, 7, 5, 4, {7, 5}},
      {"kernel_11_pad5", 3, 3, 12, 12, 4, {11, 11, 1, 1, 5, 5}},
      {"kernel_beyond_input", 17, 2, 3, 2, 3, {5, 4, 1, 1, 2, 2}},
      {"groups2", 17, 6, 6, 7, 8, {3, 3, 1, 1, 1, 1}, 2},
      {"groups3_odd", 17, 3, 6, 7, 9, {3, 3}, 3},
      {"depthwise", 17, 6, 7, 6, 6, {3, 3, 1, 1, 1, 1}, 6, false},
      // Few filters: their weights are cut into more blocks than one, of channels and of taps.
      {"few_filters_of_many_channels", 3, 37, 5, 4, 3, {3, 1}},
      {"few_filters_of_many_taps", 2, 2, 4, 40, 3, {2, 37}},
      // Many channels: tiles of outputs, blocks of channels, filters and positions with their remainders.
      {"many_channels_7x7", 17, 67, 7, 7, 35, {3, 3, 1, 1, 1, 1}, 1, true, 2},
      {"many_channels_stride2_pad1", 3, 65, 9, 13, 33, {3, 3, 2, 2, 1, 1}},
      {"many_channels_pointwise", 17, 130, 5, 7, 40, {1, 1}},
      {"many_channels_pointwise_stride2", 3, 64, 9, 8, 33, {1, 1, 2, 2}},
      {"many_filters_pointwise", 2, 33, 3, 3, 131, {1, 1}},
      {"wide_rows", 1, 16, 3, 143, 32, {3, 3, 1, 1, 1, 1}},
      {"narrow_rows", 1, 40, 31, 2, 32, {3, 2, 1, 1, 1, 1}},
      {"many_channels_dilation_2x3", 2, 33, 9, 11, 32, {3, 3, 1, 1, 2, 3, 2, 3}},
      {"many_channels_dilation_stride", 2, 32, 13, 12, 33, {3, 2, 2, 3, 2, 1, 2, 2}},
      {"many_channels_7x5_stride2", 2, 17, 13, 17, 32, {7, 5, 2, 2, 3, 2}},
      {"kernel_beyond_tile", 1, 2, 20, 20, 33, {17, 17, 1, 1, 8, 8}},
      {"dilation_beyond_tile", 1, 2, 64, 64, 32, {3, 3, 1, 1, 30, 30, 30, 30}},
      {"many_channels_beyond_tile", 1, 16, 62, 88, 16, {3, 3, 1, 1, 0, 0, 30, 30}},
      {"many_channels_beyond_every_tile", 1, 16, 122, 122, 16, {3, 3, 1, 1, 0, 0, 60, 60}},
      {"groups2_many_channels", 3, 66, 6, 7, 70, {3, 3, 1, 1, 1, 1}, 2},
      {"depthwise_multiplier_dilated", 5, 5, 9, 8, 10, {3, 3, 2, 1, 2, 2, 2, 2}, 5},
  };
  return list;
}

// Convolutions that tensor cores compute differently. One tile and several of filters, taps, columns; their remainders; every path of
// reading the input.
const std::vector<Convolution>& rounded_convolutions() {
  static const std::vector<Convolution> list = [] {
    std::vector<Convolution> rounded;
    for (const auto& each : {std::pair{"lenet1", Precision::tf32},
                             {"lenet2", Precision::bf16},
                             {"one_sample_one_pixel", Precision::bf16},
                             {"n17_chunks2", Precision::tf32},
                             {"no_bias", Precision::bf16},
                             {"stride2_pad1", Precision::tf32},
                             {"dilation_stride_pad", Precision::bf16},
                             {"groups2", Precision::tf32},
                             {"few_filters_of_many_taps", Precision::tf32},
                             {"depthwise", Precision::bf16},
                             {"many_channels_pointwise", Precision::tf32},
                             {"many_channels_stride2_pad1", Precision::bf16},
                             {"groups2_many_channels", Precision::bf16}}) {
      rounded.push_back(
          *std::find_if(convolutions().begin(), convolutions().end(), [&](const Convolution& c) { return c.name == each.first; }));
      rounded.back().precision = each.second;
      rounded.back().name += std::string("_") + name_of(each.second);
    }
    // Enough columns that a block makes 64 filters.
    rounded.push_back({"many_columns_tf32", 1, 3, 17, 17, 65, {1, 1}, 1, true, 1, Precision::tf32});
    rounded.push_back({"many_columns_bf16", 1, 65, 17, 17, 66, {1, 1}, 1, true, 1, Precision::bf16});
    rounded.push_back({"many_columns_stride2_tf32", 1, 65, 17, 17, 3, {3, 3, 2, 2, 1, 1}, 1, true, 1, Precision::tf32});
    rounded.push_back({"many_columns_stride2_bf16", 1, 65, 17, 17, 3, {3, 3, 2, 2, 1, 1}, 1, true, 1, Precision::bf16});
    return rounded;
  }();
  return list;
}

// Input gradients of all shapes run without a bias; with one, a shape of each kernel and of each way to its pixels.
bool adds_bias_in_its_own_way(const Convolution& p) {
  constexpr std::string_view names[] = {"lenet1",
                                        "pointwise",
                                        "n17_chunks2",
                                        "kernel_4x2_stride_3x2",
                                        "pad_2x0",
                                        "dilation_stride_pad",
                                        "groups2",
                                        "stride2_pad1",
                                        "depthwise",
                                        "many_channels_7x7",
                                        "kernel_beyond_tile",
                                        "many_channels_pointwise_stride2"};
  return p.precision != Precision::fp32 || std::ranges::find(names, p.name) != std::end(names);
}

}  // namespace

void add_conv2d_cases(std::vector<Case>& table) {
  for (const std::vector<Convolution>* list : {&convolutions(), &rounded_convolutions()})
    for (const Convolution& p : *list) {
      table.push_back({"conv2d_forward_" + p.name, [&p](int lanes) { return forward(p, lanes); }});
      table.push_back({"conv2d_backward_input_" + p.name, [&p](int lanes) { return backward_input(p, lanes); }});
      if (p.bias && adds_bias_in_its_own_way(p))
        table.push_back({"conv2d_backward_input_transposed_" + p.name, [&p](int lanes) { return transposed(p, lanes); }});
      table.push_back({"conv2d_backward_weight_" + p.name, [&p](int lanes) { return backward_weight(p, lanes); }});
    }
  static const Convolution padded[] = {{"pointwise_output_padding", 17, 3, 4, 5, 6, {1, 1, 1, 1, 0, 0, 2, 2}},
                                       {"many_channels_pointwise_output_padding", 3, 66, 5, 7, 40, {1, 1, 1, 1, 0, 0, 2, 2}}};
  for (const Convolution& p : padded)
    table.push_back({"conv2d_backward_input_transposed_" + p.name, [&p](int lanes) { return transposed(p, lanes, 1); }});
  const auto add_statistics = [&](const Convolution& p) {
    table.push_back({"conv2d_forward_batch_norm_statistics_" + p.name, [&p](int lanes) {
                       CallCase c = forward(p, lanes);
                       const Dims y = std::get<Conv2dForward>(c.plan.calls[0].call).shape.y;
                       return with_statistics<Conv2dForward>(std::move(c), y);
                     }});
  };
  const auto add_reduce = [&](const Convolution& p) {
    table.push_back({"conv2d_backward_input_batch_norm_backward_reduce_" + p.name, [&p](int lanes) {
                       CallCase c = backward_input(p, lanes);
                       const Dims x = std::get<Conv2dBackwardInput>(c.plan.calls[0].call).shape.x;
                       return with_reduce<Conv2dBackwardInput>(std::move(c), x, p.n % 2 ? Activation::relu : Activation::none);
                     }});
  };
  for (const char* name :
       {"lenet1", "lenet2", "n1", "n17_chunks2", "stride2_pad1", "groups2", "depthwise", "many_channels_7x7", "kernel_1x35_pad17"}) {
    const auto& p = *std::find_if(convolutions().begin(), convolutions().end(), [&](const Convolution& c) { return c.name == name; });
    add_statistics(p), add_reduce(p);
  }
  // So many pixels that a thread of the GPU takes four of them, or a block eight filters.
  static const Convolution four_pixels{"four_pixels", 32, 2, 66, 64, 3, {3, 3, 1, 1, 1, 1}},
      four_pixels_pointwise{"four_pixels_pointwise", 32, 1, 66, 64, 3, {1, 1}},
      four_pixels_of_eight{"four_pixels_of_eight", 32, 9, 33, 64, 9, {3, 3, 1, 1, 1, 1}},
      four_pixels_of_eight_pointwise{"four_pixels_of_eight_pointwise", 32, 12, 33, 64, 12, {1, 1}},
      four_pixels_large_kernel{"four_pixels_large_kernel", 32, 1, 33, 64, 9, {1, 35, 1, 1, 0, 17}},
      four_pixels_stride2{"four_pixels_stride2", 32, 9, 33, 64, 3, {3, 3, 2, 2, 1, 1}},
      of_eight{"of_eight", 32, 5, 17, 64, 5, {3, 3, 1, 1, 1, 1}}, of_eight_pointwise{"of_eight_pointwise", 32, 12, 17, 64, 12, {1, 1}};
  for (const Convolution* p :
       {&four_pixels, &four_pixels_pointwise, &four_pixels_of_eight, &four_pixels_of_eight_pointwise, &of_eight, &of_eight_pointwise})
    add_statistics(*p), add_reduce(*p);
  add_reduce(four_pixels_stride2), add_statistics(four_pixels_large_kernel);
  for (const Convolution* p : {&four_pixels, &four_pixels_pointwise, &four_pixels_of_eight, &four_pixels_of_eight_pointwise})
    table.push_back({"conv2d_forward_" + p->name, [p](int lanes) { return forward(*p, lanes); }});
  table.push_back({"conv2d_backward_input_four_pixels_stride2", [](int lanes) { return backward_input(four_pixels_stride2, lanes); }});
}

void add_large_conv2d_cases(std::vector<Case>& table) {
  constexpr std::int64_t many = beyond_16_bits;
  for (const Convolution& p : std::vector<Convolution>{{"many_samples", many, 2, 4, 4, 3, {3, 3}, 1, true, 40},
                                                       {"many_filters", 3, 2, 2, 3, many, {1, 1}},
                                                       {"many_channels", 3, many, 2, 3, 2, {1, 1}},
                                                       {"depthwise_many_channels", 3, many, 3, 3, many, {3, 3, 1, 1, 1, 1}, many}}) {
    table.push_back({"conv2d_forward_" + p.name, [p](int lanes) { return forward(p, lanes); }});
    table.push_back({"conv2d_backward_input_" + p.name, [p](int lanes) { return backward_input(p, lanes); }});
    table.push_back({"conv2d_backward_weight_" + p.name, [p](int lanes) { return backward_weight(p, lanes); }});
  }
}

}  // namespace norma::test
