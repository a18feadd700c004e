// Files of torch.save that are damaged or made to harm: nothing is executed, nothing is read beyond its bounds, and the file's size bounds
// the memory.
#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "norma/weights.h"
#include "tests/support/expect_error.h"
#include "tests/support/peak_memory.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/torch_files.h"

extern "C" [[gnu::weak]] int __asan_address_is_poisoned(const volatile void* address);  // null without AddressSanitizer

namespace norma {
namespace {

using test::dict;
using test::expect_error;
using test::integer;
using test::little;
using test::pickle;
using test::TemporaryFolder;
using test::tensor;
using test::text_of;
using test::torch_parts;
using test::zip_of;
using test::ZipPart;

const std::string nine(36, '\0');  // nine floats

class PtHostile : public testing::Test {
 protected:
  Checkpoint load(const std::string& bytes, std::string_view key = {}) {
    std::ofstream(folder_ / "f.pt", std::ios::binary | std::ios::trunc) << bytes;
    return load_pt(folder_ / "f.pt", key);
  }
  void refused(const std::string& bytes, std::initializer_list<std::string> words) {
    expect_error(ErrorKind::data, words, [&] { load(bytes); });
  }
  void pickle_refused(const std::string& pickled, std::initializer_list<std::string> words) {
    refused(zip_of(torch_parts(pickled, {nine})), words);
  }
  TemporaryFolder folder_;
};

TEST_F(PtHostile, CodeIsNamedAndNotRun) {
  const std::string made = (folder_ / "made").string();
  const std::string command = "(" + text_of("touch " + made) + "t";
  pickle_refused(pickle("cposix\nsystem\n" + command + "R"), {"f.pt", "holds posix.system, code that unpickling would execute"});
  pickle_refused(pickle(dict({{"w", "cos\nsystem\n" + command + "R"}})), {"holds os.system"});
  pickle_refused(pickle(dict({{"w", tensor("0", 9, 0, {3}, {1})}, {"x", "cbuiltins\neval\n" + command + "R"}})), {"holds builtins.eval"});
  pickle_refused(pickle("c__main__\nNet\n)\x81}b"), {"holds __main__.Net"});
  pickle_refused(pickle("ctorch._utils\n_rebuild_qtensor\n"), {"a kind that norma does not read (_rebuild_qtensor)"});
  pickle_refused(pickle("ctorch\nload\n"), {"torch.load"});
  pickle_refused(pickle("c" + std::string(1000, 'a') + "\n\x1b[2J\n"), {"aaa...", "\\x1b[2J"});
  pickle_refused(pickle("(icposix\nsystem\n"), {"has an instruction that torch.save does not use"});
  EXPECT_FALSE(std::filesystem::exists(made));
}

TEST_F(PtHostile, FunctionsAreCalledAsTorchCallsThemOrNotAtAll) {
  const std::string odict = "ccollections\nOrderedDict\n", rebuild = "ctorch._utils\n_rebuild_tensor_v2\n";
  pickle_refused(pickle(odict + "(" + integer(1) + "tR"), {"calls OrderedDict in a way that torch.save does not"});
  pickle_refused(pickle(rebuild + ")R"), {"calls _rebuild_tensor_v2"});
  pickle_refused(pickle("ctorch\nFloatStorage\n)R"), {"calls FloatStorage"});
  pickle_refused(pickle("ctorch._utils\n_rebuild_parameter\n(NNNtR"), {"calls _rebuild_parameter"});
  pickle_refused(pickle(integer(1) + ")R"), {"calls what is no function"});
  pickle_refused(pickle(dict({{"w", tensor("0", 9, 0, {2, 3}, {3})}})), {"calls _rebuild_tensor_v2"});
  pickle_refused(pickle(dict({{"w", tensor("0", 9, -1, {3}, {1})}})), {"calls _rebuild_tensor_v2"});
  pickle_refused(pickle(dict({{"w", tensor("0", 9, 0, {-3}, {1})}})), {"calls _rebuild_tensor_v2"});
  pickle_refused(pickle(dict({{"w", tensor("0", 9, 8, {3}, {-1})}})), {"calls _rebuild_tensor_v2"});
  pickle_refused(pickle(dict({{"w", tensor("0", -9, 0, {3}, {1})}})), {"has a storage that is none"});
  pickle_refused(pickle("(" + text_of("storage") + "tQ"), {"has a storage that is none"});
}

TEST_F(PtHostile, ABrokenStackIsRefused) {
  for (const char* bytes : {"",
                            "0",
                            "s",
                            "u",
                            "(u",
                            "a",
                            "e",
                            "}e",
                            "]u",
                            "}a",
                            "t",
                            "\x85",
                            "\x86",
                            "\x87",
                            "R",
                            "b",
                            "Q",
                            "N)b",
                            "h\x05",
                            "j\x05\x05\x05\x05",
                            "q\x07",
                            "Nq\x07",
                            "Nr\xff\xff\xff\xff",
                            "N(N",
                            "(}Ns",
                            "}(Nu",
                            "}N(\x85",
                            "K",
                            "M\x01",
                            "J\x01",
                            "G1234567",
                            "X\xff\xff\xff\xff",
                            "X\x05",
                            "\x8a\x05",
                            "\x8b\xff\xff\xff\xff",
                            "cposix",
                            "cposix\nsystem",
                            "NN"}) {
    const std::string code = std::string("\x80\x02") + bytes;
    pickle_refused(code + ".", {"f.pt"});
    pickle_refused(code, {"f.pt"});
  }
  pickle_refused("", {"ends early"});
  pickle_refused("hello", {"does not begin as a pickle"});
  pickle_refused("\x80\x05}.", {"protocol 5"});
}

TEST_F(PtHostile, NothingIsReadBeyondAStorage) {
  const auto with = [](const std::string& t) { return pickle(dict({{"w", t}})); };
  EXPECT_EQ(load(zip_of(torch_parts(with(tensor("0", 9, 6, {3}, {1})), {nine}))).tensors.size(), 1u);
  pickle_refused(with(tensor("0", 9, 7, {3}, {1})), {"tensor 'w'", "beyond its storage of 9 elements"});
  pickle_refused(with(tensor("0", 9, 10, {0}, {1})), {"beyond its storage"});
  pickle_refused(with(tensor("0", 9, 0, {3, 3}, {4, 1})), {"beyond its storage"});
  constexpr std::int32_t most = 0x7fffffff;
  pickle_refused(with(tensor("0", 9, 0, {most, most, most}, {most, most, most})), {"tensor 'w'"});
  pickle_refused(with(tensor("0", 9, 0, {most, most, most}, {0, 0, 0})), {"larger than any file"});
  pickle_refused(with(tensor("0", 9, 0, {most, 1}, {0, 0})), {"twice the file"});
  pickle_refused(with(tensor("0", 12, 0, {3}, {1})), {"of 36 bytes, which are not 12 elements of 4"});
  pickle_refused(with(tensor("0", 9, 0, {3}, {1}, "HalfStorage")), {"of 36 bytes, which are not 9 elements of 2"});
  pickle_refused(with(tensor("1", 9, 0, {3}, {1})), {"'archive/data/1', which the file does not have"});
  pickle_refused(with(tensor("../data.pkl", 9, 0, {3}, {1})), {"which the file does not have"});
  pickle_refused(with(tensor("0", 9, 0, std::vector<std::int32_t>(65, 1), std::vector<std::int32_t>(65, 1))), {"more than 64 dimensions"});
  pickle_refused(pickle(dict({{"w", tensor("0", 9, 0, {3}, {1})}, {"w", tensor("0", 9, 0, {3}, {1})}})), {"tensor 'w' twice"});
  pickle_refused(pickle(dict({{"\xff", tensor("0", 9, 0, {3}, {1})}})), {"not UTF-8"});
  pickle_refused(pickle("}(" + integer(3) + tensor("0", 9, 0, {3}, {1}) + "u"), {"no text"});
}

// A part that is compressed only claims its size.
TEST_F(PtHostile, AClaimedSizeIsNoRoom) {
  std::vector<ZipPart> parts = torch_parts(pickle(dict({{"w", tensor("0", 1, 0, {1 << 28}, {0})}})), {little(1.0f)});
  parts.push_back({.name = "archive/data/x", .bytes = "x", .method = 8, .wrong_size = std::int64_t{1} << 30});
  refused(zip_of(parts), {"f.pt"});
  parts.back().wrong_size = 0;
  refused(zip_of(parts), {"twice the file"});
}

TEST_F(PtHostile, ShapesAreShort) {
  const std::vector<std::int32_t> ones(65, 1);
  pickle_refused(pickle(dict({{"w", tensor("0", 9, 0, ones, ones)}})), {"more than 64 dimensions"});
  pickle_refused(pickle("ctorch._utils\n_rebuild_tensor_v3\n)R"), {"_rebuild_tensor_v3", "a kind that norma does not read"});
}

TEST_F(PtHostile, NumbersThatNormaCannotKeepAreRefused) {
  const auto with = [](const std::string& name, const std::string& storage, const std::string& bytes, std::int32_t elements) {
    return zip_of(torch_parts(pickle(dict({{name, tensor("0", elements, 0, {elements}, {1}, storage)}})), {bytes}));
  };
  refused(with("w", "DoubleStorage", little(1e300), 1), {"'w'", "is F64 and holds", "which is no f32"});
  refused(with("w", "ShortStorage", little(std::int16_t{1}), 1), {"torch.ShortStorage"});
  refused(with("bn.num_batches_tracked", "FloatStorage", little(0.5f), 1), {"bn.num_batches_tracked", "whole number"});
  refused(with("bn.num_batches_tracked", "ShortStorage", little(std::int16_t{-1}), 1), {"whole number"});
  EXPECT_EQ(load(with("bn.num_batches_tracked", "FloatStorage", little(3.0f), 1)).tensors.at(0).integers().at(0), 3);
}

TEST_F(PtHostile, TheArchiveIsCheckedPartByPart) {
  const std::string code = pickle(dict({{"w", tensor("0", 9, 0, {3}, {1})}}));
  const auto changed = [&](auto change) {
    std::vector<ZipPart> parts = torch_parts(code, {nine});
    change(parts);
    return zip_of(parts);
  };
  EXPECT_EQ(load(changed([](auto&) {})).tensors.size(), 1u);
  refused(changed([](auto& p) { p[2].wrong_crc = 1; }), {"'archive/data/0': does not give its checksum", "set_crc32_options"});
  refused(changed([](auto& p) { p[0].wrong_crc = 1; }), {"'archive/data.pkl': does not give its checksum"});
  refused(changed([](auto& p) { p[2].method = 8; }), {"'archive/data/0': is compressed (deflate)"});
  refused(changed([](auto& p) { p[2].method = 12; }), {"method 12"});
  refused(changed([](auto& p) { p[2].flags = 1; }), {"is encrypted"});
  for (const std::int64_t wrong : {-1, 1, 40, 100000}) refused(changed([&](auto& p) { p[2].wrong_offset = wrong; }), {"archive"});
  refused(changed([](auto& p) { p[0].wrong_size = 60; }), {"overlap"});
  refused(changed([](auto& p) { p[2].wrong_size = 1; }), {"archive"});
  refused(changed([](auto& p) { p[2].name = "archive/byteorder"; }), {"'archive/byteorder' twice"});
  refused(changed([](auto& p) { p[1].bytes = "big"; }), {"big-endian"});
  refused(changed([](auto& p) { p[0].name = "archive/other"; }), {"has no data.pkl"});
  refused(changed([](auto& p) { p.push_back({"else/data.pkl", ""}); }), {"two pickles"});
  refused(changed([](auto& p) { p.push_back({"archive/code/net.py", ""}); }), {"TorchScript"});
  refused(zip_of({}), {"has no data.pkl"});
  std::string twice = zip_of(torch_parts(code, {nine}));  // two entries of one place
  const std::size_t directory = twice.find("PK\1\2", twice.find("PK\1\2", 0) + 4);
  twice[directory + 42] = '\0';
  refused(twice, {"archive"});
}

TEST_F(PtHostile, CutAtEveryByteItIsRefused) {
  const std::string whole = test::small_torch_file();
  EXPECT_EQ(load(whole).tensors.size(), 2u);
  for (std::size_t n = 0; n < whole.size(); ++n) refused(whole.substr(0, n), {"f.pt"});
  const std::string code = pickle(dict({{"w", tensor("0", 9, 0, {3}, {1})}}));
  for (std::size_t n = 0; n < code.size(); ++n) pickle_refused(code.substr(0, n), {"f.pt"});
}

TEST_F(PtHostile, AnyOneByteMayBeWrong) {
  const std::string whole = test::small_torch_file();
  for (std::size_t i = 0; i < whole.size(); ++i)
    for (const char bits : {'\x01', '\x80', '\xff'}) {
      std::string wrong = whole;
      wrong[i] = static_cast<char>(wrong[i] ^ bits);
      try {
        for (const StoredTensor& t : load(wrong).tensors) EXPECT_LE(t.bytes.size(), whole.size());
      } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::data) << e.what();
      }
    }
}

