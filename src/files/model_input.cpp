// A model's description of its input, as JSON in the metadata of its file.
#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "norma/error.h"
#include "norma/model_file.h"

namespace norma {
namespace {

using nlohmann::ordered_json;

constexpr const char *input_key = "norma.input", *classes_key = "norma.classes";
constexpr std::int64_t most_values = std::int64_t{1} << 26;  // of a sample, as of a picture that is read
// A parsed text takes many times its own memory.
constexpr std::size_t most_input_text = std::size_t{1} << 16, most_classes_text = std::size_t{1} << 22;

// A key's text, every value of which is checked.
class InputReader {
 public:
  InputReader(const std::string& file, const char* key, const std::string& text, std::size_t most)
      : file_(file), key_(key), short_(text.size() < 300) {
    if (text.size() > most) fail("holds " + std::to_string(text.size()) + " bytes");
    try {
      json_ = ordered_json::parse(text);
    } catch (const ordered_json::exception&) {
      fail("is not JSON");
    }
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::data, file_ + ": metadata " + key_ + " " + what + "; norma writes no such value: the file is damaged or forged");
  }

  const ordered_json& json() const { return json_; }
  const ordered_json& at(const char* field) const {
    const auto found = json_.find(field);
    if (found == json_.end()) fail(std::string("has no ") + field);
    return *found;
  }
  std::string text(const char* field) const {
    if (!at(field).is_string()) fail(std::string("has a ") + field + " that is not text");
    return at(field).get<std::string>();
  }
  // Reads sizes: one of `counts` numbers, whose product is no larger than any sample.
  std::vector<std::int64_t> sizes(const char* field, std::initializer_list<std::size_t> counts) const {
    const ordered_json& list = at(field);
    const auto wrong = [&]() { fail(std::string("has a ") + field + " that cannot be" + (short_ ? ": " + list.dump() : "")); };
    if (!list.is_array() || std::ranges::find(counts, list.size()) == counts.end()) wrong();
    std::vector<std::int64_t> all;
    std::int64_t product = 1;
    for (const ordered_json& size : list) {
      if (!size.is_number_unsigned() || size.get<std::uint64_t>() < 1 || size.get<std::uint64_t>() > most_values) wrong();
      all.push_back(size.get<std::int64_t>());
      if (product > most_values / all.back()) wrong();
      product *= all.back();
    }
    return all;
  }
  std::vector<double> numbers(const char* field, std::int64_t channels, double low) const {
    const ordered_json& list = at(field);
    std::vector<double> all;
    bool good = list.is_array() && (list.size() <= 1 || static_cast<std::int64_t>(list.size()) == channels);
    for (std::size_t i = 0; good && i < list.size(); ++i) {
      good = list[i].is_number() && list[i].get<double>() >= low && list[i].get<double>() <= std::numeric_limits<float>::max();
      if (good) all.push_back(list[i].get<double>());
    }
    if (!good) fail(std::string("has a ") + field + " that cannot be");
    return all;
  }

 private:
  const std::string& file_;
  const char* key_;
  bool short_;  // enough to be shown, and not deep
  ordered_json json_;
};

std::vector<std::string> read_classes(const std::string& file, const std::string& text) {
  const InputReader r(file, classes_key, text, most_classes_text);
  std::vector<std::string> names;
  if (!r.json().is_array()) r.fail("is not a list");
  for (const ordered_json& name : r.json()) {
    if (!name.is_string()) r.fail("holds a name that is not text");
    names.push_back(name.get<std::string>());
  }
  return names;
}

}  // namespace

void write_model_input(const ModelInput& input, std::map<std::string, std::string>& metadata) {
  if (input.sample.elements() > most_values) return;
  const Transform& t = input.transform;
  ordered_json j{{"data", input.data},
                 {"shape", std::vector<std::int64_t>(input.sample.begin(), input.sample.end())},
                 {"type", input.stored == DType::u8 ? "u8" : "f32"},
                 {"to_unit", t.to_unit},
                 {"mean", t.mean},
                 {"std", t.stddev}};
  if (t.resize) j["resize"] = {t.resize->h, t.resize->w};
  const auto text = [](const ordered_json& of) { return of.dump(-1, ' ', false, ordered_json::error_handler_t::replace); };
  const std::string described = text(j), names = text(input.classes);
  if (described.size() > most_input_text) return;
  metadata[input_key] = described;
  if (names.size() <= most_classes_text) metadata[classes_key] = names;
}

std::optional<ModelInput> read_model_input(const std::map<std::string, std::string>& metadata, const std::string& file) {
  const auto found = metadata.find(input_key);
  if (found == metadata.end()) return {};
  const InputReader r(file, input_key, found->second, most_input_text);
  if (!r.json().is_object()) r.fail("is not an object");
  ModelInput input{.data = r.text("data"), .sample = {}, .stored = {}, .transform = {}, .classes = {}};
  const std::vector<std::int64_t> shape = r.sizes("shape", {1, 3});
  input.sample = shape.size() == 1 ? Shape{shape[0]} : Shape{shape[0], shape[1], shape[2]};
  const std::string type = r.text("type");
  if (type != "u8" && type != "f32") r.fail("has a type that is neither u8 nor f32");
  input.stored = type == "u8" ? DType::u8 : DType::f32;
  if (!r.at("to_unit").is_boolean()) r.fail("has a to_unit that is neither true nor false");
  input.transform.to_unit = r.at("to_unit").get<bool>();
  input.transform.mean = r.numbers("mean", shape[0], -std::numeric_limits<float>::max());
  input.transform.stddev = r.numbers("std", shape[0], std::numeric_limits<float>::min());
  if (r.json().contains("resize")) {
    const std::vector<std::int64_t> size = r.sizes("resize", {2});
    input.transform.resize = Size2{size[0], size[1]};
  }
  if (const auto names = metadata.find(classes_key); names != metadata.end()) input.classes = read_classes(file, names->second);
  return input;
}

}  // namespace norma
