#include "apps/norma/weights/initial_weights.h"

#include <fmt/format.h>

#include "apps/norma/system/log.h"
#include "apps/norma/weights/weights_table.h"
#include "norma/error.h"
#include "norma/files.h"
#include "norma/text.h"

namespace norma::app {

namespace fs = std::filesystem;

namespace {

fs::path weights_in(const fs::path& file) {
  std::error_code ec;
  return fs::is_directory(file, ec) ? file / "model.safetensors" : file;
}

}  // namespace

void refuse_own_weights(const fs::path& file, const fs::path& run) {
  std::error_code ec;
  if (file.empty() || !fs::equivalent(fs::weakly_canonical(weights_in(file), ec).parent_path(), run, ec)) return;
  throw Error(ErrorKind::usage, fmt::format("--init {}: --force would remove that file with the run in {}; name another folder with --out",
                                            file.string(), run.string()));
}

InitialWeights read_initial_weights(InitSection& init) {
  const fs::path file = weights_in(init.file);
  const std::string digest = sha256_of_file(file);
  if (!init.sha256.empty() && init.sha256 != digest)
    throw Error(
        ErrorKind::data,
        fmt::format("{}: is not the file that init.sha256 means, {}: its digest is {}; put that file back, or train anew in another "
                    "folder (in a recipe: remove init.sha256)",
                    file.string(), init.sha256, digest));
  InitialWeights weights{file, load_weights(file, init.key)};
  if (const std::string fault = first_fault(weights.checkpoint); !fault.empty())
    throw Error(ErrorKind::data, fmt::format("{}: {}: no training can begin with it", file.string(), fault));
  init.sha256 = digest;
  return weights;
}

void load_initial_weights(Trainer& trainer, const InitialWeights& weights, const InitSection& init, bool tell) {
  LoadReport report;
  try {
    report = trainer.load_model(weights.checkpoint,
                                {.rename = init.renames(), .missing = init.missing, .extra = init.extra, .rename_word = "--init-rename"});
  } catch (const Error& e) {
    throw Error(e.kind(), weights.file.string() + ": " + e.what());
  }
  if (!tell) return;
  log_info(fmt::format("weights: {}, sha256 {}{}", weights.file.string(), init.sha256, loading_table(report.tensors)));
  for (const std::string& note : report.notes) log_info(note);
}

}  // namespace norma::app
