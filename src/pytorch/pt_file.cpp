// Files of torch.save: a zip archive NAME/data.pkl, NAME/byteorder and NAME/data/<key>, whose pickle holds tensors as views of storages,
// and whose storages lie as they lay in memory (torch/serialization.py, torch/_utils.py).
#include <algorithm>
#include <utility>

#include "norma/error.h"
#include "norma/file_kind.h"
#include "norma/text.h"
#include "norma/weights.h"
#include "src/files/safetensors_header.h"
#include "src/pytorch/pickle.h"
#include "src/pytorch/pt_tensors.h"
#include "src/pytorch/zip_file.h"

namespace norma {
namespace {

namespace fs = std::filesystem;
using Kind = PickleValue::Kind;

constexpr const char* anew = "save the state_dict anew: torch.save(model.state_dict(), FILE)";

// ---- which dictionary

// A dictionary of the pickle and its way there from the outermost.
struct Place {
  std::size_t box = 0, parent = 0;  // parent: the place's number
  PickleValue key{};
};

std::string step_of(const Pickle& p, const PickleValue& key) {
  return key.kind == Kind::text ? shown_name(p.text(key)) : std::to_string(key.value);
}

bool holds_tensors(const Pickle& p, std::size_t box) {
  const std::vector<PickleValue>& b = p.boxes[box];
  for (std::size_t i = 1; i < b.size(); i += 2)
    if (b[i].kind == Kind::tensor) return true;
  return false;
}

// Dictionaries that hold tensors: the outermost and those right in it; only where these have none, the next level that has.
class StateDicts {
 public:
  StateDicts(const Pickle& p, const std::string& file) : p_(p), file_(file), seen_(p.boxes.size()) {
    if (p.root.kind != Kind::dict)
      corrupt(file_, std::string("holds ") + (p.root.kind == Kind::tensor ? "a tensor" : "no dictionary") + ", and no state_dict; " + anew);
    add({.box = static_cast<std::size_t>(p.root.value)});
    std::size_t level_end = 1;
    for (std::size_t i = 0; i < places_.size(); ++i) {
      if (i == level_end) {
        if (!found_.empty()) break;
        level_end = places_.size();
      }
      if (i > 0 && holds_tensors(p_, places_[i].box)) found_.push_back(i);
      const std::vector<PickleValue>& box = p_.boxes[places_[i].box];
      for (std::size_t k = 0; k + 1 < box.size(); k += 2)
        if (box[k + 1].kind == Kind::dict && (box[k].kind == Kind::text || box[k].kind == Kind::integer))
          add({.box = static_cast<std::size_t>(box[k + 1].value), .parent = i, .key = box[k]});
    }
    if (holds_tensors(p_, places_[0].box)) found_.insert(found_.begin(), 0);
  }

  const Place& choose(std::string_view key) const {
    if (key.empty() && found_.size() == 1) return places_[found_[0]];
    if (found_.empty()) corrupt(file_, std::string("holds no dictionary of tensors; ") + anew);
    for (std::size_t i = 0; i < places_.size() && !key.empty(); ++i)
      if (holds_tensors(p_, places_[i].box) && path(places_[i]) == key) return places_[i];
    constexpr std::size_t most_named = 20;
    std::string all;
    for (std::size_t i = 0; i < std::min(found_.size(), most_named); ++i) all += (i ? ", " : "") + in_quotes(path(places_[found_[i]]));
    if (found_.size() > most_named) all += " and " + std::to_string(found_.size() - most_named) + " more";
    if (key.empty())
      corrupt(file_, "holds several state_dicts, " + all + ": choose one by its key (norma convert --key, norma train --init-key)");
    corrupt(file_, "has no state_dict " + in_quotes(key) + "; it has " + all);
  }

  // "checkpoint.model"; "." for the outermost.
  std::string path(const Place& place) const {
    constexpr std::size_t most_bytes = 1000;
    if (&place == places_.data()) return ".";
    std::string text = step_of(p_, place.key);
    for (const Place* at = &places_[place.parent]; at != places_.data() && text.size() < most_bytes; at = &places_[at->parent])
      text = step_of(p_, at->key) + "." + text;
    return text;
  }

 private:
  void add(Place place) {  // once: a dictionary may lie in several, and in itself
    if (seen_[place.box]) return;
    seen_[place.box] = true;
    places_.push_back(place);
  }

