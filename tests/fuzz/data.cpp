// Files of samples: IDX, gzip, PNG.
#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "apps/norma/draw/png.h"
#include "apps/norma/draw/png_reader.h"
#include "norma/dataset.h"
#include "src/data/idx.h"
#include "tests/fuzz/fuzz.h"

namespace norma::fuzz {
namespace {

std::string idx_file(std::uint32_t magic, std::initializer_list<std::uint32_t> sizes, std::size_t bytes_each = 1) {
  std::string out;
  std::size_t elements = bytes_each;
  const auto word = [&](std::uint32_t v) {
    for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(v >> shift);
  };
  word(magic);
  for (const std::uint32_t n : sizes) word(n), elements *= n;
  for (std::size_t i = 0; i < elements; ++i) out += static_cast<char>(i % 10);
  return out;
}

std::string deflated(Bytes bytes) {
  z_stream z{};
  if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) wrong("no deflate");
  std::string out(deflateBound(&z, bytes.size()) + 32, '\0');
  z.next_in = const_cast<std::uint8_t*>(bytes.data());
  z.avail_in = static_cast<uInt>(bytes.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  if (::deflate(&z, Z_FINISH) != Z_STREAM_END) wrong("no deflate");
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

bool read(const std::filesystem::path& path, IdxKind kind, IdxFile& into) {
  return refused_or_read({ErrorKind::data}, [&] {
    into = read_idx(path, kind, true);
    std::uint64_t elements = 1;
    for (const std::int64_t d : into.dims) elements *= static_cast<std::uint64_t>(d);
    expect(elements == into.bytes.size() + into.labels.size() && elements > 0 && into.sha256.size() == 64,
           "an IDX file of other sizes than it says");
  });
}

// Raw or compressed by itself; and a pair of files, as `data.name = "idx"` reads them.
void run_idx(Bytes input) {
  const std::filesystem::path path = file("input", input);
  IdxFile ignored;
  for (const IdxKind kind : {IdxKind::images, IdxKind::labels}) read(path, kind, ignored);
  if (input.size() < 2) return;
  const std::size_t images = std::min<std::size_t>(input[0] * std::size_t{256} + input[1], input.size() - 2);
  const std::filesystem::path of_images = file("images", input.subspan(2, images)), of_labels = file("labels", input.subspan(2 + images));
  refused_or_read({ErrorKind::data, ErrorKind::usage}, [&] {
    const Dataset set = load_idx(of_images, of_labels);
    expect(set.size() > 0 && set.bytes.size() % static_cast<std::size_t>(set.size()) == 0, "a set of other sizes than it says");
    for (const std::int32_t label : set.labels)
      expect(label >= 0 && label < static_cast<std::int32_t>(set.classes.size()), "a label without a class");
  });
}

void idx_seeds(const std::function<void(const std::string&)>& add) {
  const std::string images = idx_file(0x803, {3, 2, 2}), labels = idx_file(0x801, {3});
  const auto packed = [](const std::string& s) { return deflated({reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}); };
  for (const std::string& s : {images, labels, idx_file(0xB01, {3}, 2), idx_file(0xC01, {3}, 4), idx_file(0xC02, {3, 8}, 4), packed(images),
                               packed(labels), packed(images) + packed(labels)})
    add(s);
  add(std::string{0, static_cast<char>(images.size())} + images + labels);
}

// A file means the same, compressed or not.
void run_gzip(Bytes input) {
  const std::filesystem::path plain = file("plain", input), packed = file("packed", deflated(input));
  for (const IdxKind kind : {IdxKind::images, IdxKind::labels}) {
    IdxFile a, b;
    if (input.size() >= 2 && input[0] == 0x1f && input[1] == 0x8b) continue;  // itself compressed
    const bool as_it_is = read(plain, kind, a), inflated = read(packed, kind, b);
    expect(as_it_is == inflated && (!as_it_is || (a.dims == b.dims && a.bytes == b.bytes && a.labels == b.labels && a.sha256 == b.sha256)),
           "a file that means something else once compressed");
  }
}

void gzip_seeds(const std::function<void(const std::string&)>& add) {
  add(idx_file(0x803, {3, 2, 2}));
  add(idx_file(0x801, {3}));
}

// The checksum of each chunk made right: what is wrong is then found behind it.
std::string with_checksums(Bytes input) {
  std::string png(text(input));
  for (std::size_t at = 8; at + 12 <= png.size();) {
    const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<std::uint8_t>(png[i])); };
    const std::size_t length = (byte(at) << 24) | (byte(at + 1) << 16) | (byte(at + 2) << 8) | byte(at + 3);
    if (length > png.size() - at - 12) break;
    const std::uint32_t sum =
        static_cast<std::uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(png.data() + at + 4), static_cast<uInt>(length + 4)));
    for (std::size_t i = 0; i < 4; ++i) png[at + 8 + length + i] = static_cast<char>(sum >> (24 - 8 * i));
    at += length + 12;
  }
  return png;
}

// The lowest bit of the first byte makes the checksums right.
void run_png(Bytes input) {
  if (input.empty()) return;
  const bool repair = input[0] & 1;
  input = input.subspan(1);
  const std::filesystem::path path = repair ? file("input.png", with_checksums(input)) : file("input.png", input);
  refused_or_read({ErrorKind::data}, [&] {
    app::PngReader picture(path);
    const std::int64_t height = picture.height(), width = picture.width(), values = picture.channels() + picture.alpha();
    expect(height > 0 && width > 0 && height <= app::most_picture_side && width <= app::most_picture_side &&
               height * width <= app::most_picture_pixels,
           "a picture larger than allowed");
    expect(picture.channels() == 1 || picture.channels() == 3, "a picture of other channels");
    const std::int64_t rows = std::min(height, (std::int64_t{1} << 18) / width + 1);
    std::vector<std::uint8_t> first;
    for (std::int64_t y = 0; y < rows; ++y) {
      const std::span<const std::uint8_t> row = picture.next_row();
      expect(static_cast<std::int64_t>(row.size()) == width * values, "a row of another width");
      if (y == 0) first.assign(row.begin(), row.end());
    }
    picture.rewind();
    const std::span<const std::uint8_t> again = picture.next_row();
    expect(std::equal(again.begin(), again.end(), first.begin(), first.end()), "another first row the second time");
  });
}

void png_seeds(const std::function<void(const std::string&)>& add) {
  for (const int channels : {1, 3}) {
    app::Image image{5, 7, channels, {}};
    for (int i = 0; i < 5 * 7 * channels; ++i) image.pixels.push_back(static_cast<std::uint8_t>(i * 7));
    const std::vector<std::byte> bytes = app::encode_png(image);
    for (const char first : {'\0', '\xff'}) add(first + std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
}

}  // namespace

const Fuzzer idx{"idx", "IDX files, raw or gzip, and pairs of them", run_idx, idx_seeds};
const Fuzzer gzip{"gzip", "IDX files, compressed and not: the same", run_gzip, gzip_seeds};
const Fuzzer png{"png", "PNG files", run_png, png_seeds};

}  // namespace norma::fuzz
