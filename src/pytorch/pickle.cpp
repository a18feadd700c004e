// A stack machine, as Python's pickle module describes it (Lib/pickletools.py). It has no recursion, so depth costs nothing.
#include "src/pytorch/pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "src/files/safetensors_header.h"

namespace norma {
namespace {

using Kind = PickleValue::Kind;
using Global = PickleValue::Global;

class Unpickler {
 public:
  Unpickler(std::string bytes, const std::string& where, std::size_t most) : where_(where), most_(most) { p_.bytes = std::move(bytes); }

  Pickle run() {
    if (byte() != 0x80) damaged("does not begin as a pickle");
    if (const unsigned protocol = byte(); protocol != 2)
      fail("is a pickle of protocol " + std::to_string(protocol) + ", norma reads protocol 2: save without pickle_protocol");
    while (step()) {
    }
    if (stack_.size() != 1 || !marks_.empty()) damaged("leaves more than one value");
    p_.root = stack_.front();
    return std::move(p_);
  }

 private:
  // ---- errors

  [[noreturn]] void fail(const std::string& what) const { corrupt(where_, what); }
  [[noreturn]] void damaged(const std::string& what) const {
    fail("its pickle " + what + " at byte " + std::to_string(at_) + ": it is damaged, or no state_dict");
  }

  // ---- bytes

