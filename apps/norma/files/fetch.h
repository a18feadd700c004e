// Downloads the known data sets: several mirrors in order, and nothing left on disk but files that are complete and right.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace norma::app {

struct FetchProgress {
  std::string file;         // train-images-idx3-ubyte.gz
  std::string url;          // of this attempt
  std::uint64_t done = 0;   // bytes received
  std::uint64_t total = 0;  // bytes announced; 0: not known
  int number = 0;           // this file among the set's files, from 1
  int files = 0;
};

struct FetchOptions {
  // Base URLs (http or https), tried in order, the one that served the file before first. Empty: default_mirrors(name).
  std::vector<std::string> mirrors{};
  // Called while bytes arrive (also while none do, about once a second). false: stop, leaving only files that were complete before.
  std::function<bool(const FetchProgress&)> on_progress{};
  // One line when a mirror fails and the next one is tried.
  std::function<void(const std::string&)> on_warning{};
  double connect_seconds = 15;  // to reach a server
  double stall_seconds = 30;    // without a byte
  int redirects = 5;
};

// $NORMA_MIRROR where set: base URLs separated by blanks, used instead of the built-in ones, with <name>/ put behind each.
// Otherwise the published mirrors of the set. Throws Error(usage) for a set that is not known.
std::vector<std::string> default_mirrors(const std::string& name);

// Brings the four .gz files of `name` into <root>/<name>/, skipping those that are there and right. Each is written to
// a PartFile, checked by the sha256 of its decompressed bytes, and renamed. Returns false if on_progress stopped it.
// Throws Error(data) listing what every mirror answered, Error(failure) where the folder cannot be written.
bool fetch_dataset(const std::string& name, const std::filesystem::path& root, const FetchOptions& options = {});

// Fetches one file of the set ("t10k-labels-idx1-ubyte") into `folder`, by the same rules.
bool fetch_file(const std::string& name, const std::string& file, const std::filesystem::path& folder, const FetchOptions& options = {});

}  // namespace norma::app
