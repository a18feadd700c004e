#include "apps/norma/bench_export.h"

#include <fmt/format.h>

#include "apps/norma/log.h"
#include "apps/norma/recipe_flags.h"
#include "apps/norma/terminal.h"
#include "norma/error.h"

namespace norma::app {

namespace fs = std::filesystem;

int bench_export(const ExportRequest& request) {
  set_up_log(detect_terminal(fileno(stderr)), request.quiet);
  const Recipe recipe = parse_recipe(find_recipe(request.recipe), request.overrides);
  const DatasetPair data = load_data(recipe.data);
  const Trainer trainer(build_model(recipe.model), trainer_options(recipe, data.train.sample, choose_device(recipe.device)));
  StoredTensor order{"order", DType::i32, {recipe.train.epochs, data.train.size()}, {}};
  for (std::int64_t epoch = 0; epoch < recipe.train.epochs; ++epoch) {
    const std::vector<std::int32_t> samples = trainer.sample_order(data.train.size(), epoch);
    const auto bytes = std::as_bytes(std::span(samples));
    order.bytes.insert(order.bytes.end(), bytes.begin(), bytes.end());
  }
  std::error_code ec;
  fs::create_directories(request.folder, ec);
  if (ec) throw Error(ErrorKind::failure, request.folder.string() + ": " + ec.message());
  const fs::path weights_file = request.folder / "weights.safetensors", order_file = request.folder / "order.safetensors";
  save_safetensors(weights_file, trainer.model());
  save_safetensors(order_file, {{std::move(order)}, {}});
  print_path(weights_file);
  print_path(order_file);
  return 0;
}

}  // namespace norma::app
