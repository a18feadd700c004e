#include "src/net/match_tensors.h"

#include <algorithm>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "norma/error.h"
#include "norma/text.h"
#include "src/files/name_pattern.h"
#include "src/files/safetensors_header.h"
#include "src/net/match_by_order.h"

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

using Tensors = std::vector<const StoredTensor*>;

class Matching {
 public:
  Matching(const Checkpoint& checkpoint, std::span<const NeededTensor> needed, std::vector<std::string> names)
      : checkpoint_(checkpoint), needed_(needed), names_(std::move(names)) {
    for (std::size_t i = 0; i < needed.size(); ++i) places_.emplace(needed[i].name, i);
  }

  // The tensors by these names; `all`: nothing unless all fit. Else nothing where two tensors have one name.
  std::optional<Tensors> with(const std::vector<std::string>& names, bool all = true) const {
    Tensors found(needed_.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
      const auto place = places_.find(names[i]);
      if (place == places_.end()) {
        if (all) return {};
        continue;
      }
      if (found[place->second]) return {};
      found[place->second] = &checkpoint_.tensors[i];
    }
    for (std::size_t i = 0; i < needed_.size() && all; ++i)
      if (!found[i] && !needed_[i].count) return {};
    return found;
  }

  // The ways to read the names, the likeliest first: without a prefix that all share, without wrappers, without both.
  std::vector<std::vector<std::string>> shortened() const {
    std::vector<std::vector<std::string>> ways;
    if (names_.empty()) return ways;
    add_without_prefix(names_, ways);
    ways.push_back(unwrapped_names());
    add_without_prefix(unwrapped_names(), ways);
    return ways;
  }

  std::vector<std::string> unwrapped_names() const {
    std::vector<std::string> names;
    for (const std::string& name : names_) names.push_back(unwrapped(name));
    return names;
  }

  const std::vector<std::string>& names() const { return names_; }

  [[noreturn]] void fail(const LoadOptions& options, bool propose) const {
    std::unordered_map<std::string_view, const StoredTensor*> seen;  // of those needed
    Few twice, unknown, missing;
    std::vector<std::string> candidates;
    for (std::size_t i = 0; i < names_.size(); ++i) {
      if (!places_.contains(names_[i])) {
        unknown.add(names_[i]);
        if (candidates.size() < 1000) candidates.push_back(names_[i]);
      } else if (!seen.emplace(names_[i], &checkpoint_.tensors[i]).second) {
        twice.add(names_[i]);
      }
    }
    for (const NeededTensor& n : needed_)
      if (!n.count && !seen.contains(n.name)) missing.add(n.name);
    if (options.missing == LoadOptions::Missing::keep && !seen.empty()) missing = {};
    if (options.extra == LoadOptions::Extra::ignore && !seen.empty()) unknown = {};
    for (const NeededTensor& n : needed_)
      if (const auto t = seen.find(n.name); t != seen.end() && !missing.count) require_fit(*t->second, n);
    std::string message = "checkpoint ";
    const auto say = [&](const std::string& what) { message += (message.ends_with(' ') ? "" : "; it ") + what; };
    if (missing.count) say("has no tensor " + missing.text() + ", which the net needs" + nearest_to(missing.first[0], candidates));
    if (unknown.count) say("has " + unknown.text() + ", which the net does not: it is of another architecture");
    if (twice.count) say("has " + twice.text() + " twice");
    if (propose)
      if (const std::string line = proposed_renames(checkpoint_, unwrapped_names(), needed_, options.rename_word); !line.empty())
        message += ", or of other names; those that fit by their shapes:\n  " + line;
    throw Error(ErrorKind::data, message);
  }

