// norma doctor: what this build and this machine offer, and what to do about what is missing. Always exits with 0.
#include <dlfcn.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/norma/commands.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/recipe/recipe.h"
#include "apps/norma/system/choices.h"
#include "apps/norma/system/figures.h"
#include "apps/norma/system/machine.h"
#include "apps/norma/system/terminal.h"
#include "norma/device.h"
#include "norma/error.h"
#include "norma/text.h"

namespace norma::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

// A line of the report: what, how it is, and what to do where it is not well.
struct Finding {
  std::string name;
  ordered_json value;
  std::string text, fix;
};

Finding device_finding() {
  const Device best = Device::best();
  const std::string reason = best_device_reason();
  std::string description;
  try {
    description = make_executor(best)->description();
  } catch (const Error& e) {
    description = std::string("none: ") + e.what();
  }
  return {"device", {{"best", to_string(best)}, {"description", description}, {"reason", reason}}, description, ""};
}

std::string cuda_version(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

// "what is wrong; what to do"
std::pair<std::string, std::string> split_problem(const std::string& problem) {
  const std::size_t at = problem.find("; ");
  return at == std::string::npos ? std::pair{problem, std::string()} : std::pair{problem.substr(0, at), problem.substr(at + 2)};
}

Finding cuda_finding(const CudaReport& r) {
  const bool usable = !r.gpus.empty() && r.gpus[0].problem.empty();
  auto [what, fix] = split_problem(r.problem);
  if (fix.empty() && !what.empty())  // built with CUDA, and nothing to use
    fix = r.driver == 0 ? fmt::format("install NVIDIA's driver{}", r.needed_driver.empty() ? "" : ", " + r.needed_driver + " or later")
                        : "look for the GPU with nvidia-smi; CUDA_VISIBLE_DEVICES and containers can hide it";
  if (!fix.empty()) fix += "; until then training runs on the CPU";
  std::string text = what;
  if (r.built) {
    text = fmt::format("built with CUDA {} for {}", cuda_version(r.runtime), r.architectures);
    if (!r.needed_driver.empty()) text += fmt::format(", needs driver {} or later", r.needed_driver);
    if (r.driver) text += ", the driver knows CUDA " + cuda_version(r.driver);
    if (!what.empty()) text += ": " + what;
  }
  return {"cuda",
          {{"usable", usable},
           {"reason", best_device_reason()},
           {"built", r.built},
           {"architectures", r.architectures},
           {"runtime", r.built ? ordered_json(cuda_version(r.runtime)) : ordered_json(nullptr)},
           {"needed_driver", r.needed_driver.empty() ? ordered_json(nullptr) : ordered_json(r.needed_driver)},
           {"driver", r.driver ? ordered_json(cuda_version(r.driver)) : ordered_json(nullptr)},
           {"gpus", r.gpus.size()}},
          text,
          fix};
}

Finding gpu_finding(const CudaReport::Gpu& gpu, std::size_t index) {
  const auto [what, fix] = split_problem(gpu.problem);
  return {fmt::format("gpu {}", index),
          {{"name", gpu.name},
           {"compute_capability", fmt::format("{}.{}", gpu.major, gpu.minor)},
           {"multiprocessors", gpu.multiprocessors},
           {"memory_bytes", gpu.memory},
           {"problem", gpu.problem}},
          fmt::format("{}, compute capability {}.{}, {} multiprocessors, {}: {}", gpu.name, gpu.major, gpu.minor, gpu.multiprocessors,
                      with_prefix(static_cast<double>(gpu.memory), "B"), what.empty() ? "usable" : what),
          fix.empty() && !what.empty() ? "nvidia-smi shows its state and who else uses it" : fix};
}

// Only a fact: norma itself never uses it.
Finding cudnn_finding() {
  std::string version;
  if (void* library = ::dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL)) {
    if (void* symbol = ::dlsym(library, "cudnnGetVersion")) {
      const std::size_t v = reinterpret_cast<std::size_t (*)()>(symbol)();
      version = fmt::format("{}.{}.{}", v / 10000, v / 100 % 100, v % 100);
    }
  }
  return {"cudnn", version.empty() ? ordered_json(nullptr) : ordered_json(version),
          (version.empty() ? "not found" : version) + " (only tests and norma verify use it)", ""};
}

Finding isa_finding() {
  const std::vector<std::string> levels = cpu_isa_levels();
  return {"isa", levels, levels.empty() ? "none" : join(levels), levels.empty() ? "this build needs an x86-64 with AVX2 and FMA" : ""};
}

