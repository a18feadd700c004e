// Trainer: the library's, with arrays in and out. The interpreter's lock is free while the library works.
#include "norma/trainer.h"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/function.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "apps/norma/recipe/recipe.h"
#include "callbacks.h"
#include "modules.h"
#include "options.h"
#include "state_dict.h"

namespace norma::python {
namespace {

// f() while other threads of Python go on.
template <class F>
auto unlocked(F f) {
  const nb::gil_scoped_release others;
  return f();
}

Mode mode_of(const std::string& name) {
  if (name == "train") return Mode::train;
  if (name == "eval") return Mode::eval;
  throw Error(ErrorKind::usage, "mode: must be 'train' or 'eval', got '" + printable(name) + "'");
}

std::vector<std::string> texts(const nb::list& list) {
  std::vector<std::string> all;
  for (nb::handle item : list)
    if (!nb::try_cast(item, all.emplace_back())) throw nb::type_error("names must be strings");
  return all;
}

// An array of these sizes, or a flat one of as many numbers.
void require_shape(const Array& a, const std::string& name, const std::vector<std::size_t>& sizes) {
  bool same = a.ndim() == sizes.size();
  std::size_t count = 1;
  std::string wanted;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    same = same && a.shape(i) == sizes[i];
    count *= sizes[i];
    wanted += (i ? ", " : "") + std::to_string(sizes[i]);
  }
  if (!same && (a.ndim() != 1 || a.size() != count))
    throw Error(ErrorKind::usage, name + " has shape " + shape_text(a) + ", it must have (" + wanted + (sizes.size() == 1 ? ",)" : ")"));
}

class PythonTrainer {
 public:
  PythonTrainer(const Module& net, const TrainerOptions& options)
      : trainer_(unlocked([&] { return Trainer(net, options); })), type_(sample_type(options.input, options.sample_type)) {}

  bool fit(nb::handle x, nb::handle y, const nb::object& test, std::int64_t epochs, const nb::list& classes, const nb::object& on_step,
           const nb::object& on_epoch) {
    Samples train = samples_of(x, y, "train", type_), tested;
    train.classes = texts(classes);
    train.view.classes = train.classes;
    if (!test.is_none()) {
      const nb::tuple pair = nb::cast<nb::tuple>(test);
      tested = samples_of(pair[0], pair[1], "test", type_);
      tested.view.classes = train.classes;
    }
    // A callback of Python may raise; what it raised ends fit.
    Signals signals;
    FitOptions options;
    options.epochs = epochs;
    options.go_on = [&] { return signals.look(), true; };
    options.on_step = [&](const Progress&) { return signals.look(), true; };
    if (!on_step.is_none())
      options.on_step = [&](const Progress& p) {
        const nb::gil_scoped_acquire lock;
        Signals::look_now();
        const nb::object go_on = on_step(p);
        const int is_false = PyObject_RichCompareBool(go_on.ptr(), Py_False, Py_EQ);  // numpy's, too
        if (is_false < 0) throw nb::python_error();
        return is_false == 0;
      };
    if (!on_epoch.is_none())
      options.on_epoch = [&](const EpochMetrics& m) {
        const nb::gil_scoped_acquire lock;
        on_epoch(m);
      };
    return unlocked([&] { return trainer_.fit(train.view, test.is_none() ? nullptr : &tested.view, options); });
  }

