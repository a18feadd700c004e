// safetensors: u64 header length, JSON header padded with spaces to a multiple of 8, then the tensors' bytes without gaps.
// The header lists tensors in the order given. Their bytes lie widest dtype first, so that every tensor is aligned to its element,
// as the reference implementation does; any order is read.
#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <set>
#include <stdexcept>
#include <system_error>

#include "norma/checkpoint.h"
#include "norma/error.h"
#include "src/input_file.h"

namespace norma {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian and written as they lie in memory");

constexpr std::uint64_t max_header_bytes = 100'000'000;  // the reference implementation's limit
constexpr std::string_view metadata_key = "__metadata__";

constexpr std::pair<DType, const char*> dtype_names[] = {{DType::f32, "F32"}, {DType::u8, "U8"}, {DType::i32, "I32"}, {DType::i64, "I64"}};

const char* stored_name(DType t) {
  for (const auto& [dtype, name] : dtype_names)
    if (dtype == t) return name;
  return nullptr;
}

std::optional<DType> parse_dtype(std::string_view text) {
  for (const auto& [dtype, name] : dtype_names)
    if (text == name) return dtype;
  return {};
}

[[noreturn]] void corrupt(const std::string& where, const std::string& what) { throw Error(ErrorKind::data, where + ": " + what); }

std::string in_quotes(std::string_view name) {
  constexpr std::size_t longest = 200;
  return "'" + std::string(name.substr(0, longest)) + (name.size() > longest ? "...'" : "'");
}

// shape * size of one element, or nothing if that passes 2^63.
std::optional<std::uint64_t> byte_count(std::span<const std::int64_t> shape, DType dtype) {
  std::uint64_t n = size_of(dtype);
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  for (const std::int64_t d : shape) {
    if (d < 0) return {};
    if (d != 0 && n > most / static_cast<std::uint64_t>(d)) return {};
    n *= static_cast<std::uint64_t>(d);
  }
  return n;
}

std::string to_text(std::span<const std::int64_t> shape) {
  std::string s = "[";
  for (const std::int64_t d : shape) s += (s.size() > 1 ? "," : "") + std::to_string(d);
  return s + "]";
}

struct Entry {
  std::string name;
  std::optional<DType> dtype;
  std::optional<std::vector<std::uint64_t>> shape, offsets;
};

// Reads the header as a stream of events: duplicate keys are seen (a DOM would keep one), order is kept, and nesting deeper than the
// format's is refused at the bracket that opens it. Every error is thrown from the event that shows it.
class HeaderReader final : public nlohmann::json_sax<json> {
 public:
  explicit HeaderReader(const std::string& file) : file_(file) {}

  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;

  bool start_object(std::size_t) override {
    if (at_ == At::start) return go(At::header);
    if (at_ == At::entry) return go(entry_is_metadata_ ? At::metadata : At::fields);
    unexpected("an object");
  }

  bool end_object() override {
    if (at_ == At::header) return go(At::end);
    if (at_ == At::metadata) return go(At::header);
    const Entry& e = entries.back();
    if (!e.dtype) corrupt(where(), "no dtype");
    if (!e.shape) corrupt(where(), "no shape");
    if (!e.offsets) corrupt(where(), "no data_offsets");
    return go(At::header);
  }

  bool key(string_t& k) override {
    if (at_ == At::header) {
      if (!names_.insert(k).second) corrupt(file_, "the header names " + in_quotes(k) + " twice");
      entry_is_metadata_ = k == metadata_key;
      if (!entry_is_metadata_) entries.push_back({k, {}, {}, {}});
      return go(At::entry);
    }
    if (at_ == At::metadata) {
      metadata_key_ = k;
      if (!metadata.try_emplace(k).second) corrupt(where(), "the key " + in_quotes(k) + " appears twice");
      return go(At::metadata_value);
    }
    const Entry& e = entries.back();
    const auto first = [&](bool seen, At next) {
      if (seen) corrupt(where(), "the key " + in_quotes(k) + " appears twice");
      return go(next);
    };
    if (k == "dtype") return first(e.dtype.has_value(), At::dtype);
    if (k == "shape") return first(e.shape.has_value(), At::shape);
    if (k == "data_offsets") return first(e.offsets.has_value(), At::offsets);
    corrupt(where(), "unknown key " + in_quotes(k));
  }

