// A pickle of torch.save, as data. Nothing is executed: the reader knows the few objects of which state_dicts are made.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace norma {

struct PickleValue {
  enum class Kind : std::uint8_t { plain, integer, text, global, tuple, list, dict, storage, tensor };
  enum class Global : std::uint8_t { ordered_dict, rebuild_tensor, rebuild_parameter, storage_type };

  Kind kind = Kind::plain;               // plain: None, a bool, a float, an integer beyond 64 bits
  Global global = Global::ordered_dict;  // of a global
  std::uint32_t count = 0;               // bytes of a text, or of a storage type's name; items of a tuple
  std::int64_t value = 0;                // an integer; where a text begins in the pickle; a tuple's first item; the number of all else
};

struct PickledStorage {
  PickleValue type, key;  // texts: "FloatStorage"; the entry below data/
  std::int64_t elements = 0;
};

struct PickledTensor {
  std::size_t storage = 0;
  std::int64_t offset = 0;       // in elements
  PickleValue shape, strides{};  // tuples of equally many integers
};

struct Pickle {
  std::string bytes;
  std::vector<PickleValue> items;               // of all tuples
  std::vector<std::vector<PickleValue>> boxes;  // of lists; of dictionaries: key, value, key, value
  std::vector<PickledStorage> storages;
  std::vector<PickledTensor> tensors;
  PickleValue root;

  std::string_view text(const PickleValue& v) const { return std::string_view(bytes).substr(static_cast<std::size_t>(v.value), v.count); }
  const PickleValue& item(const PickleValue& tuple, std::size_t i) const { return items[static_cast<std::size_t>(tuple.value) + i]; }
  const std::vector<PickleValue>& box(const PickleValue& v) const { return boxes[static_cast<std::size_t>(v.value)]; }
};

// Reads a pickle of protocol 2. where: how errors begin. It keeps at most `most` values, of 16 bytes each, of which vectors take up to
// three times. Throws Error(data) naming the object of Python that it does not know, or what is damaged and at which byte.
Pickle unpickle(std::string bytes, const std::string& where, std::size_t most);

}  // namespace norma