  const Pickle& p_;
  const std::string& file_;
  std::vector<bool> seen_;
  std::vector<Place> places_;
  std::vector<std::size_t> found_;
};

// ---- the archive

std::string contents(ZipFile& zip, const ZipEntry& e) {
  if (e.size > max_header_bytes) corrupt(zip.name(), "entry " + in_quotes(e.name) + " has more than 100 MB, more than norma reads");
  zip.check(e);
  std::string bytes(static_cast<std::size_t>(e.size), '\0');
  zip.read(e.at, bytes.data(), bytes.size());
  return bytes;
}

// "archive/", the folder of all entries.
std::string folder_of(const ZipFile& zip) {
  constexpr std::string_view pickle = "/data.pkl";
  const ZipEntry* found = nullptr;
  for (const ZipEntry& e : zip.entries()) {
    if (!e.name.ends_with(pickle) || e.name.find('/') != e.name.size() - pickle.size()) continue;
    if (found) corrupt(zip.name(), "holds two pickles, " + in_quotes(found->name) + " and " + in_quotes(e.name));
    found = &e;
  }
  if (!found) corrupt(zip.name(), "is a zip archive, but none of torch.save: it has no data.pkl");
  std::string folder(found->name.substr(0, found->name.size() - pickle.size() + 1));
  if (zip.find(folder + "constants.pkl") ||
      std::ranges::any_of(zip.entries(), [&](const ZipEntry& e) { return e.name.starts_with(folder + "code/"); }))
    corrupt(zip.name(), "is a TorchScript archive, which holds a program; load it with torch.jit.load, then " + std::string(anew));
  return folder;
}

std::string passed_over(const Pickle& p, const std::vector<PickleValue>& box) {
  constexpr std::size_t most_named = 5;
  std::string names;
  std::size_t count = 0;
  for (std::size_t i = 0; i + 1 < box.size(); i += 2)
    if (box[i + 1].kind != Kind::tensor && count++ < most_named) names += (names.empty() ? "" : ", ") + in_quotes(step_of(p, box[i]));
  return count > most_named ? names + " and " + std::to_string(count - most_named) + " more" : names;
}

// Throws where the first bytes show a file that is no zip archive.
void require_zip(const fs::path& path) {
  InputFile file(path, ErrorKind::data);
  std::string begin(512, '\0');
  begin.resize(file.read(begin.data(), begin.size()));
  if (begin.starts_with("PK")) return;
  const std::string kind = file_kind(begin);
  const bool said = kind.find("torch.save") != std::string::npos;
  corrupt(printable(path.string()), "is " + (kind.empty() ? "no file of torch.save" : said ? kind : kind + ", and no file of torch.save"));
}

}  // namespace

Checkpoint load_pt(const fs::path& path, std::string_view key) {
  require_zip(path);
  ZipFile zip(path);
  const std::string folder = folder_of(zip);
  if (const ZipEntry* const order = zip.find(folder + "byteorder"); order && contents(zip, *order) != "little")
    corrupt(zip.name(), "was saved on a big-endian machine, whose numbers norma does not read");
  std::string bytes = contents(zip, *zip.find(folder + "data.pkl"));
  // Values of the pickle, 48 bytes each while a vector grows, and what they say of tensors: within the bounds of load_pt's contract.
  const std::size_t most = 150'000 + bytes.size() / 60 + static_cast<std::size_t>(zip.size() - bytes.size()) / 100;
  const Pickle pickle = unpickle(std::move(bytes), zip.name(), most);
  const StateDicts dicts(pickle, zip.name());
  const Place& chosen = dicts.choose(key);
  const std::vector<PickleValue>& box = pickle.boxes[chosen.box];
  Checkpoint c = read_tensors(zip, pickle, folder, box);
  const std::string others = passed_over(pickle, box);
  if (!others.empty()) c.notes.push_back("passed over, since they are no tensors: " + others);
  if (const std::string from = dicts.path(chosen); from != ".") c.notes.push_back("the tensors are those of the file's " + in_quotes(from));
  return c;
}

bool is_pt(const fs::path& file) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return false;
  InputFile in(file, ErrorKind::data);
  std::string begin(16, '\0');
  begin.resize(in.read(begin.data(), begin.size()));
  // A safetensors file may begin so, too, in theory: its header then is as long.
  const bool header = begin.size() > 8 && begin[8] == '{' && std::string_view(begin).substr(4, 4) == std::string_view("\0\0\0\0", 4);
  const bool pickle = begin.size() > 1 && begin[0] == '\x80' && begin[1] >= 2 && begin[1] <= 5;
  return (begin.starts_with("PK") || pickle) && !header;
}

Checkpoint load_weights(const fs::path& path, std::string_view key) {
  std::error_code error;
  const fs::path file = fs::is_directory(path, error) ? path / "model.safetensors" : path;
  if (is_pt(file)) return load_pt(file, key);
  if (!key.empty())
    throw Error(ErrorKind::usage, printable(file.string()) + ": a safetensors file holds one set of tensors and has no keys");
  return load_safetensors(file);
}

}  // namespace norma
