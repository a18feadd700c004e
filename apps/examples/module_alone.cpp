// A module of your own, run alone. Inputs, parameters and the upstream gradient go in by name; every result comes out by name. The expected
// results are known here without norma; the program fails if a result differs.
#include <norma/norma.h>

#include <cmath>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

namespace {

// Anything with Value operator()(Builder&, Value) const is a module. It sees shapes, never data.
// y = x + conv(relu(bn(x))), the residual block of He et al., "Identity mappings in deep residual networks" (2016).
struct PreActivationBlock {
  norma::Value operator()(norma::Builder& b, norma::Value x) const {
    namespace nn = norma::nn;
    if (b.shape(x).rank() != 4) b.fail("expects (N, C, H, W), got " + to_string(b.shape(x)));
    const nn::Conv2d conv{.out = b.shape(x)[1], .kernel = 3, .padding = 1, .bias = false};
    return nn::Residual{nn::Sequential{nn::BatchNorm{}, nn::ReLU{}, conv}}(b, x);
  }
};

// Prints a tensor; returns whether its first values are the expected ones.
bool show(const norma::ModuleRunner& run, const std::string& name, const std::vector<float>& expected) {
  const std::vector<float> values = run.read(name);
  std::printf("%-28s%-14s", name.c_str(), to_string(run.shape(name)).c_str());
  bool equal = values.size() >= expected.size();
  for (std::size_t i = 0; i < expected.size() && equal; ++i) {
    std::printf(" %8.4f", static_cast<double>(values[i]));
    equal = std::fabs(values[i] - expected[i]) <= 1e-5f * (1 + std::fabs(expected[i]));
  }
  std::printf("%s\n", equal ? "" : "   <- not what it should be");
  return equal;
}

}  // namespace

int main() try {
  norma::ModuleRunner run{PreActivationBlock{}, {1, 3, 3, 3}};
  std::fputs(run.graph().print().c_str(), stdout);

  std::vector<float> x(27), dy(27, 1.0f);
  std::iota(x.begin(), x.end(), 0.0f);
  run.write("x", x);
  run.write("dy", dy);
  run.write("body.conv1.weight", std::vector<float>(3 * 3 * 3 * 3, 0.0f));  // the block starts as the identity
  run.step();

  bool right = show(run, "y", {0, 1, 2, 3, 4, 5});
  right &= show(run, "dx", {1, 1, 1, 1, 1, 1});
  right &= show(run, "body/relu1", {0, 0, 0, 0, 0, 0.387298f, 0.774597f, 1.161895f, 1.549193f});  // of channel 0
  // Each tap of the kernel sums the part of relu(bn(x)) = 0 0 0 / 0 0 u / 2u 3u 4u that it passes over.
  const float u = 0.387298f;
  right &= show(run, "body.conv1.weight.grad", {0, u, u, 5 * u, 10 * u});
  right &= show(run, "body.bn1.running_mean", {0.4f, 1.3f, 2.2f});    // 0.9 * 0 + 0.1 * the mean
  right &= show(run, "body.bn1.running_var", {1.65f, 1.65f, 1.65f});  // 0.9 * 1 + 0.1 * the unbiased variance
  std::printf("%s\n", right ? "all as it should be" : "something is wrong");
  return right ? 0 : 1;
} catch (const norma::Error& e) {
  std::fprintf(stderr, "module_alone: %s\n", e.what());
  return e.exit_code();
}
