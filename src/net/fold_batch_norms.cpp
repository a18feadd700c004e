#include <algorithm>
#include <cmath>
#include <set>

#include "norma/batch_norm_tools.h"
#include "norma/error.h"
#include "norma/model_file.h"
#include "norma/text.h"
#include "src/net/graph_check.h"
#include "src/net/match_tensors.h"
#include "src/net/replay.h"

namespace norma {
namespace {

class Folding {
 public:
  Folding(const Graph& graph, const Checkpoint& model) : graph_(graph), model_(model), readers_(graph.nodes.size(), 0) {
    for (const Node& n : graph.nodes)
      for (const Value v : n.inputs) ++readers_[static_cast<std::size_t>(v.id)];
    for (const Value v : graph.outputs) ++readers_[static_cast<std::size_t>(v.id)];
  }

  FoldedBatchNorms run() {
    std::vector<FoldedBatchNorms::Folded> folded;
    std::vector<FoldedBatchNorms::Kept> kept;
    std::set<std::int32_t> skipped;
    for (const BatchNormSite& site : batch_norms(graph_)) {
      const std::string& path = graph_[site.norm].path;
      if (const std::string reason = why_not(site); !reason.empty()) {
        kept.push_back({path, reason});
        continue;
      }
      fold(site);
      skipped.insert(site.norm.id);
      folded.push_back({path, graph_[site.input].path});
    }
    return {Replay(graph_, std::move(skipped)), std::move(model_), std::move(folded), std::move(kept)};
  }

 private:
  std::string why_not(const BatchNormSite& site) const {
    const Node& before = graph_[site.input];
    if (!std::get<BatchNormNode>(graph_[site.norm].op).options.track_running_stats)
      return "it has no running statistics: it normalises by each batch's own";
    if (!std::holds_alternative<nn::Conv2d>(before.op) && !std::holds_alternative<nn::Linear>(before.op))
      return "it follows " + printable(before.path) + ", which is neither a Conv2d nor a Linear";
    if (readers_[static_cast<std::size_t>(site.input.id)] > 1) return "what " + printable(before.path) + " gives is also read without it";
    return {};
  }

  const StoredTensor& tensor(const std::string& path, const char* what) const { return *model_.find(parameter_name(path, what)); }
  std::vector<float> values(const std::string& path, const char* what) const { return tensor(path, what).floats(); }

  void fold(const BatchNormSite& site) {
    Node& layer = graph_.nodes[static_cast<std::size_t>(site.input.id)];
    const Node& norm = graph_[site.norm];
    const nn::BatchNorm& options = std::get<BatchNormNode>(norm.op).options;
    const std::int64_t channels = norm.shape[1];
    const auto c_end = static_cast<std::size_t>(channels);
    bool& has_bias =
        std::holds_alternative<nn::Conv2d>(layer.op) ? std::get<nn::Conv2d>(layer.op).bias : std::get<nn::Linear>(layer.op).bias;
    const std::vector<float> mean = values(norm.path, "running_mean"), var = values(norm.path, "running_var"),
                             gamma = options.affine ? values(norm.path, "weight") : std::vector<float>(c_end, 1.0f),
                             beta = options.affine ? values(norm.path, "bias") : std::vector<float>(c_end, 0.0f);
    const StoredTensor w = tensor(layer.path, "weight");
    std::vector<float> weight = w.floats(), bias = has_bias ? values(layer.path, "bias") : std::vector<float>(c_end, 0.0f);
    for (std::size_t c = 0, each = weight.size() / c_end; c < c_end; ++c) {
      const double root = std::sqrt(static_cast<double>(var[c]) + options.eps);
      const double scale = root == 0 ? 0 : static_cast<double>(gamma[c]) / root;  // 0: as the batch norm itself
      for (std::size_t i = c * each; i < (c + 1) * each; ++i) weight[i] = static_cast<float>(static_cast<double>(weight[i]) * scale);
      bias[c] = static_cast<float>((static_cast<double>(bias[c]) - static_cast<double>(mean[c])) * scale + static_cast<double>(beta[c]));
    }
    const std::string bias_name = parameter_name(layer.path, "bias"), norm_prefix = parameter_name(norm.path, "");
    std::vector<StoredTensor> tensors;
    for (StoredTensor& t : model_.tensors) {
      if (t.name == bias_name || t.name.starts_with(norm_prefix)) continue;
      const bool is_weight = t.name == w.name;
      tensors.push_back(is_weight ? StoredTensor::from(w.name, w.shape, weight) : std::move(t));
      if (is_weight) tensors.push_back(StoredTensor::from(bias_name, {channels}, bias));
    }
    model_.tensors = std::move(tensors);
    has_bias = true;
  }

  Graph graph_;
  Checkpoint model_;
  std::vector<int> readers_;
};

}  // namespace

FoldedBatchNorms fold_batch_norms(const Graph& graph, const Checkpoint& model) {
  check_plain(graph, "batch norms are folded in");
  const auto check_finite = [](const Checkpoint& c, const char* when) {
    if (const std::string fault = first_fault(c); !fault.empty()) throw Error(ErrorKind::diverged, when + fault);
  };
  (void)match_tensors(model, needed_by(graph.parameters()));
  check_finite(model, "cannot fold: ");
  FoldedBatchNorms folded = Folding(graph, model).run();
  check_finite(folded.model, "folded, ");
  write_model_net(trace(folded.net, graph.nodes[0].shape), folded.model.metadata);
  return folded;
}

}  // namespace norma
