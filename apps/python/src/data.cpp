// Data sets, made or read by the library, as arrays that own its memory.
#include "data.h"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "arrays.h"

namespace norma::python {
namespace {

nb::tuple split(Dataset d) {
  std::vector<std::size_t> shape = sizes_of(d.sample);
  const auto count = static_cast<std::size_t>(d.size());
  shape.insert(shape.begin(), count);
  const nb::object x = d.bytes.empty() ? nb::cast(give(std::move(d.floats), shape)) : nb::cast(give(std::move(d.bytes), shape));
  return nb::make_tuple(x, give(std::move(d.labels), {count}), std::move(d.classes), std::move(d.name));
}

// Makes or reads a set while other threads of Python go on.
template <class Load>
nb::tuple without_lock(Load load) {
  DatasetPair pair;
  {
    const nb::gil_scoped_release others;
    pair = load();
  }
  return tuple_of(std::move(pair));
}

using Folder = std::optional<std::filesystem::path>;

}  // namespace

nb::tuple tuple_of(DatasetPair pair) {
  return nb::make_tuple(split(std::move(pair.train)), split(std::move(pair.test)), std::move(pair.source));
}

void register_data(nb::module_& m) {
  m.def(
      "load_dataset",
      [](const std::string& name, const Folder& folder) { return without_lock([&] { return load_dataset(name, folder); }); },
      nb::arg("name"), nb::arg("folder").none());
  m.def(
      "make_digits",
      [](std::int64_t train, std::int64_t test, std::uint64_t seed) {
        return without_lock([&] { return make_digits(train, test, seed); });
      },
      nb::arg("train"), nb::arg("test"), nb::arg("seed"));
  m.def(
      "make_circles",
      [](std::int64_t samples, double noise, double factor, double test_fraction, std::uint64_t seed) {
        return without_lock([&] { return make_circles(samples, noise, factor, test_fraction, seed); });
      },
      nb::arg("samples"), nb::arg("noise"), nb::arg("factor"), nb::arg("test_fraction"), nb::arg("seed"));
  m.def(
      "load_idx",
      [](const std::filesystem::path& images, const std::filesystem::path& labels, std::int64_t classes) {
        Dataset d;
        {
          const nb::gil_scoped_release others;
          d = load_idx(images, labels, classes);
        }
        return split(std::move(d));
      },
      nb::arg("images"), nb::arg("labels"), nb::arg("classes"));
}

}  // namespace norma::python