  bool start_array(std::size_t) override {
    if (at_ == At::shape) return entries.back().shape.emplace(), go(At::shape_numbers);
    if (at_ == At::offsets) return entries.back().offsets.emplace(), go(At::offset_numbers);
    unexpected("an array");
  }

  bool end_array() override { return go(At::fields); }

  bool number_unsigned(number_unsigned_t n) override {
    if (at_ == At::shape_numbers) return entries.back().shape->push_back(n), true;
    if (at_ == At::offset_numbers) return entries.back().offsets->push_back(n), true;
    unexpected("the number " + std::to_string(n));
  }

  bool string(string_t& s) override {
    if (at_ == At::metadata_value) return metadata[metadata_key_] = s, go(At::metadata);
    if (at_ != At::dtype) unexpected("the text " + in_quotes(s));
    entries.back().dtype = parse_dtype(s);
    if (!entries.back().dtype) corrupt(where(), "dtype " + in_quotes(s) + " is not supported; norma reads F32, U8, I32 and I64");
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
    // nlohmann's text starts with its own error number, which says nothing to a user
    const std::string what = e.what();
    const std::size_t colon = what.find("syntax error");
    corrupt(file_, "the header is not valid JSON at byte " + std::to_string(sizeof(std::uint64_t) + position - (position > 0)) + ": " +
                       (colon == std::string::npos ? what : what.substr(colon)));
  }

 private:
  // What the next event must be.
  enum class At {
    start,           // the header's {
    header,          // a tensor's name, __metadata__, or }
    entry,           // the { after it
    metadata,        // a key of the metadata, or }
    metadata_value,  // its text
    fields,          // dtype, shape, data_offsets, or }
    dtype,           // text
    shape,           // [
    shape_numbers,   // a number or ]
    offsets,         // [
    offset_numbers,  // a number or ]
    end,
  };

  bool go(At next) { return at_ = next, true; }

  std::string where() const {
    if (entry_is_metadata_) return file_ + ": " + std::string(metadata_key);
    return entries.empty() ? file_ : file_ + ": tensor " + in_quotes(entries.back().name);
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
      case At::fields:
      case At::end: expected = "a key must come here"; break;  // the JSON grammar lets no value come here
    }
    corrupt(where(), std::string(expected) + ", found " + found);
  }

  const std::string& file_;
  At at_ = At::start;
  bool entry_is_metadata_ = false;
  std::string metadata_key_;
  std::set<std::string> names_;
};

// The tensor of an entry, its bytes still empty, with offsets checked against the shape.
StoredTensor describe_entry(const std::string& file, const Entry& e) {
  const std::string where = file + ": tensor " + in_quotes(e.name);
  StoredTensor t{e.name, *e.dtype, {}, {}};
  t.shape.reserve(e.shape->size());
  for (const std::uint64_t d : *e.shape) {
    if (d > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) corrupt(where, "a dimension of " + std::to_string(d));
    t.shape.push_back(static_cast<std::int64_t>(d));
  }
  const std::vector<std::uint64_t>& o = *e.offsets;
  if (o.size() != 2) corrupt(where, "data_offsets must hold two numbers, found " + std::to_string(o.size()));
  if (o[1] < o[0]) corrupt(where, "data_offsets [" + std::to_string(o[0]) + "," + std::to_string(o[1]) + "] end before they begin");
  const std::optional<std::uint64_t> bytes = byte_count(t.shape, t.dtype);
  if (!bytes) corrupt(where, "shape " + to_text(t.shape) + " is larger than any file");
  if (o[1] - o[0] != *bytes)
    corrupt(where, "shape " + to_text(t.shape) + " of " + stored_name(t.dtype) + " takes " + std::to_string(*bytes) +
                       " bytes, data_offsets give it " + std::to_string(o[1] - o[0]));
  return t;
}