Finding dataset_finding(const std::string& name) {
  const std::optional<fs::path> folder = find_dataset(name);
  return {"data: " + name, folder ? ordered_json(folder->string()) : ordered_json(nullptr), folder ? folder->string() : "not found",
          folder ? "" : "norma data fetch " + name + (name == "fashion-mnist" ? ", or apt-get install dataset-fashion-mnist" : "")};
}

// Free space where `path` is or would be made.
Finding disk_finding(const std::string& name, fs::path path) {
  std::error_code ec;
  const fs::path wanted = path;
  while (!fs::exists(path, ec) && path.has_relative_path()) path = path.parent_path();
  const fs::space_info space = fs::space(path, ec);
  if (ec) return {name, nullptr, wanted.string() + ": " + ec.message(), "choose another folder"};
  constexpr std::uintmax_t plenty = 200'000'000;  // a data set with its copy in flight, and some checkpoints
  return {name,
          {{"path", wanted.string()}, {"free_bytes", space.available}},
          fmt::format("{}, {} free", wanted.string(), with_prefix(static_cast<double>(space.available), "B")),
          space.available < plenty ? "make room: a data set and its run take up to 200 MB" : ""};
}

Finding cache_finding() {
  try {
    return disk_finding("cache", dataset_cache());
  } catch (const Error& e) {
    return {"cache", nullptr, e.what(), "set HOME or XDG_CACHE_HOME"};
  }
}

std::vector<Finding> findings() {
  const Environment e = this_environment();
  std::vector<Finding> all{{"norma", e.norma_version, e.norma_version, ""},
                           {"compiler", e.compiler, e.compiler, ""},
                           {"system", e.os, e.os + ", " + e.kernel, ""},
                           {"cpu", e.cpu, e.cpu, ""},
                           {"cores", e.cores, fmt::format("{} for this process; --threads N uses fewer", e.cores), ""},
                           isa_finding(),
                           device_finding()};
  const CudaReport cuda = cuda_report();
  all.push_back(cuda_finding(cuda));
  for (std::size_t i = 0; i < cuda.gpus.size(); ++i) all.push_back(gpu_finding(cuda.gpus[i], i));
  all.push_back(cudnn_finding());
  std::vector<std::string> folders;
  for (const fs::path& p : dataset_search_path()) folders.push_back(p.string());
  all.push_back({"search path", folders, join(folders), ""});
  for (const std::string& name : known_datasets()) all.push_back(dataset_finding(name));
  std::vector<std::string> recipes;
  for (const EmbeddedRecipe& r : embedded_recipes()) recipes.emplace_back(r.name);
  all.push_back({"recipes", recipes, join(recipes), ""});
  all.push_back(cache_finding());
  all.push_back(disk_finding("runs", fs::absolute("runs")));
  const Terminal t = detect_terminal(fileno(stderr));
  all.push_back({"terminal",
                 {{"interactive", t.interactive}, {"color", t.color}, {"columns", t.columns}},
                 fmt::format("{}, {} columns, {}", t.interactive ? "interactive" : "not interactive: a line an epoch instead of a bar",
                             t.columns, t.color ? "color" : "no color"),
                 ""});
  return all;
}

int run(bool json) {
  const std::vector<Finding> all = findings();
  const Terminal terminal = detect_terminal(fileno(stdout));
  if (json) {
    ordered_json j = ordered_json::object();
    for (const Finding& f : all) {
      j[f.name] = f.value;
      if (!f.fix.empty()) j["fixes"][f.name] = f.fix;
    }
    print_result(json_document(j, 2));
    return 0;
  }
  std::string out;
  for (const Finding& f : all) {
    out += fmt::format("{:<20}{}\n", printable(f.name), printable(f.text));
    if (!f.fix.empty()) out += fmt::format("{:<20}{} {}\n", "", painted(terminal, Color::yellow, "fix:"), printable(f.fix));
  }
  print_bytes(out);
  return 0;
}

}  // namespace

Command add_doctor(CLI::App& norma) {
  auto json = std::make_shared<bool>(false);
  CLI::App& app = *norma.add_subcommand("doctor", "Report what this build and this machine offer");
  app.add_flag("--json", *json, "One JSON object on stdout");
  return {&app, [json] { return run(*json); }};
}

}  // namespace norma::app
