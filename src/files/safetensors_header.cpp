#include "src/files/safetensors_header.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "norma/error.h"
#include "norma/file_kind.h"
#include "norma/text.h"

namespace norma {
namespace {

using nlohmann::json;

constexpr std::size_t shortest_entry = std::string_view(R"("":{"dtype":"U8","shape":[],"data_offsets":[0,0]},)").size();

// The header's bytes, a block at a time.
class HeaderBytes {
 public:
  HeaderBytes(SafetensorsFile& file, std::uint64_t count) : file_(file), left_(count) { fill(); }

  bool at_end() const { return at_ == end_; }
  char byte() const { return block_[at_]; }
  // The parser keeps a text whole, three times at worst: none may be long.
  void next() {
    const char c = byte();
    ++taken_;
    if (++run_ > max_text_bytes + 1)  // with the closing quote
      corrupt(file_.name(), "the header has a text of more than " + std::to_string(max_text_bytes) + " bytes, more than norma reads");
    if (in_text_ ? c == '"' && !escaped_ : c == '"' || std::string_view(" \t\r\n,:{}[]").find(c) != std::string_view::npos) run_ = 0;
    if (c == '"' && !escaped_) in_text_ = !in_text_;
    escaped_ = in_text_ && c == '\\' && !escaped_;
    if (++at_ == end_) fill();
  }
  std::uint64_t taken() const { return taken_; }

 private:
  void fill() {
    at_ = 0, end_ = static_cast<std::size_t>(std::min<std::uint64_t>(left_, block_.size()));
    left_ -= end_;
    file_.read(block_.data(), end_, "the header");
  }

  SafetensorsFile& file_;
  std::uint64_t left_, taken_ = 0;
  std::array<char, 1 << 16> block_;
  std::size_t at_ = 0, end_ = 0, run_ = 0;
  bool in_text_ = false, escaped_ = false;
};

struct HeaderIterator {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = char;

  HeaderBytes* bytes = nullptr;  // null: the end

  char operator*() const { return bytes->byte(); }
  HeaderIterator& operator++() { return bytes->next(), *this; }
  bool operator==(const HeaderIterator& other) const { return ended() == other.ended(); }
  bool ended() const { return !bytes || bytes->at_end(); }
};

// Reads the header as a stream of events. It sees duplicate keys (a DOM would keep one) and keeps the order. It refuses nesting deeper than
// the format's at the opening bracket. Every error is thrown from the event that shows it.
class HeaderReader final : public nlohmann::json_sax<json> {
 public:
  HeaderReader(const std::string& file, const HeaderBytes& bytes, std::uint64_t header_bytes, AcceptTypes accept)
      : file_(file), bytes_(bytes), accept_(accept) {
    const std::size_t most = static_cast<std::size_t>(header_bytes) / shortest_entry + 1;
    header_.checkpoint.tensors.reserve(most);
    header_.types.reserve(most);
    header_.begins.reserve(most);
    header_.ends.reserve(most);
  }

  SafetensorsHeader take() { return std::move(header_); }

  bool start_object(std::size_t) override {
    if (at_ == At::start) return go(At::header);
    if (at_ == At::entry) return go(in_metadata_ ? At::metadata : At::fields);
    unexpected("an object");
  }

  bool end_object() override {
    if (at_ == At::fields) finish_entry();
    return go(At::header);
  }

  bool key(string_t& k) override {
    if (at_ == At::header) {
      in_metadata_ = k == metadata_key;
      if (in_metadata_ && std::exchange(metadata_seen_, true)) corrupt(file_, "the header names " + in_quotes(k) + " twice");
      if (!in_metadata_) {
        header_.checkpoint.tensors.push_back({k, {}, {}, {}});
        type_.reset(), shape_.reset(), offset_count_.reset();
      }
      return go(At::entry);
    }
    if (at_ == At::metadata) {
      if (metadata().size() == max_metadata) corrupt(where(), "more than " + std::to_string(max_metadata) + " keys, more than norma reads");
      metadata_value_ = metadata().try_emplace(k).first;
      if (metadata().size() == metadata_count_) corrupt(where(), "the key " + in_quotes(k) + " appears twice");
      ++metadata_count_;
      return go(At::metadata_value);
    }
    const auto first = [&](bool seen, At next) {
      if (seen) corrupt(where(), "the key " + in_quotes(k) + " appears twice");
      return go(next);
    };
    if (k == "dtype") return first(type_.has_value(), At::dtype);
    if (k == "shape") return first(shape_.has_value(), At::shape);
    if (k == "data_offsets") return first(offset_count_.has_value(), At::offsets);
    corrupt(where(), "unknown key " + in_quotes(k));
  }

