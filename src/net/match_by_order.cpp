#include "src/net/match_by_order.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "norma/error.h"
#include "norma/text.h"
#include "src/files/safetensors_header.h"

namespace norma {
namespace {

struct LayerTensors {
  std::string_view path;             // "features.0"; empty for names of one part
  std::vector<std::size_t> tensors;  // their numbers
  std::string form{};                // kinds and shapes of its tensors, without a count of batches
};

std::string_view kind_of(std::string_view name) { return name.substr(name.rfind('.') + 1); }  // npos + 1 is 0
std::string_view path_of(std::string_view name) {
  return name.substr(0, name.size() - kind_of(name).size() - (kind_of(name) == name ? 0 : 1));
}

// The layers in the order of their first tensors. name_of(i) and shape_of(i): of tensor i of `count`.
template <class N, class S>
std::vector<LayerTensors> layers_of(std::size_t count, N name_of, S shape_of) {
  std::vector<LayerTensors> layers;
  std::map<std::string_view, std::size_t> places;
  for (std::size_t i = 0; i < count; ++i) {
    const auto [place, is_new] = places.emplace(path_of(name_of(i)), layers.size());
    if (is_new) layers.push_back({place->first, {}});
    layers[place->second].tensors.push_back(i);
  }
  for (LayerTensors& l : layers) {
    std::vector<std::string> forms;
    for (const std::size_t i : l.tensors)
      if (kind_of(name_of(i)) != count_name) forms.push_back(std::string(kind_of(name_of(i))) + to_text(shape_of(i)));
    std::ranges::sort(forms);
    for (const std::string& f : forms) l.form += f;
  }
  return layers;
}

bool is_number(std::string_view part) {
  return !part.empty() && part.size() < 10 && std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; });
}

std::vector<std::string_view> parts_of(std::string_view path) {
  std::vector<std::string_view> parts;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('.', begin), path.size());
    parts.push_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

bool has_number(std::string_view path) { return std::ranges::any_of(parts_of(path), is_number); }

// Order by the first part that differs, numbers first; by_number: that part is a number in both, and not the same.
struct Comparison {
  bool less = false, by_number = false;
};
Comparison compare(std::string_view a, std::string_view b) {
  const std::vector<std::string_view> x = parts_of(a), y = parts_of(b);
  const auto [p, q] = std::ranges::mismatch(x, y);
  if (p == x.end() || q == y.end()) return {p == x.end() && q != y.end(), false};
  if (is_number(*p) != is_number(*q)) return {is_number(*p), false};
  if (!is_number(*p)) return {*p < *q, false};
  const long m = std::stol(std::string(*p)), n = std::stol(std::string(*q));
  return m == n ? Comparison{*p < *q, false} : Comparison{m < n, true};
}

// Layers that no name pairs: of the file and of the net, each in order.
struct Unpaired {
  std::vector<LayerTensors> file, net;
  std::vector<std::pair<LayerTensors, LayerTensors>> paired;  // by name and form
};

Unpaired unpaired(const Checkpoint& checkpoint, std::span<const std::string> names, std::span<const NeededTensor> needed) {
  Unpaired u{layers_of(
                 names.size(), [&](std::size_t i) -> std::string_view { return names[i]; },
                 [&](std::size_t i) -> const std::vector<std::int64_t>& { return checkpoint.tensors[i].shape; }),
             layers_of(
                 needed.size(), [&](std::size_t i) -> std::string_view { return needed[i].name; },
                 [&](std::size_t i) -> const std::vector<std::int64_t>& { return needed[i].shape; }),
             {}};
  std::map<std::string_view, const LayerTensors*> by_path;
  for (const LayerTensors& l : u.net) by_path.emplace(l.path, &l);
  for (const LayerTensors& l : u.file)
    if (const auto n = by_path.find(l.path); n != by_path.end() && n->second->form == l.form) u.paired.emplace_back(l, *n->second);
  for (const auto& [file, net] : u.paired) {
    std::erase_if(u.file, [&, path = file.path](const LayerTensors& l) { return l.path == path; });
    std::erase_if(u.net, [&, path = net.path](const LayerTensors& l) { return l.path == path; });
  }
  return u;
}

using Forms = std::map<std::string_view, std::vector<const LayerTensors*>>;

Forms by_form(const std::vector<LayerTensors>& layers) {
  Forms forms;
  for (const LayerTensors& l : layers) forms[l.form].push_back(&l);
  return forms;
}