  StepResult step(nb::handle x, nb::handle y, std::optional<double> rate) {
    const Samples s = samples_of(x, y, "step", type_);
    return unlocked([&] { return trainer_.step(batch_of(s), {.rate = rate}); });
  }
  Given<float> forward(nb::handle x) {
    const Samples s = samples_of(x, nb::none(), "forward", type_);
    Given<float> y = outputs(s, unlocked([&] { return trainer_.forward(batch_of(s)); }));
    forward_.clear();
    for (std::size_t i = 0; i < y.ndim(); ++i) forward_.push_back(y.shape(i));
    return y;
  }
  void backward(nb::handle gradient, bool accumulate) {
    const Array a = array_of(gradient, "gradient");
    const std::span<const float> values = floats_of(a, "gradient");
    if (!forward_.empty()) require_shape(a, "gradient", forward_);
    unlocked([&] { trainer_.backward(values, accumulate); });
  }
  double update(std::optional<double> rate) {
    return unlocked([&] { return trainer_.update({.rate = rate}); });
  }
  void set_gradient(const std::string& name, nb::handle values) {
    const Array a = array_of(values, "values");
    const std::span<const float> floats = floats_of(a, "values");
    for (const ParameterInfo& p : trainer_.unfused_graph().parameters())
      if (p.name == name) require_shape(a, "values", sizes_of(p.shape));
    unlocked([&] { trainer_.set_gradient(name, floats); });
  }
  Evaluation evaluate(nb::handle x, nb::handle y) {
    const Samples s = samples_of(x, y, "evaluate", type_);
    return unlocked([&] { return trainer_.evaluate(s.view); });
  }
  Given<float> predict(nb::handle x) {
    const Samples s = samples_of(x, nb::none(), "predict", type_);
    return outputs(s, unlocked([&] { return trainer_.predict(s.view); }));
  }
  nb::tuple observe(const nb::list& names, nb::handle x, nb::handle y, const std::string& mode) {
    const Samples s = samples_of(x, y, "observe", type_);
    const std::vector<std::string> wanted = texts(names);
    const Mode m = mode_of(mode);
    Observation seen = unlocked([&] { return trainer_.observe(m, s.view, wanted); });
    nb::dict values;
    for (auto& [name, value] : seen.values) values[nb::str(name.c_str())] = give(std::move(value.values), sizes_of(value.shape));
    return nb::make_tuple(seen.loss, seen.accuracy, values);
  }
  nb::list recalibrate(nb::handle x, nb::handle y) {
    const Samples s = samples_of(x, y, "recalibrate", type_);
    nb::list changes;
    for (const RecalibratedBatchNorm& r : unlocked([&] { return trainer_.recalibrate(s.view); }))
      changes.append(nb::make_tuple(r.layer, r.mean_change, r.variance_ratio));
    return changes;
  }
  Given<float> read(const std::string& name) {
    std::vector<float> values = unlocked([&] { return trainer_.read(name); });
    std::vector<std::size_t> shape{values.size()};
    const std::string of = name.ends_with(".grad") ? name.substr(0, name.size() - 5) : name;
    for (const ParameterInfo& p : trainer_.unfused_graph().parameters())
      if (p.name == of) shape = sizes_of(p.shape);
    return give(std::move(values), shape);
  }
  nb::dict state_dict() {
    return dict_of(unlocked([&] { return trainer_.model(); }));
  }
  std::vector<std::string> load_state_dict(const nb::dict& state) {
    const Checkpoint model = checkpoint_of(state);
    return unlocked([&] { return trainer_.load_model(model); });
  }
  void save(const std::filesystem::path& file) {
    unlocked([&] { save_safetensors(file, trainer_.model()); });
  }
  std::vector<std::string> load(const std::filesystem::path& file) {
    return unlocked([&] { return trainer_.load_model(load_safetensors(file)); });
  }
  void save_training(const std::filesystem::path& file) {
    unlocked([&] { save_safetensors(file, trainer_.training()); });
  }
  void load_training(const std::filesystem::path& file) {
    unlocked([&] { trainer_.load_training(load_safetensors(file)); });
  }
  std::string plan(const std::string& mode, std::int64_t batch) {
    const Mode m = mode_of(mode);
    return unlocked([&] { return print(trainer_.plan(m, batch)); });
  }

  Trainer& trainer() { return trainer_; }
  const SampleType& type() const { return type_; }

 private:
  Given<float> outputs(const Samples& s, std::vector<float> values) const {
    const Graph& graph = trainer_.graph();
    return give(std::move(values), sizes_of(graph[graph.outputs[0]].shape.with_batch(s.view.size())));
  }

  Trainer trainer_;
  SampleType type_;
  std::vector<std::size_t> forward_;  // sizes of the last forward's outputs
};

}  // namespace