 private:
  static void add_without_prefix(const std::vector<std::string>& names, std::vector<std::vector<std::string>>& ways) {
    constexpr int most_parts = 16;  // each way has all names
    std::size_t dot = names[0].find('.');
    for (int parts = 0; parts < most_parts && dot != std::string::npos; ++parts, dot = names[0].find('.', dot + 1)) {
      const std::string_view prefix = std::string_view(names[0]).substr(0, dot + 1);
      if (!std::ranges::all_of(names, [&](const std::string& n) { return n.starts_with(prefix); })) return;
      std::vector<std::string>& shorter = ways.emplace_back();
      for (const std::string& name : names) shorter.push_back(name.substr(prefix.size()));
    }
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
  std::vector<std::string> names_;
  std::unordered_map<std::string_view, std::size_t> places_;
};

std::string note_of(const Checkpoint& checkpoint, const std::string& first) {
  return "the names of its tensors were shortened to fit the net: " + shown_name(checkpoint.tensors[0].name) + " is read as " + first +
         ", and all others alike";
}

// The rows of what was found; by_order: for names that differ.
std::vector<LoadedTensor> rows_of(const Checkpoint& checkpoint, std::span<const NeededTensor> needed, const Tensors& found, bool by_order,
                                  const LoadOptions& options) {
  using How = LoadedTensor::How;
  std::vector<LoadedTensor> rows;
  std::set<const StoredTensor*> used;
  const auto cast = [](const StoredTensor& t) { return t.cast_from ? t.cast_from : ""; };
  for (std::size_t i = 0; i < needed.size(); ++i) {
    const NeededTensor& n = needed[i];
    if (const StoredTensor* const t = found[i]) {
      used.insert(t);
      rows.push_back({t->name, n.name, n.shape, cast(*t), t->name == n.name ? How::as_is : by_order ? How::by_order : How::renamed});
    } else {  // a count goes with the statistics that it counts
      const bool kept = !n.count || (options.missing == LoadOptions::Missing::keep && i > 0 && rows.back().how == How::kept);
      rows.push_back({.file = {}, .net = n.name, .shape = n.shape, .how = kept ? How::kept : How::zero});
    }
  }
  for (const StoredTensor& t : checkpoint.tensors)
    if (!used.contains(&t)) rows.push_back({.file = t.name, .net = {}, .shape = t.shape, .cast = cast(t), .how = How::ignored});
  return rows;
}

MatchedTensors finished(const Checkpoint& checkpoint, std::span<const NeededTensor> needed, Tensors found, std::string note = {},
                        bool by_order = false, const LoadOptions& options = {}) {
  for (std::size_t i = 0; i < needed.size(); ++i) {
    if (!found[i]) continue;
    try {
      require_fit(*found[i], needed[i]);
    } catch (const Error& e) {
      const std::string layer = found[i]->name.substr(0, found[i]->name.rfind('.'));
      if (options.missing != LoadOptions::Missing::keep || options.extra != LoadOptions::Extra::ignore) throw;
      throw Error(e.kind(), e.what() + std::string("; to keep the net's own: ") + options.rename_word + " '" + shown_name(layer) +
                                ".*=unused." + shown_name(layer) + ".*'");
    }
  }
  std::vector<LoadedTensor> rows = rows_of(checkpoint, needed, found, by_order, options);
  return {std::move(found), std::move(note), std::move(rows)};
}

std::vector<std::string> own_names(const Checkpoint& checkpoint) { return renamed(checkpoint, {}); }

std::size_t count_of(const Tensors& found) { return found.size() - static_cast<std::size_t>(std::ranges::count(found, nullptr)); }

}  // namespace

const char* name_of(LoadedTensor::How how) {
  switch (how) {
    case LoadedTensor::How::as_is: return "as is";
    case LoadedTensor::How::renamed: return "renamed";
    case LoadedTensor::How::by_order: return "by order";
    case LoadedTensor::How::kept: return "kept";
    case LoadedTensor::How::zero: return "read as 0";
    case LoadedTensor::How::ignored: return "ignored";
  }
  return "?";
}

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

MatchedTensors match_tensors(const Checkpoint& checkpoint, std::span<const NeededTensor> needed) {
  const Matching matching(checkpoint, needed, own_names(checkpoint));
  if (auto exact = matching.with(matching.names())) return finished(checkpoint, needed, std::move(*exact));
  matching.fail({}, false);
}

MatchedTensors match_tensors(const Checkpoint& checkpoint, std::span<const NeededTensor> needed, const LoadOptions& options) {
  const Matching matching(checkpoint, needed, renamed(checkpoint, options.rename));
  if (auto exact = matching.with(matching.names())) return finished(checkpoint, needed, std::move(*exact));
  const std::vector<std::vector<std::string>> ways = matching.shortened();
  for (const std::vector<std::string>& names : ways)
    if (auto all = matching.with(names)) return finished(checkpoint, needed, std::move(*all), note_of(checkpoint, names[0]));
  if (auto match = match_by_order(checkpoint, matching.unwrapped_names(), needed, options.rename_word))
    return finished(checkpoint, needed, std::move(match->tensors),
                    "layers with numbers for names were matched by their order and shapes: " + shown_name(match->first) + " is read as " +
                        match->becomes + ", and all others alike",
                    true);
  std::optional<Tensors> most = matching.with(matching.names(), false);
  std::string note;
  for (const std::vector<std::string>& names : ways)
    if (auto some = matching.with(names, false); some && (!most || count_of(*some) > count_of(*most)))
      most = std::move(some), note = note_of(checkpoint, names[0]);
  if (!most || count_of(*most) == 0) matching.fail({.rename_word = options.rename_word}, true);
  const bool lacks = std::ranges::any_of(
      needed, [&](const NeededTensor& n) { return !n.count && !(*most)[static_cast<std::size_t>(&n - needed.data())]; });
  if ((lacks && options.missing == LoadOptions::Missing::refuse) ||
      (count_of(*most) < checkpoint.tensors.size() && options.extra == LoadOptions::Extra::refuse))
    matching.fail(options, true);
  return finished(checkpoint, needed, std::move(*most), std::move(note), false, options);
}

Checkpoint matched_model(const Checkpoint& model, const Graph& graph, std::vector<std::string>& notes) {
  const std::vector<NeededTensor> needed = needed_by(graph.parameters());
  const MatchedTensors matched = match_tensors(model, needed, LoadOptions{});
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
