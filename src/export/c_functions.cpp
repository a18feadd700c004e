// In the texts @ stands for the file's prefix, WEIGHT for the type of weights, SAMPLE for that of samples. SCALES, START and FINISH are
// what differs between weights of float and of int8. Values lie (c, h, w). All sizes are those of one sample and fit an int.
#include "src/export/c_functions.h"

#include <stdexcept>
#include <utility>

#include "src/export/c_text.h"

namespace norma {
namespace {

struct CFunction {
  const char *name, *text;
  const char* calls = nullptr;  // another one
  bool math = false;
};

// In an order in which each stands behind the one that it calls.
constexpr CFunction c_function_table[] = {
    {"transform", R"(/* y = scale x + offset, channel by channel. */
static void @_transform(const SAMPLE *x, float *y, int channels, int plane, const float *scale,
                        const float *offset) {
  for (int c = 0; c < channels; ++c)
    for (int i = 0; i < plane; ++i, ++x, ++y) *y = scale[c] * (float)*x + offset[c];
}
)"},
    {"resize", R"(/* (channels, h, w) to (channels, oh, ow): each output weighs th rows from top[row] on, and in each
   of them tw columns from left[column] on. */
static void @_resize(const float *x, float *y, int channels, int h, int w, int oh, int ow, const int *top,
                     const float *down, int th, const int *left, const float *across, int tw) {
  for (int c = 0; c < channels; ++c, x += h * w)
    for (int p = 0; p < oh; ++p)
      for (int q = 0; q < ow; ++q, ++y) {
        float sum = 0;
        for (int r = 0; r < th; ++r) {
          float row = 0;
          for (int s = 0; s < tw; ++s) row += across[q * tw + s] * x[(top[p] + r) * w + left[q] + s];
          sum += down[p * th + r] * row;
        }
        *y = sum;
      }
}
)"},
    {"copy", R"(static void @_copy(const float *x, float *y, int n) {
  for (int i = 0; i < n; ++i) y[i] = x[i];
}
)"},
    {"add", R"(static void @_add(const float *x, float *y, int n) {
  for (int i = 0; i < n; ++i) y[i] += x[i];
}
)"},
    {"pad", R"(/* (channels, h, w) to (channels, oh, ow): x begins at (top, left), and 0 is around it. */
static void @_pad(const float *x, float *y, int channels, int h, int w, int top, int left, int oh, int ow) {
  for (int c = 0; c < channels; ++c, x += h * w)
    for (int p = 0; p < oh; ++p, y += ow) {
      const int row = p - top, inside = row >= 0 && row < h;
      for (int q = 0; q < ow; ++q) y[q] = 0;
      for (int q = 0; inside && q < w && q + left < ow; ++q) y[q + left] = x[row * w + q];
    }
}
)"},
    {"tap", R"(/* y += w x for rows of y; each begins `pitch` behind the last one's begin in x. */
static void @_tap(const float *x, float w, float *RESTRICT y, int rows, int columns, int pitch, int stride) {
  for (int p = 0; p < rows; ++p, x += pitch, y += columns) {
    if (stride == 1)
      for (int q = 0; q < columns; ++q) y[q] += w * x[q];
    else
      for (int q = 0; q < columns; ++q) y[q] += w * x[q * stride];
  }
}
)"},
    {"eight_taps", R"(/* Eight of them at a time, which begin at x + at[i]. */
static void @_eight_taps(const float *x, const int *at, const WEIGHT *w, float *RESTRICT y, int rows,
                         int columns, int pitch, int stride) {
  const float w0 = (float)w[0], w1 = (float)w[1], w2 = (float)w[2], w3 = (float)w[3];
  const float w4 = (float)w[4], w5 = (float)w[5], w6 = (float)w[6], w7 = (float)w[7];
  for (int p = 0; p < rows; ++p, x += pitch, y += columns) {
    const float *a = x + at[0], *b = x + at[1], *c = x + at[2], *d = x + at[3];
    const float *e = x + at[4], *f = x + at[5], *g = x + at[6], *h = x + at[7];
    if (stride == 1)
      for (int q = 0; q < columns; ++q)
        y[q] += ((w0 * a[q] + w1 * b[q]) + (w2 * c[q] + w3 * d[q])) +
                ((w4 * e[q] + w5 * f[q]) + (w6 * g[q] + w7 * h[q]));
    else
      for (int q = 0; q < columns; ++q) {
        const int i = q * stride;
        y[q] += ((w0 * a[i] + w1 * b[i]) + (w2 * c[i] + w3 * d[i])) +
                ((w4 * e[i] + w5 * f[i]) + (w6 * g[i] + w7 * h[i]));
      }
  }
}
)",
     "tap"},
    {"conv2d", R"(/* (groups channels, h, width), which holds its padding, to (groups outs, oh, ow); w is
   (groups outs, channels, kh, kw). */
static void @_conv2d(const float *x, float *y, const WEIGHT *w, SCALESconst float *bias, int groups,
                     int channels, int h, int width, int outs, int oh, int ow, int kh, int kw, int sh, int sw,
                     int dh, int dw) {
  const int taps = channels * kh * kw, plane = oh * ow;
  for (int o = 0; o < groups * outs; ++o, w += taps, y += plane) {
    const float *in = x + o / outs * channels * h * width, first = bias ? bias[o] : 0;
    int t = 0, c = 0, r = 0, s = 0;
    for (int i = 0; i < plane; ++i) y[i] = START;
    while (t < taps) {
      const int n = taps - t < 8 ? 1 : 8;
      int at[8];
      for (int i = 0; i < n; ++i) {
        at[i] = (c * h + r * dh) * width + s * dw;
        if (++s == kw) s = 0, ++r;
        if (r == kh) r = 0, ++c;
      }
      if (n == 8)
        @_eight_taps(in, at, w + t, y, oh, ow, sh * width, sw);
      else
        @_tap(in + at[0], (float)w[t], y, oh, ow, sh * width, sw);
      t += n;
    }FINISH
  }
}
)",
     "eight_taps"},
    {"inside", R"(/* Those of n outputs, [begin, end), whose element i stride + shift is one of `size`. */
static void @_inside(int n, int stride, int shift, int size, int *begin, int *end) {
  *begin = shift >= 0 ? 0 : (stride - 1 - shift) / stride;
  *end = shift >= size ? 0 : (size - 1 - shift) / stride + 1;
  if (*end > n) *end = n;
}
)"},
    {"conv_transpose2d", R"(/* (groups channels, h, w) to (groups outs, oh, ow): each element of x adds itself, times the weights, to a
   window of y; w is (groups channels, outs, kh, kw). */
static void @_conv_transpose2d(const float *x, float *RESTRICT y, const WEIGHT *w, SCALESconst float *bias,
                               int groups, int channels, int h, int width, int outs, int oh, int ow, int kh,
                               int kw, int sh, int sw, int ph, int pw, int dh, int dw) {
  const int plane = oh * ow;
  for (int o = 0; o < groups * outs; ++o, y += plane) {
    const int from = o / outs * channels;
    const float first = bias ? bias[o] : 0;
    for (int i = 0; i < plane; ++i) y[i] = START;
    for (int c = from; c < from + channels; ++c)
      for (int s = 0; s < kw; ++s) {
        const int shift = s * dw - pw;
        int begin, end;
        @_inside(width, sw, shift, ow, &begin, &end);
        for (int r = 0; r < kh; ++r) {
          const float v = (float)w[((c * outs + o % outs) * kh + r) * kw + s];
          for (int p = 0; p < h; ++p) {
            const int row = p * sh + r * dh - ph;
            if (row < 0 || row >= oh) continue;
            for (int q = begin; q < end; ++q) y[row * ow + q * sw + shift] += v * x[(c * h + p) * width + q];
          }
        }
      }FINISH
  }
}
)",
     "inside"},
    {"linear", R"(/* y = w x; w is (out, in). Sixteen sums side by side fill a vector. */
static void @_linear(const float *x, float *y, const WEIGHT *w, SCALESconst float *bias, int in, int out) {
  for (int o = 0; o < out; ++o, w += in) {
    float side[16] = {0}, sum = 0;
    const float first = bias ? bias[o] : 0;
    int i = 0;
    for (; i + 16 <= in; i += 16)
      for (int k = 0; k < 16; ++k) side[k] += (float)w[i + k] * x[i + k];
    for (; i < in; ++i) sum += (float)w[i] * x[i];
    for (int k = 0; k < 16; ++k) sum += side[k];
    y[o] = SUM;
  }
}
)"},
    {"max_pool2d", R"(static void @_max_pool2d(const float *x, float *RESTRICT y, int channels, int h, int w, int oh, int ow,
                         int kh, int kw, int sh, int sw, int ph, int pw, int dh, int dw) {
  for (int c = 0; c < channels; ++c, x += h * w, y += oh * ow) {
    for (int i = 0; i < oh * ow; ++i) y[i] = -INFINITY;
    for (int s = 0; s < kw; ++s) {
      const int shift = s * dw - pw;
      int begin, end;
      @_inside(ow, sw, shift, w, &begin, &end);
      for (int p = 0; p < oh; ++p)
        for (int r = 0; r < kh; ++r) {
          const int row = p * sh + r * dh - ph;
          if (row < 0 || row >= h) continue;
          for (int q = begin; q < end; ++q) {
            const float v = x[row * w + q * sw + shift];
            y[p * ow + q] = v > y[p * ow + q] || v != v ? v : y[p * ow + q]; /* a NaN stays */
          }
        }
    }
  }
}
)",
     "inside", true},
    {"positions", R"(/* Positions of a window of k from `first` on that are one of n, or of the padding around them. */
static int @_positions(int first, int k, int n, int padding) {
  const int begin = first > -padding ? first : -padding;
  const int end = first + k < n + padding ? first + k : n + padding;
  return end - begin;
}
)",
     "inside"},
    {"avg_pool2d", R"(/* counted: the padding around x that counts. */
static void @_avg_pool2d(const float *x, float *RESTRICT y, int channels, int h, int w, int oh, int ow,
                         int kh, int kw, int sh, int sw, int ph, int pw, int counted_h, int counted_w) {
  for (int c = 0; c < channels; ++c, x += h * w, y += oh * ow) {
    for (int i = 0; i < oh * ow; ++i) y[i] = 0;
    for (int s = 0; s < kw; ++s) {
      int begin, end;
      @_inside(ow, sw, s - pw, w, &begin, &end);
      for (int p = 0; p < oh; ++p)
        for (int r = 0; r < kh; ++r) {
          const int row = p * sh + r - ph;
          if (row < 0 || row >= h) continue;
          for (int q = begin; q < end; ++q) y[p * ow + q] += x[row * w + q * sw + s - pw];
        }
    }
    for (int p = 0; p < oh; ++p)
      for (int q = 0; q < ow; ++q)
        y[p * ow + q] /= (float)(@_positions(p * sh - ph, kh, h, counted_h) *
                                 @_positions(q * sw - pw, kw, w, counted_w));
  }
}
)",
     "positions"},
    {"scale_shift", R"(static void @_scale_shift(float *y, int channels, int plane, const float *scale, const float *shift) {
  for (int c = 0; c < channels; ++c)
    for (int i = 0; i < plane; ++i, ++y) *y = (scale ? scale[c] : 1) * *y + (shift ? shift[c] : 0);
}
)"},
    {"standardise", R"(/* Each of `groups` runs of n numbers, less its mean, over its standard deviation. */
static void @_standardise(float *y, int groups, int n, double eps) {
  for (int g = 0; g < groups; ++g, y += n) {
    double mean = 0, variance = 0, root;
    for (int i = 0; i < n; ++i) mean += (double)y[i];
    mean /= n;
    for (int i = 0; i < n; ++i) variance += ((double)y[i] - mean) * ((double)y[i] - mean);
    root = sqrt(variance / n + eps);
    for (int i = 0; i < n; ++i) y[i] = root == 0 ? 0 : (float)(((double)y[i] - mean) / root);
  }
}
)",
     nullptr, true},
    {"relu", R"(/* A NaN stays one. */
static void @_relu(float *y, int n) {
  for (int i = 0; i < n; ++i) y[i] = y[i] < 0 ? 0 : y[i];
}
)"},
    {"sigmoid", R"(static void @_sigmoid(float *y, int n) {
  for (int i = 0; i < n; ++i) y[i] = 1 / (1 + expf(-y[i]));
}
)",
     nullptr, true},
    {"tanh", R"(static void @_tanh(float *y, int n) {
  for (int i = 0; i < n; ++i) y[i] = tanhf(y[i]);
}
)",
     nullptr, true},
    {"gelu", R"(static void @_gelu(float *y, int n) {
  for (int i = 0; i < n; ++i) y[i] *= 0.5f * erfcf(-0.70710678f * y[i]);
}
)",
     nullptr, true},
    {"gelu_tanh", R"(static void @_gelu_tanh(float *y, int n) {
  for (int i = 0; i < n; ++i)
    y[i] /= 1 + expf(-1.5957691f * (y[i] + 0.044715f * y[i] * y[i] * y[i]));
}
)",
     nullptr, true},
    {"silu", R"(static void @_silu(float *y, int n) {
  for (int i = 0; i < n; ++i) y[i] /= 1 + expf(-y[i]);
}
)",
     nullptr, true},
    {"leaky_relu", R"(static void @_leaky_relu(float *y, int n, float negative_slope) {
  for (int i = 0; i < n; ++i) y[i] = y[i] > 0 ? y[i] : negative_slope * y[i];
}
)"},
    {"elu", R"(static void @_elu(float *y, int n, float alpha) {
  for (int i = 0; i < n; ++i) y[i] = y[i] > 0 ? y[i] : alpha * expm1f(y[i]);
}
)",
     nullptr, true},
};