  bool start_array(std::size_t) override {
    if (at_ == At::shape) return shape_.emplace(), go(At::shape_numbers);
    if (at_ == At::offsets) return offset_count_ = 0, go(At::offset_numbers);
    unexpected("an array");
  }

  bool end_array() override { return go(At::fields); }

  bool number_unsigned(number_unsigned_t n) override {
    if (at_ == At::shape_numbers) return add_dimension(n), true;
    if (at_ == At::offset_numbers) {
      if (*offset_count_ < 2) offsets_[*offset_count_] = n;
      return ++*offset_count_, true;
    }
    unexpected("the number " + std::to_string(n));
  }

  bool string(string_t& s) override {
    if (at_ == At::metadata_value) return metadata_value_->second = s, go(At::metadata);
    if (at_ != At::dtype) unexpected("the text " + in_quotes(s));
    const StoredAs type = stored_type(s);
    if (accept_ == AcceptTypes::to_load && type > StoredAs::f64 && !(type <= StoredAs::u64 && tensor().name.ends_with(count_name)))
      unsupported(s);
    if (type == StoredAs::unknown) header_.unknown_types[header_.types.size()] = s;
    type_ = type;
    return go(At::fields);
  }

  bool number_integer(number_integer_t n) override { unexpected("the negative number " + std::to_string(n)); }
  bool number_float(number_float_t, const string_t& text) override {
    unexpected(in_quotes(text) + ", which is no whole number below 2^64");
  }
  bool boolean(bool b) override { unexpected(b ? "true" : "false"); }
  bool null() override { unexpected("null"); }
  bool binary(binary_t&) override { unexpected("binary data"); }
  bool parse_error(std::size_t position, const std::string&, const json::exception& e) override {
    // nlohmann's text starts with its own error number, which says nothing to a user, and quotes all that it read last
    const bool at_end = position > bytes_.taken();
    const std::string what = e.what();
    const std::size_t syntax = what.find("syntax error"), quoted = what.find("; last read");
    const std::string shown = what.substr(syntax == std::string::npos ? 0 : syntax, quoted == std::string::npos ? quoted : quoted - syntax);
    corrupt(file_, "the header is not valid JSON at byte " + std::to_string(sizeof(std::uint64_t) + bytes_.taken() - (at_end ? 0 : 1)) +
                       ": " + printable(shown.substr(0, 300)));
  }

 private:
  // The event that must come next.
  enum class At {
    start,           // the header's {
    header,          // a tensor's name, __metadata__, or } at the end
    entry,           // the { after it
    metadata,        // a key of the metadata, or }
    metadata_value,  // its text
    fields,          // dtype, shape, data_offsets, or }
    dtype,           // text
    shape,           // [
    shape_numbers,   // a number or ]
    offsets,         // [
    offset_numbers,  // a number or ]
  };

  bool go(At next) { return at_ = next, true; }

  StoredTensor& tensor() { return header_.checkpoint.tensors.back(); }
  std::map<std::string, std::string>& metadata() { return header_.checkpoint.metadata; }

  void add_dimension(std::uint64_t d) {
    if (d > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) corrupt(where(), "a dimension of " + std::to_string(d));
    if (shape_->size() == max_rank) corrupt(where(), "more than " + std::to_string(max_rank) + " dimensions, more than norma reads");
    if (dimensions_++ == max_dimensions)
      corrupt(file_, "shapes of more than " + std::to_string(max_dimensions) + " numbers, more than norma reads");
    shape_->push_back(static_cast<std::int64_t>(d));
  }

