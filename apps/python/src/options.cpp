#include "options.h"

#include <nanobind/stl/string.h>
#include <toml++/toml.h>

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "apps/norma/recipe/reader.h"
#include "callbacks.h"
#include "norma/error.h"

namespace norma::python {
namespace {

[[noreturn]] void usage(const std::string& message) { throw Error(ErrorKind::usage, message); }

std::string text_of(nb::handle value) { return nb::cast<std::string>(nb::repr(value)); }

// Calls f with the value as the type that TOML has for it: bool, int64, double, string, list or dict. None is the caller's.
template <class F>
void visit(nb::handle value, const std::string& where, F f) {
  if (PyBool_Check(value.ptr())) return f(value.ptr() == Py_True);
  if (nb::isinstance<nb::str>(value)) return f(nb::cast<std::string>(value));
  if (nb::hasattr(value, "tolist")) return visit(value.attr("tolist")(), where, f);  // numpy's and torch's numbers and arrays
  if (PyIndex_Check(value.ptr())) {
    int overflow = 0;
    const nb::object number = nb::steal(PyNumber_Index(value.ptr()));
    if (!number.is_valid()) throw nb::python_error();
    const std::int64_t integer = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
    if (overflow) usage(where + ": must fit 64 bits");
    return f(integer);
  }
  if (nb::isinstance<nb::dict>(value)) return f(nb::borrow<nb::dict>(value));
  if (nb::isinstance<nb::list>(value) || nb::isinstance<nb::tuple>(value)) return f(nb::list(nb::borrow(value)));
  if (nb::hasattr(value, "__float__")) {
    const double number = PyFloat_AsDouble(value.ptr());
    if (PyErr_Occurred()) throw nb::python_error();
    return f(number);
  }
  usage(where + ": must be a number, a string, a list or a dict, got " + nb::type_name(value.type()).c_str());
}

toml::table table_of(const nb::dict& options, const std::string& where);

toml::array array_of_values(const nb::list& values, const std::string& where) {
  toml::array a;
  for (nb::handle v : values)
    visit(v, where, [&]<class T>(const T& value) {
      if constexpr (std::is_same_v<T, nb::dict>) a.push_back(table_of(value, where));
      else if constexpr (std::is_same_v<T, nb::list>) a.push_back(array_of_values(value, where));
      else a.push_back(value);
    });
  return a;
}

// Options that are None are left out: they have the table's default.
toml::table table_of(const nb::dict& options, const std::string& where) {
  toml::table t;
  for (const auto& [k, v] : options) {
    const std::string key = nb::cast<std::string>(k), at = where + ": " + key;
    if (v.is_none()) continue;
    visit(v, at, [&]<class T>(const T& value) {
      if constexpr (std::is_same_v<T, nb::dict>) t.insert(key, table_of(value, at));
      else if constexpr (std::is_same_v<T, nb::list>) t.insert(key, array_of_values(value, at));
      else t.insert(key, value);
    });
  }
  return t;
}

// Fills a section. Messages begin with `who` and the option's name in Python.
template <class Section>
void read(Section& section, const nb::dict& options, const std::string& who, const nb::dict& names = nb::dict()) {
  app::RecipeOrigin origin{who, {}, {}};
  for (const auto& [key, name] : names) origin.flags[nb::cast<std::string>(key)] = who + ": " + nb::cast<std::string>(name);
  const toml::table table = table_of(options, who);
  app::RecipeReader reader(table, origin, "");
  app::fields(reader, section);
  reader.finish();
}

nb::dict section_of(const nb::dict& sections, const char* name) {
  return sections.contains(name) ? nb::cast<nb::dict>(sections[name]) : nb::dict();
}

std::optional<DType> dtype_of(const nb::dict& library) {
  if (!library.contains("dtype") || library["dtype"].is_none()) return {};
  const nb::object given = library["dtype"];
  const std::string name = nb::isinstance<nb::str>(given) ? nb::cast<std::string>(given) : "";
  if (name == "uint8") return DType::u8;
  if (name == "float32") return DType::f32;
  usage("dtype: must be 'uint8' or 'float32', got " + text_of(given));
}

// A loss that is a function of Python: (outputs, wanted) -> (loss, gradient), each with a row a sample.
CustomLoss loss_of(const nb::object& function, CustomLoss::Against against) {
  const auto call = [function = Shared(function), against](const LossInput& in, std::span<float> gradient) {
    const nb::gil_scoped_acquire lock;
    const auto samples = static_cast<std::size_t>(in.samples);
    const auto rows = [&](std::span<const float> values) {
      return nb::cast(give(std::vector<float>(values.begin(), values.end()), {samples, values.size() / std::max<std::size_t>(1, samples)}));
    };
    const nb::object wanted = against == CustomLoss::Against::targets
                                  ? rows(in.targets)
                                  : nb::cast(give(std::vector<std::int32_t>(in.labels.begin(), in.labels.end()), {samples}));
    const nb::object result = (*function)(rows(in.outputs), wanted);
    if (!nb::isinstance<nb::tuple>(result) || nb::len(result) != 2)
      throw nb::type_error(("a loss must return (loss, gradient), got " + text_of(result)).c_str());
    const nb::object loss = result[0];
    const double value = PyFloat_AsDouble(loss.ptr());
    if (PyErr_Occurred()) throw nb::python_error();
    if (gradient.empty()) return value;  // an evaluation
    const Array given = array_of(result[1], "gradient");
    const std::span<const float> values = floats_of(given, "gradient");
    const bool rows_given = given.ndim() == 2 && given.shape(0) == samples;
    if (values.size() != gradient.size() || (given.ndim() != 1 && !rows_given))
      usage("a loss's gradient has shape " + shape_text(given) + ", the outputs are (" + std::to_string(samples) + ", " +
            std::to_string(gradient.size() / std::max<std::size_t>(1, samples)) + ")");
    std::ranges::copy(values, gradient.begin());
    return value;
  };
  return CustomLoss(call, against);
}

Transform transform_of(const nb::dict& data) {
  app::DataSection section;
  nb::dict with_name;
  with_name["name"] = "circles";  // the fields of a transform are those of any set
  for (const auto& [k, v] : data) with_name[k] = v;
  read(section, with_name, "Transform");
  return section.transform;
}

}  // namespace

Module layer(const std::string& type, const nb::dict& options, const std::string& who, const nb::dict& names) {
  app::LayerSpec spec;
  nb::dict with_type;
  with_type["type"] = type;
  for (const auto& [k, v] : options) with_type[k] = v;
  read(spec, with_type, who, names);
  return std::visit(
      [&]<class L>(const L& l) -> Module {
        if constexpr (std::is_constructible_v<Module, L>) return Module(l);
        else usage(who + ": " + type + " stands for another layer, which a recipe names");
      },
      spec.layer);
}

void check_section(const std::string& section, const nb::dict& options, const std::string& who, const nb::dict& names) {
  app::Recipe recipe;
  ParameterGroup group;
  if (section == "optimizer") read(recipe.optimizer, options, who, names);
  else if (section == "schedule") read(recipe.schedule, options, who, names);
  else if (section == "loss") read(recipe.loss, options, who, names);
  else if (section == "group") read(group, options, who, names);
  else if (section == "data") transform_of(options);
  else usage("no section of options is called " + section);
}

Shape shape_of(const nb::object& input) {
  Shape shape;
  const nb::list sizes = PyIndex_Check(input.ptr()) ? nb::list(nb::make_tuple(input)) : nb::list(input);
  if (nb::len(sizes) != 1 && nb::len(sizes) != 3) usage("input: must be a sample's shape, (C, H, W) or (F,), got " + text_of(input));
  std::int64_t d[3] = {};
  for (std::size_t i = 0; i < nb::len(sizes); ++i)
    if (!nb::try_cast(sizes[i], d[i])) usage("input: must be whole numbers, got " + text_of(input));
  return nb::len(sizes) == 1 ? Shape{d[0]} : Shape{d[0], d[1], d[2]};
}

SampleType sample_type(const Shape& input, const std::optional<DType>& stored) {
  return {input, stored.value_or(input.rank() == 3 ? DType::u8 : DType::f32)};
}

TrainerOptions trainer_options(const nb::object& input, const nb::dict& sections) {
  app::Recipe recipe;
  read(recipe.train, section_of(sections, "train"), "Trainer");
  read(recipe.device, section_of(sections, "device"), "Trainer");
  if (sections.contains("optimizer")) read(recipe.optimizer, section_of(sections, "optimizer"), "optimizer");
  if (sections.contains("schedule")) read(recipe.schedule, section_of(sections, "schedule"), "schedule");
  if (sections.contains("loss")) read(recipe.loss, section_of(sections, "loss"), "loss");
  recipe.data.transform = transform_of(section_of(sections, "data"));
  TrainerOptions options = app::trainer_options(recipe, shape_of(input), Device::parse(recipe.device.kind));
  const nb::dict library = section_of(sections, "library");
  options.sample_type = dtype_of(library);
  if (library.contains("loss") && !library["loss"].is_none()) {
    const nb::tuple loss = nb::cast<nb::tuple>(library["loss"]);
    options.loss = loss_of(loss[0], nb::cast<bool>(loss[1]) ? CustomLoss::Against::labels : CustomLoss::Against::targets);
  }
  if (library.contains("total_steps")) options.total_steps = nb::cast<std::int64_t>(library["total_steps"]);
  if (library.contains("steps_per_epoch")) options.steps_per_epoch = nb::cast<std::int64_t>(library["steps_per_epoch"]);
  return options;
}

PredictorOptions predictor_options(const nb::object& input, const nb::dict& data, const nb::dict& library) {
  PredictorOptions options;
  if (!input.is_none()) options.input = shape_of(input);
  options.sample_type = dtype_of(library);
  options.transform = transform_of(data);
  if (library.contains("fold")) options.fold = nb::cast<bool>(library["fold"]);
  if (library.contains("isa")) options.isa = nb::cast<std::string>(library["isa"]);
  return options;
}

std::string toml_text(nb::handle value) {
  std::string text;
  visit(value, "overrides", [&]<class T>(const T& v) {
    if constexpr (std::is_same_v<T, bool>) text = v ? "true" : "false";
    else if constexpr (std::is_same_v<T, std::int64_t>) text = std::to_string(v);
    else if constexpr (std::is_same_v<T, double>) text = app::decimal(v);
    else if constexpr (std::is_same_v<T, std::string>) text = app::toml_string(v);
    else if constexpr (std::is_same_v<T, nb::list>) {
      for (nb::handle item : v) text += (text.empty() ? "" : ", ") + toml_text(item);
      text = "[" + text + "]";
    } else {
      for (const auto& [k, item] : v)
        text += (text.empty() ? "" : ", ") + app::toml_string(nb::cast<std::string>(k)) + " = " + toml_text(item);
      text = "{" + text + "}";
    }
  });
  return text;
}

void register_options(nb::module_& m) {
  m.def("layer", &layer, nb::arg("type"), nb::arg("options"), nb::arg("who"), nb::arg("names"));
  m.def("check_section", &check_section, nb::arg("section"), nb::arg("options"), nb::arg("who"), nb::arg("names"));
}

}  // namespace norma::python