// The bytes of all tensors must cover [0, data_bytes) exactly once. Returns the order in which they lie.
std::vector<std::size_t> check_cover(const std::string& file, const std::vector<Entry>& entries, std::uint64_t data_bytes) {
  std::vector<std::size_t> order(entries.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return std::tie(*entries[a].offsets, a) < std::tie(*entries[b].offsets, b); });
  std::uint64_t end = 0;
  const std::string* previous = nullptr;
  for (const std::size_t i : order) {
    const Entry& e = entries[i];
    const std::uint64_t begin = (*e.offsets)[0];
    const std::string where = file + ": tensor " + in_quotes(e.name);
    if (begin < end)
      corrupt(where, "begins at byte " + std::to_string(begin) + ", inside tensor " + in_quotes(*previous) + ", which ends at " +
                         std::to_string(end));
    if (begin > end) corrupt(where, "begins at byte " + std::to_string(begin) + "; nothing fills the gap from " + std::to_string(end));
    end = (*e.offsets)[1];
    previous = &e.name;
    if (end > data_bytes)
      corrupt(where, "ends at byte " + std::to_string(end) + " of the data, the file holds " + std::to_string(data_bytes) +
                         " (was it cut short?)");
  }
  if (end < data_bytes)
    corrupt(file,
            std::to_string(data_bytes - end) + " bytes follow the last tensor, which ends at byte " + std::to_string(end) + " of the data");
  return order;
}

template <class T>
StoredTensor make(std::string name, DType dtype, std::vector<std::int64_t> shape, std::span<const T> values) {
  const std::span<const std::byte> bytes = std::as_bytes(values);
  if (byte_count(shape, dtype) != bytes.size())
    throw Error(ErrorKind::usage,
                "tensor " + in_quotes(name) + ": " + std::to_string(values.size()) + " values do not fill shape " + to_text(shape));
  return {std::move(name), dtype, std::move(shape), {bytes.begin(), bytes.end()}};
}

template <class T>
std::vector<T> values_of(const StoredTensor& t) {
  if (byte_count(t.shape, t.dtype) != t.bytes.size())
    corrupt("tensor " + in_quotes(t.name), std::to_string(t.bytes.size()) + " bytes do not fill shape " + to_text(t.shape));
  std::vector<T> v(t.bytes.size() / sizeof(T));
  if (!v.empty()) std::memcpy(v.data(), t.bytes.data(), t.bytes.size());
  return v;
}

}  // namespace

StoredTensor StoredTensor::from(std::string name, std::vector<std::int64_t> shape, std::span<const float> values) {
  return make(std::move(name), DType::f32, std::move(shape), values);
}

StoredTensor StoredTensor::from(std::string name, std::vector<std::int64_t> shape, std::span<const std::int64_t> values) {
  return make(std::move(name), DType::i64, std::move(shape), values);
}

std::vector<float> StoredTensor::floats() const {
  if (dtype != DType::f32) corrupt("tensor " + in_quotes(name), std::string("is ") + name_of(dtype) + ", expected f32");
  return values_of<float>(*this);
}

std::vector<std::int64_t> StoredTensor::integers() const {
  if (dtype == DType::i64) return values_of<std::int64_t>(*this);
  if (dtype != DType::i32) corrupt("tensor " + in_quotes(name), std::string("is ") + name_of(dtype) + ", expected i32 or i64");
  const std::vector<std::int32_t> narrow = values_of<std::int32_t>(*this);
  return {narrow.begin(), narrow.end()};
}

const StoredTensor* Checkpoint::find(std::string_view name) const {
  const auto it = std::find_if(tensors.begin(), tensors.end(), [&](const StoredTensor& t) { return t.name == name; });
  return it == tensors.end() ? nullptr : &*it;
}

