// Cases: functions of the host.
#include <tuple>

#include "tests/support/cases.h"

namespace norma::test {
namespace {

using namespace kernels;

// outputs[0] = inputs[0] + 2 inputs[1] element by element; outputs[1][k] = the sum over samples and pixels of inputs[0] * inputs[2][k].
void mixed(const void*, const HostFunction::Tensors& out, const HostFunction::Tensors& in) {
  for (std::int64_t i = 0; i < in[0].elements; ++i) out[0].values[i] = in[0].values[i] + 2 * in[1].values[i];
  for (std::int64_t k = 0; k < out[1].elements; ++k)
    for (std::int64_t i = 0; i < in[0].elements; ++i) out[1].values[k] += in[0].values[i] * in[2].values[k];
}

CallCase host_function(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w, int lanes) {
  CallCase of(lanes);
  const Dims d = of.dims(n, c, h, w), flat{.n = 1, .c = 5};
  HostFunction call{.input_dims = {d, d, flat}, .function = mixed};
  call.output_dims = {d, flat};
  call.outputs = {of.out_gradient("y", d), of.flat("sums", 5)};
  call.inputs = {of.in("a", d, normal()), of.in("b", d, normal()), of.flat("w", 5, normal())};
  return of.call(call);
}

// The sum over samples of x[f] (f + 1) x[f] / 2 + target[f] x[f], whose gradient is (f + 1) x[f] + target[f]; by label in place of target.
double weighted_squares(const void*, std::int64_t samples, const HostTensor& x, const HostTensor& target, const std::int32_t* labels,
                        const HostTensor& dx) {
  const std::int64_t features = x.elements / samples;
  double loss = 0;
  for (std::int64_t i = 0; i < x.elements; ++i) {
    const auto weight = static_cast<float>(i % features + 1);
    const float t = labels ? static_cast<float>(labels[i / features]) : target.values[i];
    loss += static_cast<double>(x.values[i] * (weight * x.values[i] / 2 + t));
    if (dx.values) dx.values[i] = weight * x.values[i] + t;
  }
  return loss;
}

CallCase host_loss(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w, bool labelled, bool gradient, int lanes) {
  CallCase of(lanes);
  HostLoss call{.dims = of.dims(n, c, h, w), .function = weighted_squares};
  call.loss = of.add_loss();
  if (gradient) call.dx = of.out_gradient("dx", call.dims);
  call.x = of.in("x", call.dims, normal());
  const auto label = [c](std::int64_t, Random& r) { return static_cast<double>(r.below(c)); };
  if (labelled) call.labels = of.flat("labels", n, label, DType::i32);
  else call.target = of.in("target", call.dims, normal());
  return of.call(call);
}

}  // namespace

void add_host_cases(std::vector<Case>& table) {
  table.push_back({"host_function_n1", [](int lanes) { return host_function(1, 1, 1, 1, lanes); }});
  table.push_back({"host_function_n17", [](int lanes) { return host_function(17, 3, 1, 1, lanes); }});
  table.push_back({"host_function_images_n33", [](int lanes) { return host_function(33, 2, 3, 5, lanes); }});
  for (const auto& [name, n, c, h, w] : std::vector<std::tuple<std::string, int, int, int, int>>{
           {"n1", 1, 1, 1, 1}, {"n17", 17, 3, 1, 1}, {"n37", 37, 10, 1, 1}, {"images", 33, 2, 3, 5}})
    for (const bool labelled : {false, true})
      for (const bool gradient : {true, false}) {
        if (labelled && h > 1) continue;
        table.push_back({"host_loss_" + name + (labelled ? "_labels" : "") + (gradient ? "" : "_no_gradient"),
                         [=, n = n, c = c, h = h, w = w](int lanes) { return host_loss(n, c, h, w, labelled, gradient, lanes); }});
      }
}

}  // namespace norma::test
