// Results of steps, epochs and evaluations.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include "modules.h"
#include "norma/trainer.h"

namespace norma::python {

namespace nb = nanobind;

namespace {

// "Evaluation(loss=0.1, accuracy=0.9)" of the fields that are bound.
template <class... Name>
nb::str shown(nb::handle self, const char* of, const Name*... names) {
  std::string text;
  const auto add = [&](const char* name) {
    text += std::string(text.empty() ? "" : ", ") + name + "=" + nb::cast<std::string>(nb::repr(self.attr(name)));
  };
  (add(names), ...);
  return nb::str((std::string(of) + "(" + text + ")").c_str());
}

}  // namespace

void register_results(nb::module_& m) {
  nb::class_<EpochMetrics>(m, "EpochMetrics", "Results of one epoch; accuracies are shares in 0..1.")
      .def_ro("epoch", &EpochMetrics::epoch, "From 1.")
      .def_ro("train_loss", &EpochMetrics::train_loss)
      .def_ro("train_accuracy", &EpochMetrics::train_accuracy)
      .def_ro("test_loss", &EpochMetrics::test_loss)
      .def_ro("test_accuracy", &EpochMetrics::test_accuracy)
      .def_ro("seconds", &EpochMetrics::seconds)
      .def_ro("train_seconds", &EpochMetrics::train_seconds)
      .def_ro("samples_per_second", &EpochMetrics::samples_per_second)
      .def_ro("learning_rate", &EpochMetrics::learning_rate, "Of the last step.")
      .def_ro("evaluation_seconds", &EpochMetrics::evaluation_seconds)
      .def_ro("parameters_hash", &EpochMetrics::parameters_hash)
      .def("__repr__", [](nb::handle self) {
        return shown(self, "EpochMetrics", "epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds");
      });
  nb::class_<Progress>(m, "Progress", "Progress within an epoch; loss and accuracy are its running means.")
      .def_ro("epoch", &Progress::epoch)
      .def_ro("epochs", &Progress::epochs)
      .def_ro("batch", &Progress::batch)
      .def_ro("batches", &Progress::batches)
      .def_ro("loss", &Progress::loss)
      .def_ro("accuracy", &Progress::accuracy)
      .def_ro("samples_per_second", &Progress::samples_per_second)
      .def_ro("seconds", &Progress::seconds)
      .def("__repr__", [](nb::handle self) { return shown(self, "Progress", "epoch", "epochs", "batch", "batches", "loss", "accuracy"); });
  nb::class_<Evaluation>(m, "Evaluation", "Mean loss over the samples, and accuracy as a share in 0..1.")
      .def_ro("loss", &Evaluation::loss)
      .def_ro("accuracy", &Evaluation::accuracy)
      .def_ro("samples", &Evaluation::samples)
      .def_ro("seconds", &Evaluation::seconds)
      .def("__repr__", [](nb::handle self) { return shown(self, "Evaluation", "loss", "accuracy", "samples", "seconds"); });
  nb::class_<StepResult>(m, "StepResult", "Results of one step, before its update.")
      .def_ro("loss", &StepResult::loss)
      .def_ro("samples", &StepResult::samples)
      .def_ro("counted", &StepResult::counted, "Samples that the loss does not ignore.")
      .def_ro("correct", &StepResult::correct)
      .def_ro("rate", &StepResult::rate, "The learning rate.")
      .def("__repr__", [](nb::handle self) { return shown(self, "StepResult", "loss", "samples", "counted", "correct", "rate"); });
}

}  // namespace norma::python
