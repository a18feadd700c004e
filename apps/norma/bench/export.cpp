// norma bench export: where a run of a recipe starts, written down for a program that is to repeat it.
#include <fmt/format.h>

#include "apps/norma/bench/bench.h"
#include "apps/norma/files/file_list.h"
#include "apps/norma/files/folders.h"
#include "apps/norma/system/log.h"
#include "apps/norma/system/machine.h"
#include "apps/norma/system/terminal.h"
#include "apps/norma/weights/initial_weights.h"
#include "norma/error.h"

namespace norma::app {

namespace fs = std::filesystem;

int bench_export(const ExportRequest& request) {
  set_up_log(detect_terminal(fileno(stderr)), request.quiet);
  Recipe recipe = parse_recipe(find_recipe(request.recipe), request.overrides);
  const DatasetPair data = load_data(recipe.data);
  Trainer trainer(build_model(recipe.model),
                  trainer_options(recipe, data.train.sample, choose_device(recipe.device.kind, executor_options(recipe.device))));
  if (!recipe.init.file.empty()) load_initial_weights(trainer, read_initial_weights(recipe.init), recipe.init, false);
  StoredTensor order{"order", DType::i32, {recipe.train.epochs, data.train.size()}, {}};
  for (std::int64_t epoch = 0; epoch < recipe.train.epochs; ++epoch) {
    const std::vector<std::int32_t> samples = trainer.sample_order(data.train.size(), epoch);
    const auto bytes = std::as_bytes(std::span(samples));
    order.bytes.insert(order.bytes.end(), bytes.begin(), bytes.end());
  }
  make_folder(request.folder, "the folder");
  const fs::path weights_file = request.folder / "weights.safetensors", order_file = request.folder / "order.safetensors";
  FileList files(request.folder);
  files.write("weights.safetensors", encode_safetensors(trainer.model(), weights_file));
  files.write("order.safetensors", encode_safetensors({{std::move(order)}, {}}, order_file));
  print_path(weights_file);
  print_path(order_file);
  return 0;
}

}  // namespace norma::app