void register_trainer(nb::module_& m) {
  nb::class_<PythonTrainer>(m, "Trainer")
      .def("fit", &PythonTrainer::fit, nb::arg("x").none(), nb::arg("y").none(), nb::arg("test").none(), nb::arg("epochs"),
           nb::arg("classes"), nb::arg("on_step").none(), nb::arg("on_epoch").none())
      .def("step", &PythonTrainer::step, nb::arg("x").none(), nb::arg("y").none(), nb::arg("rate").none())
      .def("forward", &PythonTrainer::forward, nb::arg("x").none())
      .def("backward", &PythonTrainer::backward, nb::arg("gradient").none(), nb::arg("accumulate"))
      .def("update", &PythonTrainer::update, nb::arg("rate").none())
      .def("set_gradient", &PythonTrainer::set_gradient, nb::arg("name"), nb::arg("values").none())
      .def(
          "set_rate", [](PythonTrainer& t, std::optional<double> rate) { t.trainer().set_rate(rate); }, nb::arg("rate").none())
      .def("reset_optimizer", [](PythonTrainer& t) { t.trainer().reset_optimizer(); })
      .def("evaluate", &PythonTrainer::evaluate, nb::arg("x").none(), nb::arg("y").none())
      .def("predict", &PythonTrainer::predict, nb::arg("x").none())
      .def("observe", &PythonTrainer::observe, nb::arg("names"), nb::arg("x").none(), nb::arg("y").none(), nb::arg("mode"))
      .def("recalibrate", &PythonTrainer::recalibrate, nb::arg("x").none(), nb::arg("y").none())
      .def("read", &PythonTrainer::read, nb::arg("name"))
      .def("state_dict", &PythonTrainer::state_dict)
      .def("load_state_dict", &PythonTrainer::load_state_dict, nb::arg("state_dict"))
      .def("save", &PythonTrainer::save, nb::arg("file"))
      .def("load", &PythonTrainer::load, nb::arg("file"))
      .def("save_training", &PythonTrainer::save_training, nb::arg("file"))
      .def("load_training", &PythonTrainer::load_training, nb::arg("file"))
      .def("plan", &PythonTrainer::plan, nb::arg("mode"), nb::arg("batch"))
      .def("history", [](PythonTrainer& t) { return t.trainer().history(); })
      .def("parameters_hash", [](PythonTrainer& t) { return t.trainer().parameters_hash(); })
      .def("parameter_count", [](PythonTrainer& t) { return t.trainer().parameter_count(); })
      .def("device", [](PythonTrainer& t) { return t.trainer().device_description(); })
      .def("epochs_done", [](PythonTrainer& t) { return t.trainer().epochs_done(); })
      .def("steps_done", [](PythonTrainer& t) { return t.trainer().steps_done(); })
      .def("graph", [](PythonTrainer& t) { return t.trainer().unfused_graph().print(); })
      .def("input", [](PythonTrainer& t) { return tuple_of(t.type().shape); })
      .def("dtype", [](PythonTrainer& t) { return t.type().stored == DType::u8 ? "uint8" : "float32"; });
  m.def(
      "make_trainer",
      [](const Module& net, const nb::object& input, const nb::dict& sections) {
        return PythonTrainer(net, trainer_options(input, sections));
      },
      nb::arg("net"), nb::arg("input"), nb::arg("sections"));
  m.def(
      "make_recipe_trainer",
      [](const app::Recipe& r) {
        const Device device = Device::parse(r.device.kind);
        return PythonTrainer(app::build_model(r.model), app::trainer_options(r, app::sample_shape(r.data), device));
      },
      nb::arg("recipe"));
  m.def(
      "print_plan",
      [](const Module& net, const nb::object& input, const nb::dict& sections, const std::string& mode) {
        const TrainerOptions options = trainer_options(input, sections);
        const Mode of = mode_of(mode);
        return unlocked([&] { return print(*compile(net, options, of)); });
      },
      nb::arg("net"), nb::arg("input"), nb::arg("sections"), nb::arg("mode"));
}

}  // namespace norma::python
