// Folders that norma makes: on disk with the folders that hold them, and each run's its own.
#pragma once
#include <filesystem>
#include <string>

namespace norma::app {

// Makes the folder and those above it that are missing. Throws Error(failure) naming it, `what` ("the run directory") and the cause.
void make_folder(const std::filesystem::path& folder, const std::string& what);

// Makes a folder that was not there: `stem`, else stem-2, stem-3, ... Two processes never get the same one.
std::filesystem::path claim_folder(const std::filesystem::path& stem, const std::string& what);

// Turns a recipe's name into one part of a path: no '/' or control characters, not empty, "." or "..", at most 120 bytes.
std::string folder_name(const std::string& name);

}  // namespace norma::app
