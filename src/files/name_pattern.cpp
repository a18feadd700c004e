#include "src/files/name_pattern.h"

#include <algorithm>
#include <unordered_map>

#include "norma/error.h"
#include "norma/text.h"
#include "src/files/safetensors_header.h"

namespace norma {
namespace {

[[noreturn]] void usage(const std::string& message) { throw Error(ErrorKind::usage, message); }

std::string text_of(const Rename& r) { return "rename \"" + printable(r.pattern + "=" + r.name) + '"'; }

std::string filled(std::string_view name, std::span<const std::string_view> met) {
  std::string text;
  for (const char c : name) {
    if (c != '*') text += c;
    else text += met.front(), met = met.subspan(1);
  }
  return text;
}

}  // namespace

std::optional<std::vector<std::string_view>> match_pattern(std::string_view pattern, std::string_view name) {
  std::vector<std::string_view> met;
  const auto next_star = [&](std::size_t from) { return std::min(pattern.find('*', from), pattern.size()); };
  std::size_t p = next_star(0), n = p;
  if (!name.starts_with(pattern.substr(0, p)) || (p == pattern.size() && n != name.size())) return {};
  while (p < pattern.size()) {  // at a '*'
    const std::size_t end = next_star(p + 1);
    const std::string_view text = pattern.substr(p + 1, end - p - 1);
    std::size_t at = name.find(text, n);
    if (end == pattern.size())
      at = name.size() < n + text.size() || !name.ends_with(text) ? std::string_view::npos : name.size() - text.size();
    if (at == std::string_view::npos) return {};
    met.push_back(name.substr(n, at - n));
    n = at + text.size(), p = end;
  }
  return met;
}

std::string near_pattern(const std::string& pattern, std::span<const std::string> names) {
  const std::span<const std::string> some = names.first(std::min<std::size_t>(names.size(), 1000));
  std::vector<std::string> known(some.begin(), some.end());
  if (pattern.ends_with(".*"))
    for (std::string& name : known) name = name.substr(0, name.rfind('.')) + ".*";
  const std::string near = did_you_mean(pattern, known);
  return near.empty() ? "; each '*' stands for any text" : near;
}

Rename Rename::parse(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == 0 || equals == std::string_view::npos || equals + 1 == text.size())
    usage("\"" + printable(text) + "\" is no OLD=NEW, such as 'features.0.*=conv1.*'");
  return {std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
}

std::vector<std::string> renamed(const Checkpoint& checkpoint, std::span<const Rename> renames) {
  std::vector<std::string> names;
  for (const StoredTensor& t : checkpoint.tensors) names.push_back(t.name);
  if (renames.empty()) return names;
  std::vector<bool> used(renames.size());
  std::vector<std::string> now = names;
  for (std::size_t i = 0; i < names.size(); ++i)
    for (std::size_t r = 0; r < renames.size(); ++r) {
      const auto met = match_pattern(renames[r].pattern, names[i]);
      if (!met) continue;
      if (static_cast<std::size_t>(std::ranges::count(renames[r].name, '*')) > met->size())
        usage(text_of(renames[r]) + " has more '*' in the new name than in the pattern");
      used[r] = true;
      now[i] = filled(renames[r].name, *met);
      if (now[i].empty()) usage(text_of(renames[r]) + " leaves " + in_quotes(names[i]) + " without a name");
    }
  for (std::size_t r = 0; r < renames.size(); ++r)
    if (!used[r]) usage(text_of(renames[r]) + " fits no tensor of the file" + near_pattern(renames[r].pattern, names));
  std::unordered_map<std::string_view, std::size_t> first;
  for (std::size_t i = 0; i < now.size(); ++i)
    if (const auto [before, is_new] = first.emplace(now[i], i); !is_new && (now[i] != names[i] || now[i] != names[before->second]))
      usage("renaming gives " + in_quotes(names[before->second]) + " and " + in_quotes(names[i]) + " one name, " + in_quotes(now[i]));
  return now;
}

void rename_tensors(Checkpoint& checkpoint, std::span<const Rename> renames) {
  std::vector<std::string> names = renamed(checkpoint, renames);
  for (std::size_t i = 0; i < names.size(); ++i) checkpoint.tensors[i].name = std::move(names[i]);
}

}  // namespace norma