const CFunction& c_function(const std::string& name) {
  for (const CFunction& f : c_function_table)
    if (name == f.name) return f;
  throw std::logic_error("no C function is called " + name);
}

std::set<std::string> with_called(const std::set<std::string>& names) {
  std::set<std::string> all;
  for (std::string name : names)
    for (const CFunction* f = &c_function(name); f; f = f->calls ? &c_function(f->calls) : nullptr) all.insert(f->name);
  return all;
}

}  // namespace

std::set<std::string> c_function_names() {
  std::set<std::string> names;
  for (const CFunction& f : c_function_table) names.insert(f.name);
  return names;
}

std::string c_functions(const std::set<std::string>& names, const std::string& prefix, CWeights weights, bool bytes) {
  const bool whole = weights == CWeights::int8;
  const std::pair<const char*, std::string> words[] = {
      {"WEIGHT", whole ? "int8_t" : "float"},
      {"SAMPLE", bytes ? "uint8_t" : "float"},
      {"SCALES", whole ? "const float *scale, " : ""},
      {"START", whole ? "0" : "first"},
      {"FINISH", whole ? "\n    for (int i = 0; i < plane; ++i) y[i] = scale[o] * y[i] + first;" : ""},
      {"SUM", whole ? "scale[o] * sum + first" : "sum + first"},
      {"RESTRICT", upper_case(prefix) + "_RESTRICT"},
      {"@", prefix},
  };
  const std::set<std::string> all = with_called(names);
  std::string out;
  for (const CFunction& f : c_function_table) {
    if (!all.contains(f.name)) continue;
    std::string text = f.text;
    for (const auto& [what, by] : words) text = replaced(text, what, by);
    out += text + "\n";
  }
  return out;
}

bool needs_math(const std::set<std::string>& names) {
  for (const std::string& name : with_called(names))
    if (c_function(name).math) return true;
  return false;
}

}  // namespace norma
