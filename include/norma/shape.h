// A tensor's logical shape, at most four dimensions: (N), (N,F) or (N,C,H,W). Plain data, usable in constant expressions.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>

namespace norma {

class Shape {
 public:
  static constexpr int max_rank = 4;

  constexpr Shape() = default;
  constexpr Shape(std::initializer_list<std::int64_t> dims) {
    for (std::int64_t d : dims)
      if (rank_ < max_rank) dims_[rank_++] = d;
  }

  constexpr int rank() const { return rank_; }
  constexpr std::int64_t operator[](int i) const { return dims_[i]; }
  constexpr const std::int64_t* begin() const { return dims_; }
  constexpr const std::int64_t* end() const { return dims_ + rank_; }

  // Product of all dimensions; 1 for the empty shape.
  constexpr std::int64_t elements() const {
    std::int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= dims_[i];
    return n;
  }

  // The same shape with its first dimension (the batch) set to n, or with one put in front.
  constexpr Shape with_batch(std::int64_t n) const {
    Shape s = *this;
    s.dims_[0] = n;
    return s;
  }
  constexpr Shape prepend(std::int64_t n) const {
    Shape s;
    s.dims_[s.rank_++] = n;
    for (std::int64_t d : *this)
      if (s.rank_ < max_rank) s.dims_[s.rank_++] = d;
    return s;
  }

  friend constexpr bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i)
      if (a.dims_[i] != b.dims_[i]) return false;
    return true;
  }

 private:
  std::int64_t dims_[max_rank] = {1, 1, 1, 1};
  int rank_ = 0;
};

// "(256, 6, 24, 24)"
std::string to_string(const Shape& s);

}  // namespace norma
