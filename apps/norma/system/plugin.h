// Plugins: modules in the program's folder, or where `cmake --install` puts them. They alone are linked against a library which the machine
// may lack.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

namespace norma::app {

// The folder of the running program.
std::filesystem::path program_folder();

struct ModuleFile {
  const char* name;      // "norma_onednn": of <name>.so, and of the function in it that hands out its table
  std::int32_t version;  // of the table, whose first member it is
  const char* library;   // "oneDNN"
  const char* advice;    // what to do where it is missing: "; to compare: install ..."
};

// The table of the module in the program's folder, else where modules are installed. Null where it cannot be loaded: then `missing` says
// why and what to do. A module stays loaded: its threads may outlive any use.
const std::int32_t* load_module(const std::filesystem::path& folder, const ModuleFile& module, std::string& missing);

template <class Table>
const Table* load_table(const std::filesystem::path& folder, const ModuleFile& module, std::string& missing) {
  return reinterpret_cast<const Table*>(load_module(folder, module, missing));
}

}  // namespace norma::app