  unsigned byte() { return static_cast<unsigned char>(take(1)[0]); }
  std::string_view take(std::size_t count) {
    if (count > p_.bytes.size() - at_) damaged("ends early");
    const std::string_view taken = std::string_view(p_.bytes).substr(at_, count);
    at_ += count;
    return taken;
  }
  template <class T>
  T number() {
    T value{};
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  // A little-endian integer of any length; beyond 64 bits its value does not matter.
  PickleValue long_integer(std::size_t count) {
    const std::string_view digits = take(count);
    if (count > 8) return {};
    std::uint64_t v = 0;
    for (std::size_t i = count; i-- > 0;) v = v << 8 | static_cast<unsigned char>(digits[i]);
    if (count > 0 && count < 8 && static_cast<unsigned char>(digits[count - 1]) >= 0x80) v |= ~std::uint64_t{0} << (8 * count);
    return {.kind = Kind::integer, .value = static_cast<std::int64_t>(v)};
  }
  // The place of a line without its end.
  PickleValue line() {
    const std::size_t begin = at_, end = p_.bytes.find('\n', at_);
    if (end == std::string::npos) damaged("ends early");
    at_ = end + 1;
    return {.kind = Kind::text, .count = static_cast<std::uint32_t>(end - begin), .value = static_cast<std::int64_t>(begin)};
  }

  // ---- values

  void keep(std::size_t values) {
    if (values > most_ - kept_) fail("its pickle holds more values than a state_dict of this size can");
    kept_ += values;
  }
  void push(PickleValue v) {
    if (stack_.size() == reached_) keep(1), ++reached_;
    stack_.push_back(v);
  }
  PickleValue pop() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) damaged("takes a value that is not there");
    const PickleValue v = stack_.back();
    stack_.pop_back();
    return v;
  }
  PickleValue& top() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) damaged("takes a value that is not there");
    return stack_.back();
  }
  // Where the values behind the last mark begin; the mark goes.
  std::size_t after_mark() {
    if (marks_.empty()) damaged("takes a mark that is not there");
    const std::size_t begin = marks_.back();
    marks_.pop_back();
    return begin;
  }
  void push_box(Kind kind) {
    keep(2);
    p_.boxes.emplace_back();
    push({.kind = kind, .value = static_cast<std::int64_t>(p_.boxes.size() - 1)});
  }
  void tuple(std::size_t begin) {
    const std::size_t count = stack_.size() - begin;
    keep(count);
    const PickleValue v{
        .kind = Kind::tuple, .count = static_cast<std::uint32_t>(count), .value = static_cast<std::int64_t>(p_.items.size())};
    p_.items.insert(p_.items.end(), stack_.begin() + static_cast<std::ptrdiff_t>(begin), stack_.end());
    stack_.resize(begin);
    push(v);
  }
  void tuple_of(std::size_t count) {
    if (stack_.size() - (marks_.empty() ? 0 : marks_.back()) < count) damaged("takes a value that is not there");
    tuple(stack_.size() - count);
  }
  // Moves the values from `begin` on into the list or dictionary below them.
  void append(std::size_t begin, Kind kind) {
    const std::size_t count = stack_.size() - begin;
    if (begin <= (marks_.empty() ? 0 : marks_.back()) || stack_[begin - 1].kind != kind || (kind == Kind::dict && count % 2 != 0))
      damaged("adds to what is no collection");
    keep(count);
    std::vector<PickleValue>& box = p_.boxes[static_cast<std::size_t>(stack_[begin - 1].value)];
    box.insert(box.end(), stack_.begin() + static_cast<std::ptrdiff_t>(begin), stack_.end());
    stack_.resize(begin);
  }
  void append_few(std::size_t count, Kind kind) {
    if (stack_.size() - (marks_.empty() ? 0 : marks_.back()) <= count) damaged("takes a value that is not there");
    append(stack_.size() - count, kind);
  }
  // The memo's numbers rise one by one, as pickle gives them.
  void put(std::size_t number) {
    const PickleValue v = top();
    if (number > memo_.size()) damaged("numbers its values by leaps");
    if (number < memo_.size()) memo_[number] = v;
    else keep(1), memo_.push_back(v);
  }
  void get(std::size_t number) {
    if (number >= memo_.size()) damaged("takes a value that is not there");
    push(memo_[number]);
  }

  // ---- objects of Python

  void global() {
    const PickleValue module = line(), name = line();
    const std::string_view m = p_.text(module), n = p_.text(name);
    const auto known = [&](Global which) { push({.kind = Kind::global, .global = which, .count = name.count, .value = name.value}); };
    if (m == "collections" && n == "OrderedDict") return known(Global::ordered_dict);
    if (m == "torch._utils" && n == "_rebuild_tensor_v2") return known(Global::rebuild_tensor);
    if (m == "torch._utils" && n == "_rebuild_parameter") return known(Global::rebuild_parameter);
    if ((m == "torch" || m == "torch.storage") && n.ends_with("Storage")) return known(Global::storage_type);
    if (m == "torch._utils" && n.starts_with("_rebuild_"))
      fail("holds a tensor of a kind that norma does not read (" + shown_name(n) +
           "): save it as float32, tensor.float(), or leave it out");
    fail("holds " + shown_name(m) + "." + shown_name(n) +
         ", code that unpickling would execute; norma executes none: save the state_dict alone, torch.save(model.state_dict(), FILE)");
  }
  // A tuple of `count` items of these kinds, the first of the tuple; other items may be anything.
  bool fits(const PickleValue& tuple, std::initializer_list<Kind> kinds) const {
    if (tuple.kind != Kind::tuple || tuple.count < kinds.size()) return false;
    for (std::size_t i = 0; i < kinds.size(); ++i)
      if (p_.item(tuple, i).kind != *(kinds.begin() + i)) return false;
    return true;
  }
  // Looked at whenever a tensor is made of it, which may be often.
  bool few_dimensions(const PickleValue& shape) const {
    if (shape.count > max_rank) fail("has a tensor of more than " + std::to_string(max_rank) + " dimensions, more than norma reads");
    return true;
  }
  bool whole_numbers(const PickleValue& tuple) const {
    for (std::size_t i = 0; i < tuple.count; ++i)
      if (const PickleValue& v = p_.item(tuple, i); v.kind != Kind::integer || v.value < 0) return false;
    return true;
  }
  // ('storage', torch.FloatStorage, '0', 'cpu', 6)
  void storage() {
    const PickleValue id = pop();
    if (!fits(id, {Kind::text, Kind::global, Kind::text, Kind::text, Kind::integer}) || id.count != 5 ||
        p_.text(p_.item(id, 0)) != "storage" || p_.item(id, 1).global != Global::storage_type || p_.item(id, 4).value < 0)
      damaged("has a storage that is none");
    keep(3);
    PickleValue type = p_.item(id, 1);
    type.kind = Kind::text;
    p_.storages.push_back({type, p_.item(id, 2), p_.item(id, 4).value});
    push({.kind = Kind::storage, .value = static_cast<std::int64_t>(p_.storages.size() - 1)});
  }
  void reduce() {
    const PickleValue arguments = pop(), function = pop();
    if (function.kind != Kind::global || arguments.kind != Kind::tuple) damaged("calls what is no function");
    switch (function.global) {
      case Global::ordered_dict:
        if (arguments.count == 0) return push_box(Kind::dict);
        break;
      case Global::rebuild_tensor:  // (storage, offset, shape, strides, requires_grad, hooks)
        if (fits(arguments, {Kind::storage, Kind::integer, Kind::tuple, Kind::tuple}) && p_.item(arguments, 1).value >= 0 &&
            p_.item(arguments, 2).count == p_.item(arguments, 3).count && few_dimensions(p_.item(arguments, 2)) &&
            whole_numbers(p_.item(arguments, 2)) && whole_numbers(p_.item(arguments, 3))) {
          keep(4);
          p_.tensors.push_back({static_cast<std::size_t>(p_.item(arguments, 0).value), p_.item(arguments, 1).value, p_.item(arguments, 2),
                                p_.item(arguments, 3)});
          return push({.kind = Kind::tensor, .value = static_cast<std::int64_t>(p_.tensors.size() - 1)});
        }
        break;
      case Global::rebuild_parameter:  // (tensor, requires_grad, hooks)
        if (fits(arguments, {Kind::tensor})) return push(p_.item(arguments, 0));
        break;
      case Global::storage_type: break;
    }
    damaged("calls " + std::string(shown_name(p_.text(function))) + " in a way that torch.save does not");
  }

  bool step() {
    switch (static_cast<char>(byte())) {
      case '.': return false;
      case '(':
        if (marks_.size() == marks_reached_) keep(1), ++marks_reached_;
        marks_.push_back(stack_.size());
        break;
      case '}': push_box(Kind::dict); break;
      case ']': push_box(Kind::list); break;
      case ')': tuple_of(0); break;
      case '\x85': tuple_of(1); break;
      case '\x86': tuple_of(2); break;
      case '\x87': tuple_of(3); break;
      case 't': tuple(after_mark()); break;
      case 's': append_few(2, Kind::dict); break;
      case 'u': append(after_mark(), Kind::dict); break;
      case 'a': append_few(1, Kind::list); break;
      case 'e': append(after_mark(), Kind::list); break;
      case 'N':
      case '\x88':
      case '\x89': push({}); break;
      case 'G': take(8), push({}); break;
      case 'K': push({.kind = Kind::integer, .value = static_cast<std::int64_t>(byte())}); break;
      case 'M': push({.kind = Kind::integer, .value = number<std::uint16_t>()}); break;
      case 'J': push({.kind = Kind::integer, .value = number<std::int32_t>()}); break;
      case '\x8a': push(long_integer(byte())); break;
      case '\x8b': push(long_integer(number<std::uint32_t>())); break;
      case 'X': {
        const auto count = number<std::uint32_t>();
        push({.kind = Kind::text, .count = count, .value = static_cast<std::int64_t>(at_)});
        take(count);
        break;
      }
      case 'q': put(byte()); break;
      case 'r': put(number<std::uint32_t>()); break;
      case 'h': get(byte()); break;
      case 'j': get(number<std::uint32_t>()); break;
      case 'c': global(); break;
      case 'Q': storage(); break;
      case 'R': reduce(); break;
      case 'b':  // attributes, such as the _metadata of a state_dict
        pop();
        if (top().kind != Kind::dict) damaged("gives attributes to what has none");
        break;
      default: --at_, damaged("has an instruction that torch.save does not use");
    }
    return true;
  }

  const std::string& where_;
  std::size_t most_, kept_ = 0, at_ = 0;
  std::size_t reached_ = 0, marks_reached_ = 0;  // the largest sizes of the two stacks
  Pickle p_;
  std::vector<PickleValue> stack_, memo_;
  std::vector<std::size_t> marks_;
};

}  // namespace

Pickle unpickle(std::string bytes, const std::string& where, std::size_t most) { return Unpickler(std::move(bytes), where, most).run(); }

}  // namespace norma
