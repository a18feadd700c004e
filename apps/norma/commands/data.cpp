// norma data: fetch, verify, find and look at data sets.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <limits>
#include <nlohmann/json.hpp>

#include "apps/norma/commands.h"
#include "apps/norma/draw/png.h"
#include "apps/norma/files/fetch.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/recipe/values.h"
#include "apps/norma/system/choices.h"
#include "apps/norma/system/log.h"
#include "apps/norma/system/progress.h"
#include "apps/norma/system/signals.h"
#include "norma/error.h"
#include "norma/files.h"
#include "norma/text.h"

namespace norma::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

struct DataRequest {
  std::vector<std::string> names;
  std::optional<fs::path> dir;
  std::string data_dir;
  bool json = false, force = false, quiet = false;
  ProgressMode progress = ProgressMode::automatic;
  // show
  bool train_split = false;
  std::int64_t first = 0, rows = 4, columns = 10;
  fs::path out;
};

void check_names(const std::vector<std::string>& names) {
  const std::vector<std::string> known = known_datasets();
  for (const std::string& name : names)
    if (std::find(known.begin(), known.end(), name) == known.end())
      throw Error(ErrorKind::usage, fmt::format("unknown data set \"{}\"{}; there are {}", name, did_you_mean(name, known), join(known)));
}

bool complete(const std::vector<FileCheck>& files) {
  return std::all_of(files.begin(), files.end(), [](const FileCheck& f) { return f.status == FileCheck::Status::ok; });
}

// The folder for fetched sets: the folder given, $NORMA_DATA_DIR, else the cache.
fs::path fetch_root(const DataRequest& request) {
  if (request.dir) return *request.dir;
  if (const char* folder = std::getenv("NORMA_DATA_DIR"); folder && *folder) return folder;
  return dataset_cache();
}

int fetch(const DataRequest& request) {
  check_names(request.names);
  watch_signals("complete files stay, norma data fetch continues from there");
  const fs::path root = fetch_root(request);
  ProgressDisplay progress(request.progress, request.quiet, detect_terminal(fileno(stderr)));
  for (const std::string& name : request.names) {
    const std::optional<fs::path> there = find_dataset(name, request.dir);
    // A folder that was asked for is filled even where another one has the set.
    const bool serves = there && (!request.dir || there->lexically_normal().string().starts_with(request.dir->lexically_normal().string()));
    if (serves && !request.force && complete(check_dataset(name, *there))) {
      log_info(name + " is there, complete and checked");
      print_path(*there);
      continue;
    }
    FetchOptions options;
    options.on_progress = [&](const FetchProgress& p) {
      progress.transfer(fmt::format("{}/{} {}", p.number, p.files, p.file), static_cast<double>(p.done), static_cast<double>(p.total));
      return stop_signal() == 0;
    };
    options.on_warning = [&](const std::string& line) {
      progress.clear();
      log_warning(line);
    };
    log_info(fmt::format("fetching {} to {}", name, (root / name).string()));
    const bool whole = [&] {
      const Unsaved unsaved;
      return fetch_dataset(name, root, options);
    }();
    progress.clear();
    if (!whole) {
      log_warning("stopped; complete files stay, norma data fetch continues from there");
      return 128 + stop_signal();
    }
    print_path(root / name);
  }
  return 0;
}

const char* name_of(FileCheck::Status s) {
  switch (s) {
    case FileCheck::Status::ok: return "ok";
    case FileCheck::Status::missing: return "missing";
    case FileCheck::Status::mismatch: return "wrong";
  }
  return "?";
}

// Every file of the named sets (default: of those found) against the published sha256.
int verify(const DataRequest& request) {
  check_names(request.names);
  const bool named = !request.names.empty();
  ordered_json sets = ordered_json::array();
  std::string text, wrong;
  for (const std::string& name : named ? request.names : known_datasets()) {
    const std::optional<fs::path> folder = find_dataset(name, request.dir);
    if (!folder) {
      if (named) wrong += (wrong.empty() ? "" : ", ") + name + " is not found (norma data fetch " + name + ")";
      else text += fmt::format("{}: not found\n", name);
      sets.push_back({{"name", name}, {"folder", nullptr}, {"ok", false}});
      continue;
    }
    const std::vector<FileCheck> files = check_dataset(name, *folder);
    text += fmt::format("{}: {}\n", name, printable(folder->string()));
    ordered_json rows = ordered_json::array();
    for (const FileCheck& f : files) {
      text += fmt::format("  {:<8} {:<24} {:>9} bytes  sha256 {}{}\n", name_of(f.status), f.file, f.bytes,
                          f.sha256.empty() ? "-" : f.sha256.substr(0, 16), f.detail.empty() ? "" : "  " + printable(f.detail));
      rows.push_back({{"file", f.file},
                      {"path", f.path.string()},
                      {"status", name_of(f.status)},
                      {"bytes", f.bytes},
                      {"sha256", f.sha256},
                      {"detail", f.detail}});
      if (f.status == FileCheck::Status::ok) continue;
      const std::string what = f.detail.empty() ? name_of(f.status) : f.detail;
      const bool names_it = what.starts_with(f.path.string());
      wrong += fmt::format("{}{}{}", wrong.empty() ? "" : ", ", names_it ? "" : f.path.string() + ": ", what);
    }
    sets.push_back({{"name", name}, {"folder", folder->string()}, {"ok", complete(files)}, {"files", rows}});
  }
  print_result(request.json ? json_document(sets) : text);
  if (!wrong.empty()) throw Error(ErrorKind::data, wrong);
  return 0;
}

