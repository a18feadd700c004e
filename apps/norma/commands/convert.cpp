// norma convert: weights of PyTorch as a safetensors file, under their own names or others.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/norma/commands.h"
#include "apps/norma/files/file_list.h"
#include "apps/norma/files/folder_lock.h"
#include "apps/norma/files/folders.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/run/run_files.h"
#include "apps/norma/system/log.h"
#include "apps/norma/system/terminal.h"
#include "apps/norma/weights/weights_table.h"
#include "norma/error.h"
#include "norma/text.h"
#include "norma/weights.h"

namespace norma::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

struct ConvertRequest {
  fs::path in, out;
  std::string key;
  std::vector<Rename> renames;
  bool force = false, json = false;
};

// A line a tensor, of at most 80 columns; names that were changed with what they were.
std::string text_of(const Checkpoint& model, const std::vector<std::string>& before) {
  constexpr std::size_t name_width = 31, shape_width = 16, type_width = 5;
  const auto line = [](std::string_view name, const std::string& shape, std::string_view type, std::string_view was) {
    std::string text = fmt::format("{} {} {} ", name_cell(name, name_width), name_cell(shape, shape_width), name_cell(type, type_width));
    text += was.size() > 24 ? name_cell(was, 24) : printable(was);
    return text.substr(0, text.find_last_not_of(' ') + 1) + "\n";
  };
  std::string table = line("tensor", "shape", "type", "in the file");
  for (std::size_t i = 0; i < std::min(model.tensors.size(), most_lines); ++i) {
    const StoredTensor& t = model.tensors[i];
    std::string was = t.name == before[i] ? "" : before[i];
    if (t.cast_from) was += (was.empty() ? "" : ", ") + std::string(t.cast_from);
    table += line(t.name, shape_text(t.shape), name_of(t.dtype), was);
  }
  if (model.tensors.size() > most_lines) table += fmt::format("... and {} more\n", model.tensors.size() - most_lines);
  return table;
}

int run(const ConvertRequest& request) {
  set_up_log(detect_terminal(fileno(stderr)), false);
  if (request.out.extension() != ".safetensors")
    throw Error(ErrorKind::usage, fmt::format("{}: the file to write is a .safetensors", request.out.string()));
  const fs::path folder = request.out.has_parent_path() ? request.out.parent_path() : fs::path(".");
  const std::string name = request.out.filename().string();
  refuse_replacement(folder, {name.c_str()}, request.force, "OUT");
  Checkpoint model = load_weights(request.in, request.key);
  std::vector<std::string> before;
  for (const StoredTensor& t : model.tensors) before.push_back(t.name);
  rename_tensors(model, request.renames);
  if (!request.renames.empty()) model.metadata.erase("norma.net");  // its layers have the names from before
  model.metadata["format"] = "pt";
  const std::vector<std::byte> bytes = encode_safetensors(model, request.out);
  make_folder(folder, "the folder");
  const FolderLock lock(folder);
  FileList(folder).write(name, bytes);
  if (request.json) {
    ordered_json tensors = ordered_json::array();
    for (std::size_t i = 0; i < model.tensors.size(); ++i) {
      const StoredTensor& t = model.tensors[i];
      tensors.push_back({{"name", t.name},
                         {"shape", t.shape},
                         {"dtype", name_of(t.dtype)},
                         {"file_name", before[i]},
                         {"file_dtype", t.cast_from ? ordered_json(t.cast_from) : ordered_json()}});
    }
    print_result(json_document({{"model", request.out.string()}, {"tensors", tensors}, {"notes", model.notes}}));
    return 0;
  }
  for (const std::string& note : model.notes) log_info(note);
  print_result(text_of(model, before) + fmt::format("{} tensors in {}\n", model.tensors.size(), printable(request.out.string())));
  return 0;
}

}  // namespace

Command add_convert(CLI::App& norma) {
  auto request = std::make_shared<ConvertRequest>();
  CLI::App& app = *norma.add_subcommand("convert", "Write weights of PyTorch (.pt) as safetensors, or rename those of a safetensors file");
  app.add_option("in", request->in, "A .pt or .safetensors file, or a run directory")->required();
  app.add_option("out", request->out, "The .safetensors file to write")->required();
  app.add_option("--key", request->key, "Dictionary of a .pt file that holds several: model; . for the outermost")->type_name("KEY");
  app.add_option_function<std::vector<std::string>>(
         "--rename",
         [request](const std::vector<std::string>& all) {
           for (const std::string& one : all) request->renames.push_back(Rename::parse(one));
         },
         "A name in the file, and what it becomes: 'features.0.*=conv1.*'. May be given many times")
      ->type_name("OLD=NEW")
      ->allow_extra_args(false)
      ->trigger_on_parse();
  app.add_flag("--force", request->force, "Replace an existing file that norma wrote");
  app.add_flag("--json", request->json, "One JSON object on stdout");
  app.footer("Example: norma convert lenet.pt lenet.safetensors --rename 'features.0.*=conv1.*'\nNothing in a .pt file is executed.");
  return {&app, [request] { return run(*request); }};
}

}  // namespace norma::app
