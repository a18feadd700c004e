// The program's recipes: a net, the options of its training, and its data.
#include "recipes.h"

#include <nanobind/stl/string.h>

#include "data.h"
#include "options.h"

namespace norma::python {

void register_recipes(nb::module_& m) {
  nb::class_<app::Recipe>(m, "Recipe")
      .def_prop_ro("name", [](const app::Recipe& r) { return r.name; })
      .def_prop_ro("description", [](const app::Recipe& r) { return r.description; })
      .def_prop_ro("epochs", [](const app::Recipe& r) { return r.train.epochs; })
      .def("toml", [](const app::Recipe& r) { return app::write_toml(r); })
      .def("flatten",
           [](const app::Recipe& r) {
             nb::dict all;
             for (const auto& [key, value] : app::flatten(r)) all[nb::str(key.c_str())] = value;
             return all;
           })
      .def("net", [](const app::Recipe& r) { return Module(app::build_model(r.model)); })
      .def("data", [](const app::Recipe& r) {
        DatasetPair pair;
        {
          const nb::gil_scoped_release others;
          pair = app::load_data(r.data);
        }
        return tuple_of(std::move(pair));
      });
  m.def(
      "recipe",
      [](const std::string& name, const nb::dict& overrides) {
        std::vector<app::Override> set;
        for (const auto& [k, v] : overrides) {
          const std::string key = nb::cast<std::string>(k);
          set.push_back({.key = key, .value = toml_text(v), .flag = "overrides: " + key});
        }
        return app::parse_recipe(app::find_recipe(name), set);
      },
      nb::arg("name"), nb::arg("overrides"));
  m.def(
      "parse_recipe",
      [](const std::string& text) { return app::parse_recipe({.name = "recipe", .text = text, .origin = "recipe", .folder = {}}); },
      nb::arg("text"));
  m.def(
      "recipe_names",
      [] {
        nb::list names;
        for (const app::EmbeddedRecipe& r : app::embedded_recipes()) names.append(nb::str(r.name.data(), r.name.size()));
        return names;
      },
      nb::sig("def recipe_names() -> list[str]"));
}

}  // namespace norma::python
