// Tensors of torch.save: each a view of a storage, of any strides.
#include "src/pytorch/pt_tensors.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "norma/error.h"
#include "norma/text.h"
#include "src/files/safetensors_header.h"
#include "src/files/stored_values.h"

namespace norma {
namespace {

using Kind = PickleValue::Kind;

struct TorchType {
  std::string_view storage;
  StoredAs type;
};
constexpr TorchType torch_types[] = {
    {"FloatStorage", StoredAs::f32},  {"HalfStorage", StoredAs::f16}, {"BFloat16Storage", StoredAs::bf16},
    {"DoubleStorage", StoredAs::f64}, {"LongStorage", StoredAs::i64}, {"IntStorage", StoredAs::i32},
    {"ShortStorage", StoredAs::i16},  {"CharStorage", StoredAs::i8},  {"ByteStorage", StoredAs::u8},
};

// One dimension: how far apart its elements are in the storage, and in the tensor's own order.
struct Axis {
  std::uint64_t size, from, to;
};

// The dimensions in the order in which the storage has them, each with more than one element. Neighbours that lie as one are one.
std::vector<Axis> axes_of(const Pickle& p, const PickledTensor& t) {
  std::vector<Axis> axes;
  std::uint64_t to = 1;
  for (std::size_t i = t.shape.count; i-- > 0;) {
    const auto size = static_cast<std::uint64_t>(p.item(t.shape, i).value);
    if (size != 1) axes.push_back({size, static_cast<std::uint64_t>(p.item(t.strides, i).value), to});
    to *= size;
  }
  std::ranges::reverse(axes);
  std::ranges::stable_sort(axes, std::ranges::greater{}, &Axis::from);
  std::vector<Axis> merged;
  for (const Axis& a : axes) {
    if (!merged.empty() && merged.back().from == a.from * a.size && merged.back().to == a.to * a.size)
      merged.back() = {merged.back().size * a.size, a.from, a.to};
    else merged.push_back(a);
  }
  return merged;
}

// Bytes of one entry that are asked for in rising order.
class Window {
 public:
  Window(ZipFile& zip, const ZipEntry& e) : zip_(zip), begin_(e.at), end_(e.at + e.size), have_(e.at) {}
  const std::byte* at(std::uint64_t offset, std::size_t size) {
    const std::uint64_t from = begin_ + offset;
    if (from < first_ || from + size > have_) {
      first_ = from;
      have_ = std::min<std::uint64_t>(from + block_.size(), end_);
      zip_.read(first_, block_.data(), static_cast<std::size_t>(have_ - first_));
    }
    return block_.data() + (from - first_);
  }