std::string rename_line(std::span<const std::pair<const LayerTensors*, const LayerTensors*>> pairs, const std::string& word) {
  constexpr std::size_t most = 30;
  std::string line;
  for (const auto& [file, net] : pairs.first(std::min(pairs.size(), most)))
    if (!file->path.empty() && !net->path.empty())
      line += (line.empty() ? "" : " ") + word + " '" + shown_name(file->path) + ".*=" + shown_name(net->path) + ".*'";
  return pairs.size() > most ? line + " and so on" : line;
}

}  // namespace

std::string proposed_renames(const Checkpoint& checkpoint, std::span<const std::string> names, std::span<const NeededTensor> needed,
                             const std::string& rename_word) {
  const Unpaired u = unpaired(checkpoint, names, needed);
  const Forms of_net = by_form(u.net), of_file = by_form(u.file);
  std::vector<std::pair<const LayerTensors*, const LayerTensors*>> pairs;
  for (const LayerTensors& l : u.file) {  // the only ones of their form: a file's order need not be the net's
    const auto net = of_net.find(l.form);
    if (l.form.empty() || net == of_net.end() || net->second.size() != 1 || of_file.at(l.form).size() != 1) continue;
    if (std::ranges::any_of(u.paired, [&](const auto& p) { return p.first.form == l.form && has_number(p.first.path); })) continue;
    pairs.emplace_back(&l, net->second[0]);
  }
  return rename_line(pairs, rename_word);
}

std::optional<OrderedMatch> match_by_order(const Checkpoint& checkpoint, std::span<const std::string> names,
                                           std::span<const NeededTensor> needed, const std::string& rename_word) {
  const Unpaired u = unpaired(checkpoint, names, needed);
  if (u.file.empty() || u.file.size() != u.net.size()) return {};
  if (!std::ranges::all_of(u.file, [](const LayerTensors& l) { return has_number(l.path); })) return {};
  std::vector<const LayerTensors*> file;
  for (const LayerTensors& l : u.file) file.push_back(&l);
  std::ranges::stable_sort(file, [](const LayerTensors* a, const LayerTensors* b) { return compare(a->path, b->path).less; });
  const Forms of_net = by_form(u.net);
  Forms of_file;
  for (const LayerTensors* l : file) of_file[l->form].push_back(l);
  std::map<const LayerTensors*, const LayerTensors*> partner;
  for (const auto& [form, alike] : of_file) {
    const auto net = of_net.find(form);
    if (net == of_net.end() || net->second.size() != alike.size()) return {};
    for (std::size_t i = 0; i < alike.size(); ++i) partner[alike[i]] = net->second[i];
  }
  for (const auto& [form, alike] : of_file)
    for (std::size_t i = 1; i < alike.size(); ++i)
      if (!compare(alike[i - 1]->path, alike[i]->path).by_number) {
        const std::pair<const LayerTensors*, const LayerTensors*> two[] = {{alike[i - 1], partner[alike[i - 1]]},
                                                                           {alike[i], partner[alike[i]]}};
        throw Error(ErrorKind::data, "checkpoint layers " + shown_name(alike[i - 1]->path) + " and " + shown_name(alike[i]->path) +
                                         " have the same shapes, and no number says which comes first: name them, if they come in this "
                                         "order with\n  " +
                                         rename_line(two, rename_word));
      }
  for (std::size_t i = 1; i < file.size(); ++i)  // two layers of the net stand in u.net in its order
    if (compare(file[i - 1]->path, file[i]->path).by_number && partner[file[i]] < partner[file[i - 1]]) return {};
  std::vector<std::pair<const LayerTensors*, const LayerTensors*>> pairs;
  for (const auto& [of_the_file, of_the_net] : u.paired) pairs.emplace_back(&of_the_file, &of_the_net);
  for (const LayerTensors* l : file) pairs.emplace_back(l, partner[l]);
  // Those that a name pairs, too: a number may stand for another layer in the net.
  std::ranges::stable_sort(pairs, [](const auto& a, const auto& b) { return compare(a.first->path, b.first->path).less; });
  for (std::size_t i = 1; i < pairs.size(); ++i)
    if (compare(pairs[i - 1].first->path, pairs[i].first->path).by_number &&
        pairs[i].second->tensors.front() < pairs[i - 1].second->tensors.front())
      return {};
  OrderedMatch match{std::vector<const StoredTensor*>(needed.size()), std::string(file[0]->path), std::string(partner[file[0]]->path)};
  std::size_t matched = 0;
  for (const auto& [of_the_file, of_the_net] : pairs)
    for (const std::size_t i : of_the_file->tensors)
      for (const std::size_t n : of_the_net->tensors)
        if (kind_of(names[i]) == kind_of(needed[n].name) && !match.tensors[n]) match.tensors[n] = &checkpoint.tensors[i], ++matched;
  if (matched != names.size()) return {};  // a count that the net does not have
  return match;
}

}  // namespace norma
