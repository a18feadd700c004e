// Arrays of Python: read where they lie, and given away without a copy. Every function needs the interpreter's lock.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "norma/dataset.h"
#include "norma/shape.h"
#include "norma/types.h"

namespace norma::python {

namespace nb = nanobind;

using Array = nb::ndarray<nb::ro>;

// Takes whatever has DLPack or a buffer, without a copy. Throws TypeError that names `name` and says what to call: for what is no array,
// not on the CPU or not C-contiguous.
Array array_of(nb::handle object, const std::string& name);

// Throws TypeError unless the array is of float32.
std::span<const float> floats_of(const Array& a, const std::string& name);

// "(128, 1, 28, 28)"
std::string shape_text(const Array& a);

// Labels or targets of some samples; their type says which.
struct Wanted {
  Array array;
  std::span<const float> targets;
  std::span<const std::int32_t> labels;
  std::vector<std::int32_t> converted;  // labels that were not int32
};

// A set in the memory of Python's arrays. It can be moved, not copied: the view is of its own labels.
struct Samples {
  Samples() = default;
  Samples(Samples&&) = default;
  Samples& operator=(Samples&&) = default;

  Array x;
  Wanted y;
  std::vector<std::string> classes;
  DatasetView view;  // of the others
};

// Shape and type of the samples that a net takes.
struct SampleType {
  Shape shape;  // of one sample
  DType stored = DType::u8;
};

// x: (N, ...) of the net's type. y: none, (N) integers, or (N, ...) float32 targets. name: of the set, for messages.
// Throws TypeError for other arrays and Error(usage) for other shapes.
Samples samples_of(nb::handle x, nb::handle y, std::string_view name, const SampleType& type);
Batch batch_of(const Samples& s);

// An array of numpy that owns the values.
template <class T>
using Given = nb::ndarray<nb::numpy, T>;
template <class T>
Given<T> give(std::vector<T> values, const std::vector<std::size_t>& shape) {
  auto* kept = new std::vector<T>(std::move(values));
  const nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return Given<T>(kept->data(), shape.size(), shape.data(), owner);
}
// An array of the type that a tensor's bytes have.
nb::object give(std::vector<std::byte> bytes, DType type, const std::vector<std::int64_t>& shape);

std::vector<std::size_t> sizes_of(const Shape& shape);
nb::tuple tuple_of(const Shape& shape);

}  // namespace norma::python
