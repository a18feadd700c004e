#include "apps/norma/report/norm_layers.h"

#include <algorithm>
#include <numeric>
#include <string_view>

namespace norma::app {
namespace {

// Finds tensors by name, the first of those that share one.
class Names {
 public:
  explicit Names(const std::vector<StoredTensor>& tensors) : tensors_(tensors), order_(tensors.size()) {
    std::iota(order_.begin(), order_.end(), std::uint32_t{0});
    std::ranges::stable_sort(order_, {}, [&](std::uint32_t i) -> const std::string& { return tensors_[i].name; });
  }

  const StoredTensor* find(const std::string& name) const {
    const auto at = std::ranges::lower_bound(order_, name, {}, [&](std::uint32_t i) -> const std::string& { return tensors_[i].name; });
    return at == order_.end() || tensors_[*at].name != name ? nullptr : &tensors_[*at];
  }

 private:
  const std::vector<StoredTensor>& tensors_;
  std::vector<std::uint32_t> order_;
};

bool marks_norm(const StoredTensor& t, std::string_view last) {
  return t.dtype == DType::f32 && (last == "running_mean" || (last == "weight" && t.shape.size() == 1));
}

}  // namespace

void for_each_norm(const Checkpoint& model, const std::function<void(const NormTensors&)>& f) {
  const Names names(model.tensors);
  for (const StoredTensor& t : model.tensors) {
    const std::size_t dot = t.name.rfind('.'), behind = dot == std::string::npos ? 0 : dot + 1;
    const std::string prefix = t.name.substr(0, behind), last = t.name.substr(behind);
    if (!marks_norm(t, last)) continue;
    const char* const other_mark = last == "weight" ? "running_mean" : "weight";
    const StoredTensor* const other = names.find(prefix + other_mark);
    if (other && other < &t && marks_norm(*other, other_mark)) continue;  // seen there
    const auto floats = [&](const char* what) {
      const StoredTensor* const found = names.find(prefix + what);
      return found && found->dtype == DType::f32 ? found : nullptr;
    };
    NormTensors norm{.path = prefix.substr(0, behind ? dot : 0),
                     .gamma = floats("weight"),
                     .beta = floats("bias"),
                     .running_mean = floats("running_mean"),
                     .running_var = floats("running_var"),
                     .batches = {}};
    const StoredTensor* const batches = names.find(prefix + "num_batches_tracked");
    const bool counts = batches && (batches->dtype == DType::i64 || batches->dtype == DType::i32) &&
                        std::ranges::all_of(batches->shape, [](std::int64_t d) { return d == 1; });
    if (counts) norm.batches = batches->integers().at(0);
    f(norm);
  }
}

}  // namespace norma::app
