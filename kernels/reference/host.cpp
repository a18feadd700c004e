// Reference: functions of the host, which know floats alone. The error that inputs carry is passed on by running the function a second
// time, on inputs that are off by it.
#include <cmath>

#include "kernels/reference/reference.h"

namespace norma::reference {

using namespace kernels;

namespace {

double error_of(double) { return 0; }
double error_of(const Tracked& x) { return std::sqrt(x.e2); }

// The number that a function of the host gave, and gave for inputs that are off.
double with_error(double value, double, const double&) { return value; }
Tracked with_error(double value, double off, const Tracked&) { return Tracked::rounded(value, (off - value) * (off - value)); }

// A tensor as floats, in NCHW order.
struct OnHost {
  std::vector<float> values;
  HostTensor tensor() { return {values.data(), static_cast<std::int64_t>(values.size())}; }
};

template <class T>
OnHost read(const Dims& dims, const T* x, bool off) {
  OnHost t;
  for_each_element(dims, [&](auto n, auto c, auto h, auto w) {
    const T& v = x[dims.index(n, c, h, w)];
    t.values.push_back(static_cast<float>(value(v) + (off ? error_of(v) : 0)));
  });
  return t;
}

template <class T>
void write(const Dims& dims, const OnHost& exact, const OnHost& off, T* to) {
  std::size_t i = 0;
  for_each_element(dims, [&](auto n, auto c, auto h, auto w) {
    to[dims.index(n, c, h, w)] = with_error(static_cast<double>(exact.values[i]), static_cast<double>(off.values[i]), T());
    ++i;
  });
}

}  // namespace

template <class T>
void run(const HostFunction& call, const Memory<T>& m) {
  std::array<OnHost, HostFunction::most> outputs[2];
  for (const bool off : {false, true}) {
    std::array<OnHost, HostFunction::most> inputs;
    HostFunction::Tensors out{}, in{};
    for (std::size_t i = 0; i < call.most; ++i) {
      if (call.outputs[i]) outputs[off][i].values.assign(static_cast<std::size_t>(call.output_dims[i].count()), 0.0f);
      if (call.inputs[i]) inputs[i] = read(call.input_dims[i], m.floats(call.inputs[i]), off);
      out[i] = outputs[off][i].tensor(), in[i] = inputs[i].tensor();
    }
    call.function(call.context, out, in);
  }
  for (std::size_t i = 0; i < call.most; ++i)
    if (call.outputs[i]) write(call.output_dims[i], outputs[0][i], outputs[1][i], m.floats(call.outputs[i]));
}

template <class T>
void run(const HostLoss& call, const Memory<T>& m) {
  const Dims& d = call.dims;
  std::vector<std::int32_t> labels;
  for (std::int64_t n = 0; n < d.n && call.labels; ++n) labels.push_back(static_cast<std::int32_t>(m.integers(call.labels)[n]));
  OnHost dx[2];
  double found[2];
  Loss<T> loss;
  for (const bool off : {false, true}) {
    OnHost x = read(d, m.floats(call.x), off), target = call.target ? read(d, m.floats(call.target), off) : OnHost{};
    if (call.dx) dx[off].values.assign(static_cast<std::size_t>(d.count()), 0.0f);
    found[off] = call.function(call.context, d.n, x.tensor(), target.tensor(), call.labels ? labels.data() : nullptr, dx[off].tensor());
    if (!off && call.labels) loss.correct = count_correct(d, x.values.data(), labels.data());
  }
  if (call.dx) write(d, dx[0], dx[1], m.floats(call.dx));
  loss.loss = with_error(found[0], found[1], T());
  loss.loss_sum = loss.loss * T(static_cast<double>(d.n));
  loss.counted = d.n;
  *m.loss(call.loss) = loss;
}

// ---- both number types

template void run(const HostFunction&, const Memory<double>&);
template void run(const HostFunction&, const Memory<Tracked>&);
template void run(const HostLoss&, const Memory<double>&);
template void run(const HostLoss&, const Memory<Tracked>&);

}  // namespace norma::reference