 private:
  ZipFile& zip_;
  std::uint64_t begin_, end_, first_ = 0, have_;
  std::vector<std::byte> block_ = std::vector<std::byte>(std::size_t{1} << 16);
};

// Copies every element to its place. convert: from size_of_from bytes to a T.
template <class T, class F>
void copy_elements(Window& window, std::uint64_t offset, std::size_t bytes, const std::vector<Axis>& axes, std::byte* out, F convert) {
  const Axis inner = axes.empty() ? Axis{1, 0, 0} : axes.back();
  std::vector<std::uint64_t> index(axes.empty() ? 0 : axes.size() - 1);
  for (std::uint64_t from = offset, to = 0;;) {
    for (std::uint64_t i = 0; i < inner.size; ++i) {
      const T v = convert(window.at((from + i * inner.from) * bytes, bytes));
      std::memcpy(out + (to + i * inner.to) * sizeof v, &v, sizeof v);
    }
    std::size_t d = index.size();
    while (d > 0 && index[d - 1] + 1 == axes[d - 1].size) {
      --d;
      from -= index[d] * axes[d].from, to -= index[d] * axes[d].to;
      index[d] = 0;
    }
    if (d == 0) return;
    ++index[d - 1], from += axes[d - 1].from, to += axes[d - 1].to;
  }
}

template <class T>
T as(const std::byte* bytes) {
  T value{};
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

class Reader {
 public:
  Reader(ZipFile& zip, const Pickle& pickle, std::string folder) : zip_(zip), p_(pickle), folder_(std::move(folder)) {
    for (const ZipEntry& e : zip_.entries())
      if (e.method == 0 && e.name.starts_with(folder_ + "data/")) room_ += 2 * e.size;  // halves become floats
  }

  Checkpoint read(const std::vector<PickleValue>& box) {
    constexpr std::size_t least = 20'000, bytes_each = 400;
    const std::size_t most = least + p_.bytes.size() / bytes_each;
    std::vector<std::pair<const PickledTensor*, StoredAs>> sources;
    std::set<std::string_view> names;
    std::vector<StoredAs> types;
    Checkpoint c;
    for (std::size_t i = 0; i + 1 < box.size(); i += 2) {
      if (box[i + 1].kind != Kind::tensor) continue;
      if (box[i].kind != Kind::text) corrupt(zip_.name(), "names a tensor by what is no text: it is no state_dict");
      const std::string_view name = p_.text(box[i]);
      if (name.size() > max_text_bytes || !is_utf8(name)) corrupt(zip_.name(), "has a tensor whose name is too long, or not UTF-8");
      if (name == metadata_key) corrupt(zip_.name(), "has a tensor of the name that safetensors keep for metadata");
      if (!names.insert(name).second) corrupt(zip_.name(), "has tensor " + in_quotes(name) + " twice");
      if (names.size() > most) corrupt(zip_.name(), "has more tensors than a state_dict of this size can");
      const PickledTensor& source = p_.tensors[static_cast<std::size_t>(box[i + 1].value)];
      StoredTensor t{std::string(name), DType::f32, {}, {}};
      types.push_back(describe(source, t));
      c.tensors.push_back(std::move(t));
      sources.emplace_back(&source, types.back());
    }
    // Every shape and size is known to be right before memory is taken.
    for (std::size_t i = 0; i < sources.size(); ++i) fill(*sources[i].first, sources[i].second, c.tensors[i]);
    c.notes = notes_of(c.tensors, types);
    return c;
  }

 private:
  std::string where(const StoredTensor& t) const { return zip_.name() + ": tensor " + in_quotes(t.name); }

  // Sets type and shape, and checks that the storage holds all its elements.
  StoredAs describe(const PickledTensor& source, StoredTensor& t) {
    const PickledStorage& storage = p_.storages[source.storage];
    const auto* const known = std::ranges::find(torch_types, p_.text(storage.type), &TorchType::storage);
    const auto unsupported = [&] {
      corrupt(where(t), "is of a torch." + shown_name(p_.text(storage.type)) +
                            ", which norma does not read: it reads float32, float16, bfloat16, float64, int64, int32 and uint8");
    };
    if (known == std::end(torch_types)) unsupported();
    if (source.shape.count > max_rank)
      corrupt(where(t), "has more than " + std::to_string(max_rank) + " dimensions, more than norma reads");
    dimensions_ += source.shape.count;
    if (dimensions_ > max_dimensions)
      corrupt(zip_.name(), "has shapes of more than " + std::to_string(max_dimensions) + " numbers, more than norma reads");
    for (std::size_t i = 0; i < source.shape.count; ++i) t.shape.push_back(p_.item(source.shape, i).value);
    const bool count = is_cast_count(t, known->type);
    if (known->type > StoredAs::f64 && !count) unsupported();
    t.dtype = count ? DType::i64 : read_as(known->type);
    t.cast_from = cast_name(known->type, t.dtype);
    const std::optional<std::uint64_t> bytes = byte_count(t.shape, std::max(size_of(t.dtype), size_of(known->type)));
    if (!bytes) corrupt(where(t), "shape " + to_text(t.shape) + " is larger than any file");
    check_reach(source, storage, t);
    if (*bytes > room_)
      corrupt(where(t), "and those before it take more than twice the file once each has its own memory; save copies of what they share");
    room_ -= *bytes;
    return known->type;
  }

  void check_reach(const PickledTensor& source, const PickledStorage& storage, const StoredTensor& t) const {
    const auto beyond = [&] {
      corrupt(where(t), "reaches beyond its storage of " + std::to_string(storage.elements) + " elements: the file is damaged");
    };
    auto left = static_cast<std::uint64_t>(storage.elements);
    const auto take = [&](std::uint64_t elements) {
      if (elements > left) beyond();
      left -= elements;
    };
    take(static_cast<std::uint64_t>(source.offset));
    if (std::ranges::find(t.shape, 0) != t.shape.end()) return;
    take(1);
    for (std::size_t i = 0; i < t.shape.size(); ++i) {
      const auto steps = static_cast<std::uint64_t>(t.shape[i] - 1), stride = static_cast<std::uint64_t>(p_.item(source.strides, i).value);
      if (steps != 0 && stride > left / steps) beyond();
      take(steps * stride);
    }
    std::uint64_t reached = 0;
    const std::vector<Axis> axes = axes_of(p_, source);
    for (std::size_t i = axes.size(); i-- > 0;) {
      if (axes[i].from != 0 && axes[i].from <= reached)
        corrupt(where(t), "has elements that lie over each other; save a copy of it: tensor.clone()");
      reached += (axes[i].size - 1) * axes[i].from;
    }
  }

  const ZipEntry& entry_of(const PickledStorage& storage, std::size_t element, const StoredTensor& t) {
    const std::string name = folder_ + "data/" + std::string(p_.text(storage.key));
    const ZipEntry* const e = zip_.find(name);
    if (!e) corrupt(where(t), "lies in " + in_quotes(name) + ", which the file does not have: it is damaged");
    if (e->size / element != static_cast<std::uint64_t>(storage.elements) || e->size % element != 0)
      corrupt(where(t), "lies in " + in_quotes(name) + " of " + std::to_string(e->size) + " bytes, which are not " +
                            std::to_string(storage.elements) + " elements of " + std::to_string(element) + ": the file is damaged");
    if (checked_.insert(e).second) zip_.check(*e);
    return *e;
  }

  void fill(const PickledTensor& source, StoredAs type, StoredTensor& t) {
    const std::size_t bytes = size_of(type);
    const ZipEntry& entry = entry_of(p_.storages[source.storage], bytes, t);
    const bool count = is_cast_count(t, type);
    t.bytes.resize(*byte_count(t.shape, size_of(t.dtype)));
    if (t.bytes.empty()) return;
    const auto copy = [&]<class T>(T, auto convert) {
      Window window(zip_, entry);
      copy_elements<T>(window, static_cast<std::uint64_t>(source.offset), bytes, axes_of(p_, source), t.bytes.data(), convert);
    };
    if (count) return copy(std::int64_t{}, [&](const std::byte* b) { return count_of(b, type, zip_.name(), t); });
    switch (type) {
      case StoredAs::f16: return copy(float{}, [](const std::byte* b) { return of_f16(as<std::uint16_t>(b)); });
      case StoredAs::bf16: return copy(float{}, [](const std::byte* b) { return of_bf16(as<std::uint16_t>(b)); });
      case StoredAs::f64: return copy(float{}, [&](const std::byte* b) { return of_f64(as<double>(b), zip_.name(), t); });
      case StoredAs::f32: return copy(float{}, as<float>);
      case StoredAs::i32: return copy(std::int32_t{}, as<std::int32_t>);
      case StoredAs::i64: return copy(std::int64_t{}, as<std::int64_t>);
      case StoredAs::u8: return copy(std::uint8_t{}, as<std::uint8_t>);
      case StoredAs::i8:
      case StoredAs::i16:
      case StoredAs::u16:
      case StoredAs::u32:
      case StoredAs::u64:  // these five: of counts alone
      case StoredAs::boolean:
      case StoredAs::f8_e4m3:
      case StoredAs::f8_e5m2:
      case StoredAs::f8_e8m0:
      case StoredAs::f6_e2m3:
      case StoredAs::f6_e3m2:
      case StoredAs::f4:
      case StoredAs::c64:
      case StoredAs::unknown: break;  // describe() refused it
    }
  }

  ZipFile& zip_;
  const Pickle& p_;
  std::string folder_;
  std::uint64_t room_ = std::uint64_t{1} << 20;  // bytes that tensors may still take
  std::size_t dimensions_ = 0;
  std::set<const ZipEntry*> checked_;
};

}  // namespace

Checkpoint read_tensors(ZipFile& zip, const Pickle& pickle, const std::string& folder, const std::vector<PickleValue>& dictionary) {
  return Reader(zip, pickle, folder).read(dictionary);
}

}  // namespace norma
