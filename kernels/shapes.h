// Geometry of Calls. Every float activation is stored "batch in lanes": [ceil(N/L)][C][H][W][L].
// L = 1 is plain NCHW, L = 16 the CPU's vector width, L = 32 a warp. (N,F) is (N,F,1,1), so Flatten moves nothing.
// Lanes of the last pack beyond N are padding: forward values there are finite and meaningless, gradients there are 0.
#pragma once
#include <cstdint>

namespace norma::kernels {

struct Dims {
  std::int64_t n = 0, c = 0, h = 1, w = 1;  // logical (N,C,H,W)
  std::int32_t lanes = 1;                   // L

  constexpr std::int64_t packs() const { return (n + lanes - 1) / lanes; }
  constexpr std::int64_t plane() const { return h * w; }
  constexpr std::int64_t count() const { return n * c * h * w; }                 // logical elements
  constexpr std::int64_t stored() const { return packs() * lanes * c * h * w; }  // elements in memory
  constexpr std::int64_t features() const { return c * h * w; }                  // per sample
  constexpr std::int64_t index(std::int64_t in, std::int64_t ic, std::int64_t ih, std::int64_t iw) const {
    return ((((in / lanes) * c + ic) * h + ih) * w + iw) * lanes + in % lanes;
  }
  constexpr int valid_lanes(std::int64_t pack) const {  // samples in this pack, 1..L
    const std::int64_t left = n - pack * lanes;
    return static_cast<int>(left < lanes ? left : lanes);
  }
  constexpr Dims with(std::int64_t channels, std::int64_t height, std::int64_t width) const { return {n, channels, height, width, lanes}; }
  friend constexpr bool operator==(const Dims&, const Dims&) = default;
};

// A sliding window over (H,W): input position = out * stride - pad + k * dilation.
struct Window {
  std::int32_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0, dilation_h = 1, dilation_w = 1;

  constexpr std::int64_t area() const { return std::int64_t{kernel_h} * kernel_w; }
  friend constexpr bool operator==(const Window&, const Window&) = default;
};

struct ConvShape {
  Dims x, y;  // y.c is the number of filters; weights are [y.c][x.c/groups][kernel_h][kernel_w]
  Window window;
  std::int64_t groups = 1;

  constexpr std::int64_t channels_per_group() const { return x.c / groups; }
  constexpr std::int64_t filters_per_group() const { return y.c / groups; }
  constexpr std::int64_t weights() const { return y.c * channels_per_group() * window.area(); }
  constexpr std::int64_t macs() const { return y.count() * channels_per_group() * window.area(); }
  constexpr void cut(std::int64_t n) { x.n = y.n = n; }
};

// Layer, instance and group norm: the channels of a sample in equal, neighbouring groups. All elements of a group are normalised together.
struct NormShape {
  Dims x;
  std::int64_t groups = 1;
  bool by_element = false;  // gamma and beta have an element for each of C*H*W; else for each of C

  constexpr std::int64_t group_elements() const { return x.features() / groups; }  // M
  constexpr std::int64_t affine() const { return by_element ? x.features() : x.c; }
  constexpr std::int64_t affine_run() const { return by_element ? 1 : x.plane(); }  // elements of a sample that share a gamma
  constexpr Dims statistics() const { return x.with(groups, 1, 1); }
  constexpr void cut(std::int64_t n) { x.n = n; }
};

struct PoolShape {
  Dims x, y;
  Window window;

  constexpr void cut(std::int64_t n) { x.n = y.n = n; }
};

}  // namespace norma::kernels
