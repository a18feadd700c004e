#include "arrays.h"

#include <algorithm>
#include <limits>
#include <memory>

#include "norma/error.h"

namespace norma::python {
namespace {

std::string type_of(nb::handle object) { return nb::type_name(object.type()).c_str(); }

std::string dtype_name(const nb::dlpack::dtype& t) {
  const char* kind = "values of another kind";
  switch (static_cast<nb::dlpack::dtype_code>(t.code)) {
    case nb::dlpack::dtype_code::Int: kind = "int"; break;
    case nb::dlpack::dtype_code::UInt: kind = "uint"; break;
    case nb::dlpack::dtype_code::Float: kind = "float"; break;
    case nb::dlpack::dtype_code::Bfloat: kind = "bfloat"; break;
    case nb::dlpack::dtype_code::Complex: kind = "complex"; break;
    case nb::dlpack::dtype_code::Bool: return "bool";
    default: return kind;
  }
  return kind + std::to_string(t.bits);
}

[[noreturn]] void refuse(const std::string& message) { throw nb::type_error(message.c_str()); }

// "torch" has other names for what numpy does.
bool is_torch(nb::handle object) {
  const nb::object module = nb::getattr(object.type(), "__module__", nb::str(""));
  return nb::isinstance<nb::str>(module) && std::string(nb::cast<nb::str>(module).c_str()).starts_with("torch");
}

bool contiguous(const Array& a) {
  if (a.size() == 0) return true;
  std::int64_t step = 1;
  for (std::size_t i = a.ndim(); i-- > 0;) {
    if (a.shape(i) != 1 && a.stride(i) != step) return false;
    step *= static_cast<std::int64_t>(a.shape(i));
  }
  return true;
}

template <class T>
std::span<const T> values_of(const Array& a) {
  return {static_cast<const T*>(a.data()), a.size()};
}

template <class T>
void convert(const Array& a, const std::string& name, std::vector<std::int32_t>& to) {
  to.reserve(a.size());
  for (const T v : values_of<T>(a)) {
    if (!std::in_range<std::int32_t>(v))
      throw Error(ErrorKind::data, name + " holds the label " + std::to_string(v) + ", which is no int32");
    to.push_back(static_cast<std::int32_t>(v));
  }
}

Wanted wanted_of(nb::handle y, const std::string& name, std::size_t samples) {
  Wanted w;
  if (y.is_none()) return w;
  w.array = array_of(y, name);
  const Array& a = w.array;
  const bool targets = a.dtype() == nb::dtype<float>();
  if (a.ndim() == 0 || a.shape(0) != samples || (!targets && a.ndim() != 1))
    throw Error(ErrorKind::usage, name + " has shape " + shape_text(a) + ", " + std::to_string(samples) + " samples need " +
                                      (targets ? "a row each" : "a label each: (" + std::to_string(samples) + ",)"));
  if (targets) w.targets = values_of<float>(a);
  else if (a.dtype() == nb::dtype<std::int32_t>()) w.labels = values_of<std::int32_t>(a);
  else if (a.dtype() == nb::dtype<std::int64_t>()) convert<std::int64_t>(a, name, w.converted);
  else if (a.dtype() == nb::dtype<std::uint8_t>()) convert<std::uint8_t>(a, name, w.converted);
  else
    refuse(name + " is " + dtype_name(a.dtype()) + ": labels are int32, int64 or uint8, targets are float32; call " +
           (is_torch(y) ? name + ".long() or " + name + ".float()" : name + ".astype('int64') or " + name + ".astype('float32')"));
  if (!w.converted.empty()) w.labels = w.converted;
  return w;
}

}  // namespace

Array array_of(nb::handle object, const std::string& name) {
  Array a;
  const bool torch = is_torch(object);
  if (!nb::try_cast(object, a, false) || !a.is_valid())
    refuse(name + " must be an array, such as numpy's or a tensor of torch on the CPU, got " + type_of(object) + ": call numpy.asarray(" +
           name + ", dtype='float32')");
  if (a.device_type() != nb::device::cpu::value) refuse(name + " is not in the memory of the CPU: call " + name + ".cpu()");
  if (!contiguous(a))
    refuse(name + " is not contiguous: call " + (torch ? name + ".contiguous()" : "numpy.ascontiguousarray(" + name + ")"));
  return a;
}

std::span<const float> floats_of(const Array& a, const std::string& name) {
  if (a.dtype() != nb::dtype<float>())
    refuse(name + " is " + dtype_name(a.dtype()) + ", not float32: call " + name + ".astype('float32'), or .float() of a tensor");
  return values_of<float>(a);
}

std::string shape_text(const Array& a) {
  std::string text = "(";
  for (std::size_t i = 0; i < a.ndim(); ++i) text += (i ? ", " : "") + std::to_string(a.shape(i));
  return text + (a.ndim() == 1 ? ",)" : ")");
}

Samples samples_of(nb::handle x, nb::handle y, std::string_view name, const SampleType& type) {
  Samples s;
  s.x = array_of(x, "x");
  const Array& a = s.x;
  const bool bytes = type.stored == DType::u8;
  if (a.dtype() != (bytes ? nb::dtype<std::uint8_t>() : nb::dtype<float>())) {
    const std::string is = "x is " + dtype_name(a.dtype()) + ", and the net takes " + (bytes ? "uint8" : "float32");
    if (bytes && a.dtype() == nb::dtype<float>()) refuse(is + ": make it with dtype='float32', or give bytes");
    refuse(is + ": call " +
           (is_torch(x) ? (bytes ? "x.byte()" : "x.float()")
            : bytes     ? "x.astype('uint8')"
                        : "x.astype('float32')") +
           ", or make the net with another dtype");
  }
  bool fits = a.ndim() == static_cast<std::size_t>(type.shape.rank()) + 1;
  for (int i = 0; fits && i < type.shape.rank(); ++i)
    fits = static_cast<std::int64_t>(a.shape(static_cast<std::size_t>(i) + 1)) == type.shape[i];
  if (!fits) {
    std::string wanted = "(-1";
    for (const std::int64_t d : type.shape) wanted += ", " + std::to_string(d);
    throw Error(ErrorKind::usage, "x has shape " + shape_text(a) + ", and samples are " + to_string(type.shape) + ": call x.reshape" +
                                      wanted + ") where it holds them in this order");
  }
  s.y = wanted_of(y, "y", a.shape(0));
  s.view.name = name;
  s.view.sample = type.shape;
  if (bytes) s.view.bytes = values_of<std::uint8_t>(a);
  else s.view.floats = values_of<float>(a);
  s.view.labels = s.y.labels;
  s.view.targets = s.y.targets;
  return s;
}

Batch batch_of(const Samples& s) {
  return {.bytes = s.view.bytes, .floats = s.view.floats, .labels = s.view.labels, .targets = s.view.targets};
}

nb::object give(std::vector<std::byte> bytes, DType type, const std::vector<std::int64_t>& shape) {
  std::vector<std::size_t> sizes(shape.begin(), shape.end());
  auto* kept = new std::vector<std::byte>(std::move(bytes));
  const nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<std::byte>*>(p); });
  void* data = kept->data();
  switch (type) {
    case DType::f32: return nb::cast(nb::ndarray<nb::numpy, float>(data, sizes.size(), sizes.data(), owner));
    case DType::i64: return nb::cast(nb::ndarray<nb::numpy, std::int64_t>(data, sizes.size(), sizes.data(), owner));
    case DType::i32: return nb::cast(nb::ndarray<nb::numpy, std::int32_t>(data, sizes.size(), sizes.data(), owner));
    case DType::u8:
    case DType::bytes: break;
  }
  return nb::cast(nb::ndarray<nb::numpy, std::uint8_t>(data, sizes.size(), sizes.data(), owner));
}

std::vector<std::size_t> sizes_of(const Shape& shape) {
  std::vector<std::size_t> sizes;
  for (const std::int64_t d : shape) sizes.push_back(static_cast<std::size_t>(d));
  return sizes;
}

nb::tuple tuple_of(const Shape& shape) {
  nb::list list;
  for (const std::int64_t d : shape) list.append(d);
  return nb::tuple(list);
}

}  // namespace norma::python