TEST_F(PtHostile, DepthAndCirclesEnd) {
  std::string deep = "}";
  for (int i = 0; i < 20000; ++i) deep += "(" + text_of("a") + "}";
  for (int i = 0; i < 20000; ++i) deep += "u";
  pickle_refused(pickle(deep), {"no dictionary of tensors"});
  pickle_refused(pickle(std::string("}q\0(", 4) + text_of("self") + std::string("h\0u", 3)), {"no dictionary of tensors"});
  const auto number = [](const char* op, int i) { return op + std::string(1, static_cast<char>(i)); };
  std::string doubling = "}(";  // each holds the one before twice
  for (int i = 0; i < 60; ++i) {
    doubling += text_of(std::to_string(i)) + "}" + number("q", i);
    if (i > 0) doubling += "(" + text_of("a") + number("h", i - 1) + text_of("b") + number("h", i - 1) + "u";
  }
  pickle_refused(pickle(doubling + "u"), {"no dictionary of tensors"});
}

// Peak memory of reading a file, in bytes beyond what was there before; 0 where it cannot be measured.
std::int64_t memory_of(const std::filesystem::path& file) {
  if (__asan_address_is_poisoned || !test::forget_peak_memory()) return 0;
  const std::int64_t before = test::peak_memory();
  try {
    load_pt(file);
  } catch (const Error&) {
  }
  return (test::peak_memory() - before) * 1024;
}

