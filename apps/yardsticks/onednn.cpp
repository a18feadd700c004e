// oneDNN as a yardstick: norma_onednn.so, loaded by `norma bench ops`.
#include "apps/yardsticks/onednn.h"

#include <omp.h>

#include <chrono>
#include <cstdio>
#include <dnnl.hpp>
#include <exception>
#include <memory>
#include <string>
#include <unordered_map>

namespace {

using dnnl::algorithm;
using dnnl::memory;
using dnnl::prop_kind;
using Tag = memory::format_tag;

memory::desc any(const memory::dims& dims) { return {dims, memory::data_type::f32, Tag::any}; }
memory::desc plain(const memory::dims& dims) {
  return {dims, memory::data_type::f32, dims.size() == 4 ? Tag::abcd : dims.size() == 2 ? Tag::ab : Tag::a};
}

struct Operation {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::primitive primitive;
  std::unordered_map<int, memory> arguments;
  std::string implementation;
  memory::desc result_plain;
  int result = 0, threads = 1;

  void reorder(memory from, memory to) {
    dnnl::reorder(from, to).execute(stream, from, to);
    stream.wait();
  }
  // An operand in the layout the primitive asked for.
  void input(int argument, const memory::desc& wanted, const memory::dims& dims, const float* values) {
    memory source(plain(dims), engine, const_cast<float*>(values)), operand(wanted, engine);
    reorder(source, operand);
    arguments.emplace(argument, operand);
  }
  void output(int argument, const memory::desc& chosen, const memory::dims& dims) {
    arguments.emplace(argument, memory(chosen, engine));
    result = argument;
    result_plain = plain(dims);
  }
  // Gradients of the bias are computed with those of the weights, and not read.
  void side_output(int argument, const memory::desc& chosen) { arguments.emplace(argument, memory(chosen, engine)); }
};

dnnl::primitive_attr strict() {
  dnnl::primitive_attr a;
  a.set_fpmath_mode(dnnl::fpmath_mode::strict);
  return a;
}

struct Tensors {
  memory::dims x, w, b, y;
};

// Common parts of convolution and inner product, given their primitive descriptors.
template <class Forward, class BackwardInput, class BackwardWeight, class ForwardDesc, class BackwardInputDesc, class BackwardWeightDesc>
void build(Operation& op, std::int32_t pass, bool bias, const Tensors& t, const NormaOnednnData& data, const ForwardDesc& forward,
           const BackwardInputDesc& backward_input, const BackwardWeightDesc& backward_weight) {
  const dnnl::primitive_attr attributes = strict();
  const typename Forward::primitive_desc hint(forward, attributes, op.engine);
  if (pass == norma_onednn_forward) {
    op.primitive = Forward(hint);
    op.implementation = hint.impl_info_str();
    op.input(DNNL_ARG_SRC, hint.src_desc(), t.x, data.x);
    op.input(DNNL_ARG_WEIGHTS, hint.weights_desc(), t.w, data.weight);
    if (bias) op.input(DNNL_ARG_BIAS, hint.bias_desc(), t.b, data.bias);
    op.output(DNNL_ARG_DST, hint.dst_desc(), t.y);
  } else if (pass == norma_onednn_backward_input) {
    const typename BackwardInput::primitive_desc d(backward_input, attributes, op.engine, hint);
    op.primitive = BackwardInput(d);
    op.implementation = d.impl_info_str();
    op.input(DNNL_ARG_DIFF_DST, d.diff_dst_desc(), t.y, data.dy);
    op.input(DNNL_ARG_WEIGHTS, d.weights_desc(), t.w, data.weight);
    op.output(DNNL_ARG_DIFF_SRC, d.diff_src_desc(), t.x);
  } else {
    const typename BackwardWeight::primitive_desc d(backward_weight, attributes, op.engine, hint);
    op.primitive = BackwardWeight(d);
    op.implementation = d.impl_info_str();
    op.input(DNNL_ARG_SRC, d.src_desc(), t.x, data.x);
    op.input(DNNL_ARG_DIFF_DST, d.diff_dst_desc(), t.y, data.dy);
    op.output(DNNL_ARG_DIFF_WEIGHTS, d.diff_weights_desc(), t.w);
    if (bias) op.side_output(DNNL_ARG_DIFF_BIAS, d.diff_bias_desc());
  }
}

void build_convolution(Operation& op, const NormaOnednnShape& s, std::int32_t pass, const NormaOnednnData& data) {
  const auto size = [&](std::int64_t in) { return (in + 2 * s.padding - s.kernel) / s.stride + 1; };
  const Tensors t{{s.n, s.c, s.h, s.w}, {s.filters, s.c, s.kernel, s.kernel}, {s.filters}, {s.n, s.filters, size(s.h), size(s.w)}};
  const memory::dims stride{s.stride, s.stride}, padding{s.padding, s.padding};
  const memory::desc x = any(t.x), w = any(t.w), b = s.bias ? any(t.b) : memory::desc(), y = any(t.y);
  using F = dnnl::convolution_forward;
  using I = dnnl::convolution_backward_data;
  using W = dnnl::convolution_backward_weights;
  const algorithm best = s.winograd ? algorithm::convolution_auto : algorithm::convolution_direct;
  build<F, I, W>(op, pass, s.bias != 0, t, data, F::desc(prop_kind::forward_training, best, x, w, b, y, stride, padding, padding),
                 I::desc(best, x, w, y, stride, padding, padding), W::desc(best, x, w, b, y, stride, padding, padding));
}

void build_inner_product(Operation& op, const NormaOnednnShape& s, std::int32_t pass, const NormaOnednnData& data) {
  const Tensors t{{s.n, s.c}, {s.filters, s.c}, {s.filters}, {s.n, s.filters}};
  const memory::desc x = any(t.x), w = any(t.w), b = s.bias ? any(t.b) : memory::desc(), y = any(t.y);
  using F = dnnl::inner_product_forward;
  using I = dnnl::inner_product_backward_data;
  using W = dnnl::inner_product_backward_weights;
  build<F, I, W>(op, pass, s.bias != 0, t, data, F::desc(prop_kind::forward_training, x, w, b, y), I::desc(x, w, y), W::desc(x, w, b, y));
}

void* create(const NormaOnednnShape* shape, std::int32_t pass, std::int32_t threads, const NormaOnednnData* data, char* error,
             std::size_t error_size) {
  try {
    omp_set_num_threads(threads);  // a primitive is compiled for this number
    auto op = std::make_unique<Operation>();
    op->threads = threads;
    if (shape->kind == norma_onednn_convolution) build_convolution(*op, *shape, pass, *data);
    else build_inner_product(*op, *shape, pass, *data);
    return op.release();
  } catch (const std::exception& e) {
    std::snprintf(error, error_size, "%s", e.what());
    return nullptr;
  }
}

double run(void* operation) {
  auto& op = *static_cast<Operation*>(operation);
  try {
    omp_set_num_threads(op.threads);
    const auto start = std::chrono::steady_clock::now();
    op.primitive.execute(op.stream, op.arguments);
    op.stream.wait();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  } catch (const std::exception&) {
    return -1;
  }
}

std::int32_t read(void* operation, float* result) {
  auto& op = *static_cast<Operation*>(operation);
  try {
    op.reorder(op.arguments.at(op.result), memory(op.result_plain, op.engine, result));
    return 1;
  } catch (const std::exception&) {
    return 0;
  }
}

const char* implementation(void* operation) { return static_cast<Operation*>(operation)->implementation.c_str(); }

void destroy(void* operation) { delete static_cast<Operation*>(operation); }

}  // namespace

extern "C" const NormaOnednn* norma_onednn() {
  static const std::string name = [] {
    const dnnl_version_t* v = dnnl_version();
    return "oneDNN " + std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
  }();
  static const NormaOnednn table{norma_onednn_version, name.c_str(), create, run, read, implementation, destroy};
  return &table;
}
