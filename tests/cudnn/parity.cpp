#include "tests/cudnn/parity.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

namespace norma::test {
namespace {

struct Row {
  std::string subject, layout, quantity;
  double norma = 0, bound = 0;
  std::vector<std::pair<std::string, double>> cudnn;  // yardstick, its error
  bool passed = true;
};

struct Table {
  std::vector<Row> rows;
  std::map<std::string, std::vector<std::string>> unsupported;  // "yardstick: reason" to subjects
  struct Count {
    int asked = 0, ran = 0;
  };
  std::map<std::string, Count> graph;  // by operation
};

Table& table() {
  static Table t;
  return t;
}

nlohmann::json number(double x) { return std::isfinite(x) ? nlohmann::json(x) : nlohmann::json(); }

void write_json(const char* path) {
  const Table& t = table();
  nlohmann::json rows = nlohmann::json::array(), unsupported = nlohmann::json::array();
  for (const Row& row : t.rows) {
    nlohmann::json cudnn = nlohmann::json::object();
    for (const auto& [name, error] : row.cudnn) cudnn[name] = number(error);
    rows.push_back({{"subject", row.subject},
                    {"layout", row.layout},
                    {"quantity", row.quantity},
                    {"norma", number(row.norma)},
                    {"cudnn", cudnn},
                    {"bound", row.bound},
                    {"passed", row.passed}});
  }
  for (const auto& [reason, subjects] : t.unsupported) unsupported.push_back({{"reason", reason}, {"subjects", subjects}});
  nlohmann::json graph = nlohmann::json::object();
  for (const auto& [operation, count] : t.graph) graph[operation] = {{"asked", count.asked}, {"ran", count.ran}};
  std::ofstream file(path);
  file << nlohmann::json{{"rows", rows}, {"unsupported", unsupported}, {"graph", graph}}.dump(1) << '\n';
  EXPECT_TRUE(file.flush()) << "cannot write " << path;
}

}  // namespace

double largest(std::span<const double> values) {
  double most = 0;
  for (double v : values) most = std::max(most, std::abs(v));
  return most;
}

double sum_floor(std::int64_t n) { return ulp * (4 + 0.5 * std::sqrt(static_cast<double>(std::min<std::int64_t>(n, 1 << 14)))); }

double error_of(const Quantity& quantity, std::span<const float> actual) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (actual.size() != quantity.expected.size()) return infinity;
  double worst = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double expected = quantity.expected[i], off = std::abs(static_cast<double>(actual[i]) - expected);
    if (off == 0) continue;
    const double error = off / (quantity.scale > 0 ? quantity.scale : std::abs(expected));
    worst = std::max(worst, std::isnan(error) ? infinity : error);
  }
  return worst;
}

void compare(const std::string& subject, const std::string& layout, const Quantity& quantity, std::span<const float> norma,
             std::span<const Yardstick> yardsticks, bool ordinary) {
  Row row{subject, layout, quantity.name, error_of(quantity, norma), quantity.floor, {}, true};
  double smallest = std::numeric_limits<double>::infinity();
  for (const Yardstick& yardstick : yardsticks) {
    if (yardstick.values.empty()) continue;
    const double error = error_of(quantity, yardstick.values);
    row.cudnn.emplace_back(yardstick.name, error);
    smallest = std::min(smallest, error);
    if (ordinary && !(error <= yardstick_bound)) {
      row.passed = false;
      ADD_FAILURE() << subject << ", " << layout << ", " << quantity.name << ": cuDNN (" << yardstick.name << ") is off by " << error
                    << " of " << quantity.scale << ": it computes something else, or was not asked rightly";
    }
  }
  if (quantity.beside_cudnn && !row.cudnn.empty()) row.bound = std::max(row.bound, std::min(4 * smallest, yardstick_limit));
  if (!(row.norma <= row.bound)) {
    row.passed = false;
    ADD_FAILURE() << subject << ", " << layout << ", " << quantity.name << ": norma is off by " << row.norma << ", allowed are "
                  << row.bound << "; cuDNN's own error: " << smallest;
  }
  table().rows.push_back(std::move(row));
}

void note_unsupported(const std::string& subject, const std::string& yardstick, const std::string& reason) {
  table().unsupported[yardstick + ": " + reason].push_back(subject);
}

void count_graph(const std::string& operation, bool ran) {
  Table::Count& count = table().graph[operation];
  ++count.asked;
  count.ran += ran;
}

void finish_table() {
  const Table& t = table();
  if (!t.rows.empty())
    std::printf(
        "\nErrors against double, relative to the largest magnitude; variances relative to each.\n%-34s %-6s %-22s %9s %9s  cuDNN\n",
        "subject", "layout", "quantity", "norma", "bound");
  for (const Row& row : t.rows) {
    std::printf("%-34s %-6s %-22s %9.2e %9.2e ", row.subject.c_str(), row.layout.c_str(), row.quantity.c_str(), row.norma, row.bound);
    for (const auto& [name, error] : row.cudnn) std::printf(" %s %.2e", name.c_str(), error);
    std::printf("%s\n", row.passed ? "" : "  FAILED");
  }
  for (const auto& [reason, subjects] : t.unsupported) {
    std::printf("not offered by cuDNN, %zu times: %s [", subjects.size(), reason.c_str());
    for (std::size_t i = 0; i < subjects.size(); ++i) std::printf("%s%s", i ? ", " : "", subjects[i].c_str());
    std::printf("]\n");
  }
  for (const auto& [operation, count] : t.graph)
    std::printf("cuDNN's graph API had an engine for %d of %d: %s\n", count.ran, count.asked, operation.c_str());
  if (const char* path = std::getenv("NORMA_CUDNN_JSON"); path && *path) write_json(path);
  for (const char* operation : {"training", "backward"}) {
    const auto found = t.graph.find(operation);
    EXPECT_TRUE(found == t.graph.end() || found->second.ran > 0)
        << "cuDNN's graph API never had an engine: batch norm's " << operation << " was not compared with it";
  }
}

}  // namespace norma::test
