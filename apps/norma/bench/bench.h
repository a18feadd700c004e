// norma bench: what its subcommands share. Times are medians over steps; variants are run in turn, so that noise meets all alike.
#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/norma/bench/statistics.h"
#include "apps/norma/recipe/recipe.h"
#include "norma/instruments.h"

namespace norma::app {

struct BenchRequest {
  std::string recipe;
  std::vector<Override> overrides;
  std::vector<std::int64_t> threads, batches;  // empty: 1 and every core; the recipe's
  std::string isa = "auto", device = "auto";
  std::int64_t steps = 0, rounds = 0;  // 0: the subcommand's own
  bool eval = false, json = false, quiet = false;
};

// --device, checked; auto is the CPU where threads or a level are given, and says what it chose. Throws Error(usage) for those of a GPU,
// Error(device) if it cannot be used.
Device bench_device(const std::string& device, bool has_threads, const std::string& isa);

// One run of the recipe: with one of the batch sizes and one of the thread counts.
Recipe variant(const BenchRequest& request, std::int64_t batch, std::int64_t threads);
// A GPU has the single count 0.
std::vector<std::int64_t> thread_counts(const BenchRequest& request, const Device& device);

nlohmann::ordered_json to_json(const Roofline& r);
// "1 thread: 117.9 GFLOP/s; memory GB/s: copy 20.1, streaming 25.4, read 22.0"; of a GPU the tensor cores, too.
std::string describe(const Roofline& r);

// `text` in `width` columns; what is too long keeps its end.
std::string fit(const std::string& text, std::size_t width);

struct EpochRequest {
  std::string recipe;
  std::vector<Override> overrides;
  std::int64_t runs = 3;  // in processes of their own
  bool json = false, quiet = false;
};

struct LatencyRequest {
  std::string device = "cuda";
  std::int64_t rounds = 50;
  bool json = false, quiet = false;
};

struct PredictBenchRequest {
  std::string recipe;
  std::vector<Override> overrides;
  std::vector<std::int64_t> samples{1, 4, 16, 256};
  std::string isa = "auto";
  std::int64_t rounds = 7;
  double seconds = 0.2;  // of a number of samples in a round
  bool json = false, quiet = false;
};

struct ExportRequest {
  std::filesystem::path folder;
  std::string recipe;
  std::vector<Override> overrides;
  bool quiet = false;
};

int bench_step(const BenchRequest& request);
int bench_calls(const BenchRequest& request);
int bench_epoch(const EpochRequest& request);
int bench_latency(const LatencyRequest& request);
int bench_predict(const PredictBenchRequest& request);
// weights.safetensors: parameters and buffers before the first step. order.safetensors: "order", i32 (epochs, samples), the index of the
// stored sample that comes k-th in each epoch.
int bench_export(const ExportRequest& request);

}  // namespace norma::app