TEST_F(PtHostile, MemoryIsBoundedByTheFile) {
  const auto expect_bounded = [&](const std::string& what, const std::string& bytes) {
    std::ofstream(folder_ / "f.pt", std::ios::binary | std::ios::trunc) << bytes;
    EXPECT_LE(memory_of(folder_ / "f.pt"), static_cast<std::int64_t>(bytes.size()) * 5 / 2 + (std::int64_t{16} << 20)) << what;
  };
  constexpr std::size_t many = 2'000'000;
  expect_bounded("values", zip_of(torch_parts(pickle("(" + std::string(many, 'N') + "t"), {})));
  expect_bounded("dictionaries", zip_of(torch_parts(pickle("(" + std::string(many, '}') + "t"), {})));
  expect_bounded("marks", zip_of(torch_parts(pickle(std::string(many, '(')), {})));
  std::string memo = "N";
  for (std::uint32_t i = 0; i < many / 5; ++i) memo += "r" + little(i);
  expect_bounded("memo", zip_of(torch_parts(pickle(memo), {})));
  std::string tensors = tensor("0", 9, 0, {3}, {1}) + std::string("q\0", 2) + "}(";
  for (int i = 0; i < 100'000; ++i) tensors += text_of(std::to_string(i)) + std::string("h\0", 2);
  expect_bounded("tensors", zip_of(torch_parts(pickle(tensors + "u"), {nine})));
  std::vector<ZipPart> parts = torch_parts(pickle("}"), {});
  for (int i = 0; i < 60'000; ++i) parts.push_back({std::to_string(i), ""});
  expect_bounded("entries", zip_of(parts));
  std::string halves(8'000'000, '\1'), views;
  std::vector<std::pair<std::string, std::string>> items;
  for (int i = 0; i < 40; ++i) items.emplace_back(std::to_string(i), tensor("0", 4'000'000, 0, {4'000'000}, {1}, "HalfStorage"));
  expect_bounded("views", zip_of(torch_parts(pickle(dict(items)), {halves})));
  items.resize(1);
  expect_bounded("halves", zip_of(torch_parts(pickle(dict(items)), {halves})));
  items[0].second = tensor("0", 4'000'000, 0, {4'000, 1000}, {1, 4'000}, "HalfStorage");
  expect_bounded("transposed", zip_of(torch_parts(pickle(dict(items)), {halves})));
}

}  // namespace
}  // namespace norma
