#include "src/net/match_tensors.h"

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "norma/error.h"
#include "norma/text.h"
#include "src/files/safetensors_header.h"

namespace norma {
namespace {

constexpr std::size_t most_named = 3;

// The first few of some names, and how many there are.
struct Few {
  std::vector<std::string> first;
  std::size_t count = 0;

  void add(std::string_view name) {
    if (count++ < most_named) first.push_back(shown_name(name));
  }
  std::string text() const {
    std::string s;
    for (const std::string& name : first) s += (s.empty() ? "" : ", ") + name;
    if (count > first.size()) s += " and " + std::to_string(count - first.size()) + (count == first.size() + 1 ? " other" : " others");
    return s;
  }
};

std::string last_parts(std::string_view name, int parts) {
  std::size_t at = name.size();
  while (parts-- > 0 && at != std::string_view::npos && at > 0) at = name.rfind('.', at - 1);
  return std::string(at == std::string_view::npos ? name : name.substr(at));
}

// Names without what torch.nn.DataParallel, DistributedDataParallel and torch.compile put into paths.
std::string unwrapped(std::string_view name) {
  std::string kept;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('.', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    if (part != "module" && part != "_orig_mod") kept += (kept.empty() ? "" : ".") + std::string(part);
    begin = end + 1;
  }
  return kept;
}

std::string text(const std::vector<std::int64_t>& shape) {
  std::string s = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + ")";
}

void require_fit(const StoredTensor& t, const NeededTensor& needed) {
  const bool one = std::ranges::all_of(t.shape, [](std::int64_t d) { return d == 1; });
  if (t.shape != needed.shape && !(needed.count && one))
    throw Error(ErrorKind::data,
                "checkpoint tensor " + shown_name(t.name) + " is " + text(t.shape) + ", the net needs " + text(needed.shape));
  if (t.dtype != needed.dtype && !(needed.count && t.dtype == DType::i32))
    throw Error(ErrorKind::data,
                "checkpoint tensor " + shown_name(t.name) + " is " + name_of(t.dtype) + ", the net needs " + name_of(needed.dtype));
  std::size_t bytes = size_of(t.dtype);
  for (const std::int64_t d : t.shape) bytes *= static_cast<std::size_t>(d);
  if (t.bytes.size() != bytes)
    throw Error(ErrorKind::data, "checkpoint tensor " + shown_name(t.name) + " has " + std::to_string(t.bytes.size()) +
                                     " bytes, its shape needs " + std::to_string(bytes));
}

class Matching {
 public:
  Matching(const Checkpoint& checkpoint, std::span<const NeededTensor> needed) : checkpoint_(checkpoint), needed_(needed) {
    for (std::size_t i = 0; i < needed.size(); ++i) places_.emplace(needed[i].name, i);
  }

  // Tensor i of the checkpoint going by the name name_of(i); nothing unless all fit.
  template <class F>
  std::optional<std::vector<const StoredTensor*>> with_names(F name_of) const {
    std::vector<const StoredTensor*> found(needed_.size());
    for (std::size_t i = 0; i < checkpoint_.tensors.size(); ++i) {
      const auto place = places_.find(name_of(i));
      if (place == places_.end() || found[place->second]) return {};
      found[place->second] = &checkpoint_.tensors[i];
    }
    for (std::size_t i = 0; i < needed_.size(); ++i)
      if (!found[i] && !needed_[i].count) return {};
    return found;
  }

  std::optional<MatchedTensors> with_wrapped_names() const {
    if (checkpoint_.tensors.empty() || checkpoint_.tensors.size() > needed_.size()) return {};
    std::vector<std::string> names;
    for (const StoredTensor& t : checkpoint_.tensors) names.push_back(t.name);
    if (auto m = without_prefix(names)) return m;
    for (std::string& name : names) name = unwrapped(name);
    if (auto m = with_names([&](std::size_t i) -> std::string_view { return names[i]; })) return described(std::move(*m), names[0]);
    return without_prefix(names);
  }