int path(const DataRequest& request) {
  check_names(request.names);
  if (request.names.empty()) {
    for (const fs::path& p : dataset_search_path(request.dir)) print_path(p);
    return 0;
  }
  for (const std::string& name : request.names) {
    const std::optional<fs::path> folder = find_dataset(name, request.dir);
    if (!folder) throw Error(ErrorKind::data, fmt::format("{} is not found; fetch it with: norma data fetch {}", name, name));
    print_path(*folder);
  }
  return 0;
}

// One sample as characters, two for each pixel because a character is twice as high as wide.
std::string drawing(const Dataset& d, std::int64_t index) {
  constexpr std::string_view ramp = " .:-=+*#%@";
  const std::int64_t h = d.sample[1], w = d.sample[2];
  std::string out;
  for (std::int64_t y = 0; y < h; ++y) {
    std::string line;
    for (std::int64_t x = 0; x < w; ++x) {
      const auto v = d.bytes[static_cast<std::size_t>(index * d.sample.elements() + y * w + x)];
      line.append(2, ramp[static_cast<std::size_t>(v) * (ramp.size() - 1) / 255]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

DataSection::Source source_called(const std::string& name) {
  std::vector<std::string> known;
  for (const DataSource& s : data_sources) {
    if (s.own_files) continue;
    if (s.name == name) return s.source;
    known.emplace_back(s.name);
  }
  throw Error(ErrorKind::usage, fmt::format("unknown data set \"{}\"{}; there are {}", name, did_you_mean(name, known), join(known)));
}

// Whose a picture is cannot be told: one that is there stays, unless it is the same.
void save_picture(const fs::path& file, const Image& image) {
  const std::vector<std::byte> bytes = encode_png(image);
  std::error_code ec;
  if (!fs::exists(fs::symlink_status(file, ec))) return write_file(file, bytes);
  if (!fs::is_regular_file(file, ec) || sha256_of_file(file) != sha256(bytes))
    throw Error(ErrorKind::usage, file.string() + " exists and is another picture: remove it, or --out names another");
}

int show(const DataRequest& request) {
  // Refused at once, not after the data has been read.

  DataSection section;
  section.source = source_called(request.names.at(0));
  if (request.dir) section.dir = *request.dir;
  const DatasetPair pair = load_data(section);
  const Dataset& d = request.train_split ? pair.train : pair.test;
  if (request.first >= d.size())
    throw Error(ErrorKind::usage, fmt::format("--first {}: {} has {} samples", request.first, d.name, d.size()));
  std::vector<std::int64_t> counts(d.classes.size());
  for (const std::int32_t label : d.labels) ++counts.at(static_cast<std::size_t>(label));
  std::string text =
      fmt::format("{}: {} samples {}, {} classes ({})\n", d.name, d.size(), to_string(d.sample), d.classes.size(), printable(pair.source));
  for (std::size_t c = 0; c < counts.size(); ++c) text += fmt::format("{:>7}  {}\n", counts[c], d.classes[c]);
  if (!request.out.empty()) {
    save_picture(request.out, sample_grid(d, request.rows, request.columns, request.first));
    text += "picture: " + printable(request.out.string()) + "\n";
  } else if (d.sample.rank() == 3) {
    const auto label = static_cast<std::size_t>(d.labels[static_cast<std::size_t>(request.first)]);
    text += fmt::format("sample {}: {}\n{}", request.first, d.classes[label], drawing(d, request.first));
  }
  print_result(text);
  return 0;
}

}  // namespace

Command add_data(CLI::App& norma) {
  auto request = std::make_shared<DataRequest>();
  CLI::App& app = *norma.add_subcommand("data", "Fetch, verify, find and look at data sets");
  app.require_subcommand(1);
  CLI::App& fetch_app = *app.add_subcommand("fetch", "Download sets; each file is checked by its sha256");
  CLI::App& verify_app = *app.add_subcommand("verify", "Check the files of sets against the published sha256");
  CLI::App& path_app = *app.add_subcommand("path", "Print the folder of a set; without a name, the folders that are searched");
  CLI::App& show_app = *app.add_subcommand("show", "Show classes, counts and samples of a set");
  fetch_app.add_option("name", request->names, "mnist, fashion-mnist")->required();
  verify_app.add_option("name", request->names, "mnist, fashion-mnist; default: those that are found");
  path_app.add_option("name", request->names, "mnist, fashion-mnist");
  show_app.add_option("name", request->names, "mnist, fashion-mnist, digits or circles")->required()->expected(1);
  for (CLI::App* sub : {&fetch_app, &verify_app, &path_app, &show_app})
    sub->add_option("--data-dir", request->data_dir, "Folder that is used first")->type_name("DIR");
  fetch_app.add_flag("--force", request->force, "Fetch even if another folder has the complete set");
  fetch_app.add_flag("--quiet", request->quiet, "No progress");
  verify_app.add_flag("--json", request->json, "A JSON array on stdout");
  show_app.add_flag("--train", request->train_split, "Show the training samples instead of the test samples");
  show_app.add_option("--first", request->first, "Number of the first sample")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()));
  show_app.add_option("--rows", request->rows, "Rows of the picture")->type_name("N")->check(CLI::Range(1, 100));
  show_app.add_option("--columns", request->columns, "Columns of the picture")->type_name("N")->check(CLI::Range(1, 100));
  show_app.add_option("--out", request->out, "Write a picture of rows x columns samples")->type_name("FILE.png");
  return {&app, [request, &fetch_app, &verify_app, &path_app] {
            if (!request->data_dir.empty()) request->dir = request->data_dir;
            if (fetch_app.parsed()) return fetch(*request);
            if (verify_app.parsed()) return verify(*request);
            if (path_app.parsed()) return path(*request);
            return show(*request);
          }};
}

}  // namespace norma::app
