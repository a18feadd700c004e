// Prints shapes and reports their faults.
#include "norma/shape.h"

#include "norma/error.h"

namespace norma {

void Shape::refuse_rank(std::size_t rank) {
  throw Error(ErrorKind::usage,
              "a shape has at most " + std::to_string(max_rank) + " dimensions, (N, C, H, W), not " + std::to_string(rank));
}

void Shape::refuse_dimension(std::int64_t d) {
  throw Error(ErrorKind::usage, "a shape's dimension must not be negative, got " + std::to_string(d));
}

void Shape::refuse_index(int i) { throw Error(ErrorKind::usage, "a shape has no dimension number " + std::to_string(i)); }

void Shape::refuse_product() const {
  throw Error(ErrorKind::usage, "the shape " + to_string(*this) + " has more elements than 64 bits can count");
}

std::string to_string(const Shape& s) {
  std::string text = "(";
  for (int i = 0; i < s.rank(); ++i) text += (i ? ", " : "") + std::to_string(s[i]);
  return text + ")";
}

}  // namespace norma