  [[noreturn]] void fail() const {
    std::unordered_map<std::string_view, const StoredTensor*> seen;  // of those needed
    Few twice, unknown, missing;
    std::vector<std::string> candidates;
    for (const StoredTensor& t : checkpoint_.tensors) {
      if (!places_.contains(t.name)) {
        unknown.add(t.name);
        if (candidates.size() < 1000) candidates.push_back(t.name);
      } else if (!seen.emplace(t.name, &t).second) {
        twice.add(t.name);
      }
    }
    for (const NeededTensor& n : needed_)
      if (!n.count && !seen.contains(n.name)) missing.add(n.name);
    for (const NeededTensor& n : needed_)
      if (const auto t = seen.find(n.name); t != seen.end() && !missing.count) require_fit(*t->second, n);
    std::string message = "checkpoint ";
    const auto say = [&](const std::string& what) { message += (message.ends_with(' ') ? "" : "; it ") + what; };
    if (missing.count) say("has no tensor " + missing.text() + ", which the net needs" + nearest_to(missing.first[0], candidates));
    if (unknown.count) say("has " + unknown.text() + ", which the net does not: it is of another architecture");
    if (twice.count) say("has " + twice.text() + " twice");
    throw Error(ErrorKind::data, message);
  }

 private:
  std::optional<MatchedTensors> without_prefix(const std::vector<std::string>& names) const {
    for (std::size_t dot = names[0].find('.'); dot != std::string::npos; dot = names[0].find('.', dot + 1)) {
      const std::string_view prefix = std::string_view(names[0]).substr(0, dot + 1);
      if (!std::ranges::all_of(names, [&](const std::string& n) { return n.starts_with(prefix); })) return {};
      const auto stripped = [&](std::size_t i) { return std::string_view(names[i]).substr(prefix.size()); };
      if (auto m = with_names(stripped)) return described(std::move(*m), stripped(0));
    }
    return {};
  }

  MatchedTensors described(std::vector<const StoredTensor*> tensors, std::string_view first) const {
    return {std::move(tensors), "the names of its tensors were shortened to fit the net: " + shown_name(checkpoint_.tensors[0].name) +
                                    " is read as " + std::string(first) + ", and all others alike"};
  }

  static std::string nearest_to(const std::string& missing, const std::vector<std::string>& names) {
    std::string near = nearest(missing, names);
    for (int parts = 2; near.empty() && parts > 0; --parts)
      for (const std::string& name : names)
        if (last_parts(name, parts) == last_parts("." + missing, parts)) near = name;
    return near.empty() ? near : " (nearest: " + shown_name(near) + ")";
  }

  const Checkpoint& checkpoint_;
  std::span<const NeededTensor> needed_;
  std::unordered_map<std::string_view, std::size_t> places_;
};

}  // namespace

std::string listed(std::span<const std::string> names) {
  Few few;
  for (const std::string& name : names) few.add(name);
  return few.text();
}

std::vector<NeededTensor> needed_by(std::span<const ParameterInfo> parameters) {
  std::vector<NeededTensor> needed;
  for (const ParameterInfo& p : parameters)
    needed.push_back({p.name, p.dtype, {p.shape.begin(), p.shape.end()}, p.buffer && p.name.ends_with("num_batches_tracked")});
  return needed;
}

MatchedTensors match_tensors(const Checkpoint& checkpoint, std::span<const NeededTensor> needed, Names names) {
  const Matching matching(checkpoint, needed);
  MatchedTensors matched;
  if (auto exact = matching.with_names([&](std::size_t i) -> std::string_view { return checkpoint.tensors[i].name; }))
    matched.tensors = std::move(*exact);
  else if (auto wrapped = names == Names::wrapped ? matching.with_wrapped_names() : std::nullopt) matched = std::move(*wrapped);
  else matching.fail();
  for (std::size_t i = 0; i < needed.size(); ++i)
    if (matched.tensors[i]) require_fit(*matched.tensors[i], needed[i]);
  return matched;
}

Checkpoint matched_model(const Checkpoint& model, const Graph& graph, std::vector<std::string>& notes) {
  const std::vector<NeededTensor> needed = needed_by(graph.parameters());
  const MatchedTensors matched = match_tensors(model, needed, Names::wrapped);
  notes.insert(notes.end(), model.notes.begin(), model.notes.end());
  if (!matched.note.empty()) notes.push_back(matched.note);
  Checkpoint all;
  for (std::size_t i = 0; i < needed.size(); ++i) {
    if (const StoredTensor* const t = matched.tensors[i]) {
      all.tensors.push_back(*t);
      all.tensors.back().name = needed[i].name;
    } else {
      all.tensors.push_back(StoredTensor::from(needed[i].name, needed[i].shape, std::vector<std::int64_t>{0}));
    }
  }
  return all;
}

}  // namespace norma