std::vector<std::byte> encode_safetensors(const Checkpoint& checkpoint, const fs::path& file) {
  const auto refuse = [&](const std::string& name, const std::string& what) {
    throw Error(ErrorKind::usage, "cannot write " + file.string() + ": tensor " + in_quotes(name) + " " + what);
  };
  const std::vector<StoredTensor>& tensors = checkpoint.tensors;
  std::set<std::string_view> names;
  for (const StoredTensor& t : tensors) {
    if (t.name == metadata_key) refuse(t.name, "has the name the format keeps for metadata");
    if (!names.insert(t.name).second) refuse(t.name, "appears twice");
    if (!stored_name(t.dtype)) refuse(t.name, std::string("is ") + name_of(t.dtype) + ", which the format does not have");
    if (byte_count(t.shape, t.dtype) != t.bytes.size())
      refuse(t.name, "has " + std::to_string(t.bytes.size()) + " bytes, which do not fill shape " + to_text(t.shape) + " of " +
                         stored_name(t.dtype));
  }

  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return size_of(tensors[a].dtype) > size_of(tensors[b].dtype); });
  std::vector<std::uint64_t> begin(tensors.size());
  std::uint64_t data_bytes = 0;
  for (const std::size_t i : order) {
    begin[i] = data_bytes;
    data_bytes += tensors[i].bytes.size();
  }

  std::string header = "{";
  try {
    if (!checkpoint.metadata.empty()) header += json(metadata_key).dump() + ":" + json(checkpoint.metadata).dump();
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const StoredTensor& t = tensors[i];
      if (header.size() > 1) header += ',';
      header += json(t.name).dump() + ":{\"dtype\":\"" + stored_name(t.dtype) + "\",\"shape\":" + to_text(t.shape) + ",\"data_offsets\":[" +
                std::to_string(begin[i]) + "," + std::to_string(begin[i] + t.bytes.size()) + "]}";
    }
  } catch (const json::type_error&) {
    throw Error(ErrorKind::usage, "cannot write " + file.string() + ": a tensor's name or the metadata is not UTF-8");
  }
  header += '}';
  header.resize((header.size() + 7) / 8 * 8, ' ');
  if (header.size() > max_header_bytes)
    throw Error(ErrorKind::usage, "cannot write " + file.string() + ": a header of " + std::to_string(header.size()) +
                                      " bytes; the format allows " + std::to_string(max_header_bytes));

  const std::uint64_t length = header.size();
  std::vector<std::byte> bytes;
  bytes.reserve(sizeof length + header.size() + data_bytes);
  const auto append = [&](std::span<const std::byte> part) { bytes.insert(bytes.end(), part.begin(), part.end()); };
  append(std::as_bytes(std::span(&length, 1)));
  append(std::as_bytes(std::span(header)));
  for (const std::size_t i : order) append(tensors[i].bytes);
  return bytes;
}

void save_safetensors(const fs::path& file, const Checkpoint& checkpoint) { write_file(file, encode_safetensors(checkpoint, file)); }

Checkpoint load_safetensors(const fs::path& path) {
  const std::string file = path.string();
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) corrupt(file, "no such file");
  if (fs::is_directory(status)) corrupt(file, "is a folder, expected a safetensors file");
  InputFile in(path, ErrorKind::data);
  const std::uint64_t file_bytes = in.size();

  const auto read = [&](void* to, std::uint64_t n, const std::string& what) {
    if (in.read(to, n) != n) corrupt(file, "reading " + what + " stopped short; did the file change meanwhile?");
  };
  std::uint64_t header_bytes = 0;
  if (file_bytes < sizeof header_bytes)
    corrupt(file, std::to_string(file_bytes) + " bytes are too few for a safetensors file, which begins with an 8-byte header length");
  read(&header_bytes, sizeof header_bytes, "the header length");
  if (header_bytes > max_header_bytes)
    corrupt(file, "a header length of " + std::to_string(header_bytes) + " bytes, the format allows " + std::to_string(max_header_bytes) +
                      " (not a safetensors file?)");
  if (header_bytes > file_bytes - sizeof header_bytes)
    corrupt(file, "a header length of " + std::to_string(header_bytes) + " bytes in a file of " + std::to_string(file_bytes) +
                      " (was it cut short?)");
  std::string header(header_bytes, '\0');
  read(header.data(), header_bytes, "the header");
  if (header.empty() || header[0] != '{') corrupt(file, "the header must be a JSON object and begin with '{'");

  HeaderReader reader(file);
  json::sax_parse(header, &reader);

  Checkpoint checkpoint;
  checkpoint.metadata = std::move(reader.metadata);
  checkpoint.tensors.reserve(reader.entries.size());
  for (const Entry& e : reader.entries) checkpoint.tensors.push_back(describe_entry(file, e));
  for (const std::size_t i : check_cover(file, reader.entries, file_bytes - sizeof header_bytes - header_bytes)) {
    StoredTensor& t = checkpoint.tensors[i];
    t.bytes.resize((*reader.entries[i].offsets)[1] - (*reader.entries[i].offsets)[0]);
    if (!t.bytes.empty()) read(t.bytes.data(), t.bytes.size(), "tensor " + in_quotes(t.name));
  }
  return checkpoint;
}

}  // namespace norma
