// Inference alone: a trained net that many threads may ask at once.
// Its structs are plain values: one thread at a time may change one, any number may read it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "norma/checkpoint.h"
#include "norma/dataset.h"
#include "norma/export.h"
#include "norma/module.h"
#include "norma/shape.h"
#include "norma/types.h"

namespace norma {

struct NORMA_API PredictorOptions {
  Shape input{};                       // one stored sample: (C,H,W) or (F), before the transform
  std::optional<DType> sample_type{};  // u8 or f32, as stored; default u8 for (C,H,W), f32 for (F)
  Transform transform{};
  bool fold = true;          // batch norms become part of the layers before them (fold_batch_norms): faster, rounded otherwise
  std::string isa = "auto";  // as ExecutorOptions::isa
};

// A net in evaluation mode on the CPU. It never changes: any number of threads may call it at the same time, and none waits for another.
// Each call works on its own thread, in memory that earlier calls left behind. Once there is memory for as many calls as run at a time,
// and at most 64, nothing is allocated. Copies share the net and its memory. References that it returns are good as long as one of them.
// Outputs have the bits of Trainer::predict on the CPU in fp32 (a zero's sign excepted), however many samples are given at a time. With
// `fold` these are the bits of the folded net.
class NORMA_API Predictor {
 public:
  // model: parameters and buffers under their state_dict names, as Trainer::model gives and load_safetensors reads them;
  // Trainer::load_model says what else is read. It is copied. Throws Error(usage) naming the layer or option at fault, also for a batch
  // norm without running statistics, whose outputs depend on other samples. Throws Error(data) for tensors that are missing, unknown or of
  // another shape. Throws Error(diverged) naming a value of the model that is not finite.
  Predictor(const Module& net, const Checkpoint& model, PredictorOptions options);

  // A net from the file that save_safetensors wrote of Trainer::model(), or from a run directory of `norma train`, in which it reads
  // model.safetensors. Net, input, transform and classes are the file's, not the options'.
  // Throws Error(data) naming a file that is missing, damaged or does not say what its net is, as that of an nn::Operation.
  static Predictor load(const std::filesystem::path& model, PredictorOptions options = {});

  // Writes the net's output for each sample, one after the other: outputs has samples * output().elements() floats, (N,F) or (N,C,H,W).
  // samples: [N][C][H][W] or [N][F], as stored.
  // Throws Error(usage) for samples of the other type and for wrong sizes; Error(data) naming sample and feature that are not finite;
  // Error(diverged) naming sample and output that are not finite. An nn::Operation in the net is called on this thread.
  void predict(std::span<const std::uint8_t> samples, std::span<float> outputs) const;
  void predict(std::span<const float> samples, std::span<float> outputs) const;
  std::vector<float> predict(std::span<const std::uint8_t> samples) const;
  std::vector<float> predict(std::span<const float> samples) const;

  const Shape& input() const;                       // of one sample, as stored
  DType sample_type() const;                        // u8 or f32, as stored
  const Shape& output() const;                      // of one sample
  const std::vector<std::string>& classes() const;  // names that the file gave, at most one an output; else empty
  // Changes in reading the model, a sentence each: see Trainer::load_model.
  const std::vector<std::string>& notes() const;

 private:
  struct State;
  explicit Predictor(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

}  // namespace norma