  // Its bytes fill its shape.
  void finish_entry() {
    if (!type_) corrupt(where(), "no dtype");
    if (!shape_) corrupt(where(), "no shape");
    if (!offset_count_) corrupt(where(), "no data_offsets");
    const auto [begin, end] = offsets_;
    if (*offset_count_ != 2) corrupt(where(), "data_offsets must hold two numbers, found " + std::to_string(*offset_count_));
    if (end < begin) corrupt(where(), "data_offsets [" + std::to_string(begin) + "," + std::to_string(end) + "] end before they begin");
    const std::optional<std::uint64_t> bytes = stored_bytes(*shape_, *type_);
    if (!bytes)
      corrupt(where(), "shape " + to_text(*shape_) +
                           (byte_count(*shape_, sizeof(double)) ? " does not end at a whole byte" : " is larger than any file"));
    if (*type_ != StoredAs::unknown && end - begin != *bytes)
      corrupt(where(), "shape " + to_text(*shape_) + " of " + name_of(*type_) + " takes " + std::to_string(*bytes) +
                           " bytes, data_offsets give it " + std::to_string(end - begin));
    tensor().shape = *shape_;  // with capacity for its own length alone
    const bool count = is_cast_count(tensor(), *type_);
    if (accept_ == AcceptTypes::to_load && *type_ > StoredAs::f64 && !count) unsupported(name_of(*type_));
    tensor().dtype = count ? DType::i64 : read_as(*type_);
    header_.types.push_back(*type_);
    header_.begins.push_back(begin);
    header_.ends.push_back(end);
  }

  std::string where() const {
    if (in_metadata_) return file_ + ": " + std::string(metadata_key);
    const std::vector<StoredTensor>& tensors = header_.checkpoint.tensors;
    return tensors.empty() ? file_ : file_ + ": tensor " + in_quotes(tensors.back().name);
  }

  [[noreturn]] void unsupported(std::string_view dtype) const {
    corrupt(where(), "dtype " + in_quotes(dtype) + " is not supported; norma reads F32, F16, BF16, F64, U8, I32 and I64");
  }

  [[noreturn]] void unexpected(const std::string& found) const {
    const char* expected = "?";
    switch (at_) {
      case At::start: expected = "the header must be a JSON object"; break;
      case At::entry: expected = "must be a JSON object"; break;
      case At::metadata_value: expected = "values must be text"; break;
      case At::dtype: expected = "dtype must be text"; break;
      case At::shape: expected = "shape must be an array"; break;
      case At::shape_numbers: expected = "shape must hold whole numbers from 0"; break;
      case At::offsets: expected = "data_offsets must be an array"; break;
      case At::offset_numbers: expected = "data_offsets must hold whole numbers from 0"; break;
      case At::header:
      case At::metadata:
      case At::fields: expected = "a key must come here"; break;  // the JSON grammar lets no value come here
    }
    corrupt(where(), std::string(expected) + ", found " + found);
  }

