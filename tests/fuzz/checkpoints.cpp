// safetensors files, and the training state that a Trainer takes from one.
#include <cmath>
#include <cstring>
#include <optional>

#include "norma/checkpoint.h"
#include "norma/tensor_summary.h"
#include "norma/trainer.h"
#include "norma/weights.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/torch_files.h"

namespace norma::fuzz {
namespace {

bool same(const StoredTensor& a, const StoredTensor& b) {
  return a.name == b.name && a.dtype == b.dtype && a.shape == b.shape && a.bytes == b.bytes;
}

// A file that loads can be looked at, and has no foreign type. A checkpoint that was read survives being written and read again.
void run_safetensors(Bytes input) {
  const std::filesystem::path path = file("input", input);
  std::size_t listed = 0, foreign = 0;
  const bool looked_at =
      refused_or_read({ErrorKind::data}, [&] { listed = summarize_safetensors(path).size(), foreign = foreign_types(path).size(); });
  Checkpoint read;
  if (!refused_or_read({ErrorKind::data}, [&] { read = load_safetensors(path); })) return;
  expect(looked_at && foreign == 0 && listed == read.tensors.size(), "loaded, and not all of it listed");
  save_safetensors(folder() / "again", read);
  const Checkpoint again = load_safetensors(folder() / "again");
  expect(again.metadata == read.metadata && again.tensors.size() == read.tensors.size(), "another file once written and read again");
  for (std::size_t i = 0; i < read.tensors.size(); ++i)
    expect(same(read.tensors[i], again.tensors[i]), "another tensor once written and read again");
}

std::string saved(const Checkpoint& c) {
  save_safetensors(folder() / "seed", c);
  return contents(folder() / "seed");
}

void safetensors_seeds(const std::function<void(const std::string&)>& add) {
  Checkpoint c;
  add(saved(c));
  const float floats[] = {1, 2, 3, 4, 5, 6};
  const std::int64_t integer[] = {7};
  c.tensors.push_back(StoredTensor::from("a.weight", {2, 3}, floats));
  c.tensors.push_back(StoredTensor::from("count", {}, integer));
  c.metadata["format"] = "pt";
  add(saved(c));
}

// A checkpoint read from torch.save's file survives as a safetensors file.
void run_pt(Bytes input) {
  const std::filesystem::path path = file("input.pt", input);
  Checkpoint read;
  if (!refused_or_read({ErrorKind::data}, [&] { read = load_pt(path); })) return;
  std::size_t bytes = 0;
  for (const StoredTensor& t : read.tensors) bytes += t.bytes.size();
  expect(bytes <= 2 * input.size() + (std::size_t{1} << 20), "tensors larger than the file allows");
  save_safetensors(folder() / "again", read);
  const Checkpoint again = load_safetensors(folder() / "again");
  expect(again.tensors.size() == read.tensors.size(), "another file once written and read again");
  for (std::size_t i = 0; i < read.tensors.size(); ++i)
    expect(same(read.tensors[i], again.tensors[i]), "another tensor once written and read again");
}

void pt_seeds(const std::function<void(const std::string&)>& add) {
  add(test::small_torch_file(false));
  add(test::small_torch_file(true));
  const std::string bytes(48, '\1');
  for (const char* type : {"HalfStorage", "BFloat16Storage", "DoubleStorage", "LongStorage", "ByteStorage"}) {
    const int size = std::string_view(type).starts_with("Byte")                                                                  ? 1
                     : std::string_view(type).find("16") != std::string_view::npos || std::string_view(type).starts_with("Half") ? 2
                                                                                                                                 : 8;
    const std::string tensor = test::tensor("0", 48 / size, 1, {2, 2}, {1, 2}, type);
    add(test::zip_of(
        test::torch_parts(test::pickle(test::dict({{"model", test::dict({{"w", tensor}})}, {"epoch", test::integer(3)}})), {bytes})));
  }
}

// 10 samples in batches of 3, the smallest net that has every kind of state.
Trainer tiny_trainer(bool shuffle, bool adam) {
  const nn::Sequential net{nn::BatchNorm{}, nn::Flatten{}, nn::Linear{2}};
  TrainerOptions o{.input = {1, 2, 2}, .batch = 3};
  o.shuffle = shuffle;
  o.executor.threads = 1;
  if (adam) o.optimizer = Adam{};
  else o.optimizer = Sgd{.lr = 0.1, .momentum = 0.9};
  return Trainer(net, o);
}

const Dataset& samples() {
  static const Dataset set = [] {
    Dataset d{.name = "fuzz", .sample = {1, 2, 2}, .bytes = {}, .floats = {}, .labels = {}, .classes = {"a", "b"}};
    for (int i = 0; i < 40; ++i) d.bytes.push_back(static_cast<std::uint8_t>(i * 37));
    for (int i = 0; i < 10; ++i) d.labels.push_back(i % 2);
    return d;
  }();
  return set;
}

// Whatever the counters say, a state is refused, or goes on with samples that are there.
void run_training(Bytes input) {
  if (input.empty()) return;
  const bool shuffle = input[0] & 1, adam = input[0] & 2;
  const std::filesystem::path path = file("input", input.subspan(1));
  Checkpoint state;
  if (!refused_or_read({ErrorKind::data}, [&] { state = load_safetensors(path); })) return;
  Trainer trainer = tiny_trainer(shuffle, adam);
  const std::string before = trainer.parameters_hash();
  if (!refused_or_read({ErrorKind::data, ErrorKind::usage}, [&] { trainer.load_training(state); })) {
    expect(trainer.epochs_done() == 0 && trainer.steps_done() == 0 && trainer.parameters_hash() == before, "half of a refused state taken");
    return;
  }
  refused_or_read({ErrorKind::data, ErrorKind::usage, ErrorKind::diverged}, [&] {
    int steps = 0;
    const std::int64_t done = trainer.epochs_done(), epochs = done < std::int64_t{1} << 40 ? done + 2 : done;
    trainer.fit(samples(), nullptr, {.epochs = epochs, .on_step = [&](const Progress& p) {
                                       expect(p.batch <= p.batches && p.batches == 4, "a batch that is none of the epoch's");
                                       return ++steps < 10;
                                     }});
    const Evaluation e = trainer.evaluate(samples());
    expect(e.samples == 10 && e.accuracy >= 0 && e.accuracy <= 1, "an accuracy that is none");
    (void)trainer.training();
  });
}

void training_seeds(const std::function<void(const std::string&)>& add) {
  for (int which = 0; which < 4; ++which)
    for (const int stop : {0, 2, 4}) {
      Trainer trainer = tiny_trainer(which & 1, which & 2);
      int steps = 0;
      if (stop > 0) trainer.fit(samples(), nullptr, {.epochs = 2, .on_step = [&](const Progress&) { return ++steps < stop; }});
      add(static_cast<char>(which) + saved(trainer.training()));
    }
}

}  // namespace

const Fuzzer safetensors{"safetensors", "safetensors files, read, written and read again", run_safetensors, safetensors_seeds};
const Fuzzer pt{"pt", "files of torch.save, read and written as safetensors", run_pt, pt_seeds};
const Fuzzer training{"training", "training state, and the steps that follow from it", run_training, training_seeds};

}  // namespace norma::fuzz
