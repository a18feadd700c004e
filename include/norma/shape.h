// A tensor's logical shape, at most four dimensions: (N), (N,F) or (N,C,H,W). Plain data, usable in constant expressions. More dimensions,
// negative ones, and a product beyond 64 bits throw Error(usage), or do not compile where the shape is a constant.
// Its types are plain values: one thread at a time may change one, any number may read it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "norma/error.h"
#include "norma/export.h"

namespace norma {

class NORMA_API Shape {
 public:
  static constexpr int max_rank = 4;

  constexpr Shape() = default;
  constexpr Shape(std::initializer_list<std::int64_t> dims) {
    if (dims.size() > max_rank) refuse_rank(dims.size());
    for (std::int64_t d : dims) add(d);
  }

  constexpr int rank() const { return rank_; }
  // 1 beyond the rank.
  constexpr std::int64_t operator[](int i) const {
    if (i < 0 || i >= max_rank) refuse_index(i);
    return dims_[i];
  }
  constexpr const std::int64_t* begin() const { return dims_; }
  constexpr const std::int64_t* end() const { return dims_ + rank_; }

  // Product of all dimensions; 1 for the empty shape.
  constexpr std::int64_t elements() const {
    std::int64_t n = 1;
    for (int i = 0; i < rank_; ++i)
      if (__builtin_mul_overflow(n, dims_[i], &n)) refuse_product();
    return n;
  }

  // Returns this shape with its first dimension (the batch) set to n, or with n put in front.
  constexpr Shape with_batch(std::int64_t n) const {
    Shape s{n};
    if (rank_ == 0) refuse_index(0);
    for (int i = 1; i < rank_; ++i) s.add(dims_[i]);
    return s;
  }
  constexpr Shape prepend(std::int64_t n) const {
    Shape s{n};
    if (rank_ == max_rank) refuse_rank(max_rank + 1);
    for (std::int64_t d : *this) s.add(d);
    return s;
  }

  friend constexpr bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i)
      if (a.dims_[i] != b.dims_[i]) return false;
    return true;
  }

 private:
  constexpr void add(std::int64_t d) {
    if (d < 0) refuse_dimension(d);
    dims_[rank_++] = d;
  }
  [[noreturn]] static void refuse_rank(std::size_t rank);
  [[noreturn]] static void refuse_dimension(std::int64_t d);
  [[noreturn]] static void refuse_index(int i);
  [[noreturn]] void refuse_product() const;

  std::int64_t dims_[max_rank] = {1, 1, 1, 1};
  int rank_ = 0;
};

// "(256, 6, 24, 24)"
NORMA_API std::string to_string(const Shape& s);

// (height, width); one number means both.
struct NORMA_API Size2 {
  std::int64_t h = 1, w = 1;
  constexpr Size2() = default;
  constexpr Size2(std::int64_t both) : h(both), w(both) {}  // NOLINT: kernel = 5
  constexpr Size2(std::int64_t height, std::int64_t width) : h(height), w(width) {}
  friend constexpr bool operator==(const Size2&, const Size2&) = default;
};

}  // namespace norma