  const std::string& file_;
  const HeaderBytes& bytes_;
  const AcceptTypes accept_;
  SafetensorsHeader header_;
  At at_ = At::start;
  bool in_metadata_ = false, metadata_seen_ = false;
  std::size_t metadata_count_ = 0, dimensions_ = 0;
  std::map<std::string, std::string>::iterator metadata_value_;
  // Facts about the tensor being read.
  std::optional<StoredAs> type_;
  std::optional<std::vector<std::int64_t>> shape_;
  std::optional<std::size_t> offset_count_;
  std::array<std::uint64_t, 2> offsets_{};
};

void refuse_duplicates(const std::string& file, const SafetensorsHeader& header) {
  const std::vector<StoredTensor>& t = header.checkpoint.tensors;
  std::vector<std::uint32_t> order = header.order;
  std::ranges::sort(order, {}, [&](std::uint32_t i) -> const std::string& { return t[i].name; });
  const auto twice = std::ranges::adjacent_find(order, {}, [&](std::uint32_t i) -> const std::string& { return t[i].name; });
  if (twice != order.end()) corrupt(file, "the header names " + in_quotes(t[*twice].name) + " twice");
}

// The bytes of all tensors must cover [0, data_bytes) exactly once.
void check_cover(const std::string& file, const SafetensorsHeader& header, std::uint64_t data_bytes) {
  std::uint64_t end = 0;
  const std::string* previous = nullptr;
  for (const std::uint32_t i : header.order) {
    const StoredTensor& t = header.checkpoint.tensors[i];
    const std::uint64_t begin = header.begins[i];
    const auto where = [&] { return file + ": tensor " + in_quotes(t.name); };
    if (begin < end)
      corrupt(where(), "begins at byte " + std::to_string(begin) + ", inside tensor " + in_quotes(*previous) + ", which ends at " +
                           std::to_string(end));
    if (begin > end) corrupt(where(), "begins at byte " + std::to_string(begin) + "; nothing fills the gap from " + std::to_string(end));
    end = header.ends[i];
    previous = &t.name;
    if (end > data_bytes)
      corrupt(where(), "ends at byte " + std::to_string(end) + " of the data, the file holds " + std::to_string(data_bytes) +
                           " (was it cut short?)");
  }
  if (end < data_bytes)
    corrupt(file,
            std::to_string(data_bytes - end) + " bytes follow the last tensor, which ends at byte " + std::to_string(end) + " of the data");
}

// Throws an error that names the kind of another file, if its first bytes show it.
void refuse_other_kinds(const std::filesystem::path& path) {
  SafetensorsFile file(path);
  std::string begin(static_cast<std::size_t>(std::min<std::uint64_t>(file.size(), 512)), '\0');
  file.read(begin.data(), begin.size(), "its beginning");
  std::string kind = file_kind(begin);
  if (kind.empty() || kind == "text" || kind == "an empty file") return;
  if (kind.starts_with("a safetensors file") || kind.starts_with("zero bytes")) return;
  if (kind.starts_with("weights of torch.save"))
    corrupt(file.name(), "is not a safetensors file but " + kind + ", and load_pt or load_weights reads them");
  const bool zip = begin.starts_with("PK");
  if (zip) kind = "a zip archive, as torch.save writes (.pt, .pth)";
  if (zip || kind == "a Python pickle")
    kind += ": load it with torch and save its state_dict with safetensors.torch.save_file(state_dict, FILE)";
  else if (kind.find(": ") == std::string::npos) kind += ": norma reads weights as safetensors.torch.save_file writes them";
  corrupt(file.name(), "is not a safetensors file but " + kind);
}

std::string name_of_file(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) corrupt(printable(path.string()), "no such file");
  if (std::filesystem::is_directory(status)) corrupt(printable(path.string()), "is a folder, expected a safetensors file");
  return printable(path.string());
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : name_(name_of_file(path)), file_(path, ErrorKind::data) {}

void SafetensorsFile::read(void* to, std::size_t count, const std::string& what) {
  if (file_.read(to, count) != count) corrupt(name_, "reading " + what + " stopped short; did the file change meanwhile?");
}

std::string SafetensorsHeader::type_name(std::size_t tensor) const {
  const auto unknown = unknown_types.find(tensor);
  return unknown == unknown_types.end() ? name_of(types[tensor]) : unknown->second;
}

SafetensorsHeader read_safetensors_header(SafetensorsFile& file, AcceptTypes accept) {
  const std::string& name = file.name();
  std::uint64_t header_bytes = 0;
  if (file.size() < sizeof header_bytes)
    corrupt(name, std::to_string(file.size()) + " bytes are too few for a safetensors file, which begins with an 8-byte header length");
  file.read(&header_bytes, sizeof header_bytes, "the header length");
  const std::uint64_t behind_length = file.size() - sizeof header_bytes;
  if (header_bytes > max_header_bytes || header_bytes > behind_length) refuse_other_kinds(file.path());
  if (header_bytes > max_header_bytes)
    corrupt(name, "a header length of " + std::to_string(header_bytes) + " bytes, the format allows " + std::to_string(max_header_bytes) +
                      " (not a safetensors file?)");
  if (header_bytes > behind_length)
    corrupt(name, "a header length of " + std::to_string(header_bytes) + " bytes in a file of " + std::to_string(file.size()) +
                      " (was it cut short?)");
  HeaderBytes bytes(file, header_bytes);
  if (bytes.at_end() || bytes.byte() != '{') {
    refuse_other_kinds(file.path());
    corrupt(name, "the header must be a JSON object and begin with '{'");
  }

  HeaderReader reader(name, bytes, header_bytes, accept);
  json::sax_parse(HeaderIterator{&bytes}, HeaderIterator{}, &reader);

  SafetensorsHeader header = reader.take();
  header.order.resize(header.begins.size());
  std::iota(header.order.begin(), header.order.end(), std::uint32_t{0});
  refuse_duplicates(name, header);
  const auto by_place = [&](std::uint32_t i) { return std::tuple(header.begins[i], header.ends[i], i); };
  std::ranges::sort(header.order, {}, by_place);
  check_cover(name, header, behind_length - header_bytes);
  return header;
}

}  // namespace norma
