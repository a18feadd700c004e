// libpng's own interface: its simplified one applies gAMA.
#include "apps/norma/draw/png_reader.h"

#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "norma/error.h"
#include "norma/file_kind.h"
#include "norma/files.h"

namespace norma::app {
namespace {

constexpr std::uint64_t deflate_expansion = 1032;  // 258 bytes from 2 bits: zlib's technical note, "Maximum Compression Factor"
constexpr std::uint64_t interlaced_bytes = std::uint64_t{1} << 26, interlaced_expansion = 16;

// Chunks that are passed over unread: colour management, text and dates, some of them compressed.
constexpr std::array<png_byte, 14 * 5> passed_over = {"gAMA\0cHRM\0sRGB\0iCCP\0sBIT\0bKGD\0hIST\0pHYs\0sPLT\0tIME\0tEXt\0zTXt\0iTXt\0eXIf"};

// One reading of a file in memory by libpng.
class Decoder {
 public:
  explicit Decoder(std::string_view file) : left_(file) {
    png_ = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, this, on_error, on_warning, this, on_allocate, on_free);
    info_ = png_ ? png_create_info_struct(png_) : nullptr;
    if (info_) return;
    png_destroy_read_struct(&png_, nullptr, nullptr);
    throw std::bad_alloc();
  }
  ~Decoder() { png_destroy_read_struct(&png_, &info_, nullptr); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // Empty, or what is wrong.
  std::string_view read_header() {
    return attempt([this] {
      png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // limits of our own name the size
      png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, passed_over.data(), static_cast<int>(passed_over.size() / 5));
      png_set_read_fn(png_, this, on_read);
      png_read_info(png_, info_);
      const int type = png_get_color_type(png_, info_);
      width = png_get_image_width(png_, info_);
      height = png_get_image_height(png_, info_);
      channels = type & PNG_COLOR_MASK_COLOR ? 3 : 1;
      alpha = type & PNG_COLOR_MASK_ALPHA || png_get_valid(png_, info_, PNG_INFO_tRNS);
      interlaced = png_get_interlace_type(png_, info_) != PNG_INTERLACE_NONE;
      stored_bits = static_cast<std::uint64_t>(png_get_bit_depth(png_, info_)) * png_get_channels(png_, info_);
    });
  }
  std::string_view begin_rows() {
    return attempt([this] {
      png_set_expand(png_);    // a palette to RGB, grey to 8 bits, tRNS to alpha
      png_set_strip_16(png_);  // the upper 8 bits
      passes_ = png_set_interlace_handling(png_);
      png_read_update_info(png_, info_);
    });
  }
  std::string_view read_row(png_byte* row) {
    return attempt([this, row] { png_read_row(png_, row, nullptr); });
  }
  std::string_view read_all(png_byte* pixels, std::size_t row_bytes) {
    return attempt([this, pixels, row_bytes] {
      for (int pass = 0; pass < passes_; ++pass)
        for (png_uint_32 y = 0; y < height; ++y) png_read_row(png_, pixels + y * row_bytes, nullptr);
    });
  }

  png_uint_32 width = 0, height = 0;
  int channels = 1;
  bool alpha = false, interlaced = false;
  std::uint64_t stored_bits = 8;  // a pixel

 private:
  // libpng leaves its functions by a jump back into this one, past the frames between. So neither it nor a step may have anything to
  // destroy.
  template <class Step>
  std::string_view attempt(const Step& step) {
    if (setjmp(png_jmpbuf(png_)) == 0) {
      step();
      return {};
    }
    if (out_of_memory_) throw std::bad_alloc();
    return message_.data();
  }

  [[noreturn]] static void on_error(png_structp png, png_const_charp message) {
    Decoder& self = *static_cast<Decoder*>(png_get_error_ptr(png));
    std::strncpy(self.message_.data(), message, self.message_.size() - 1);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}
  static void on_read(png_structp png, png_bytep to, std::size_t count) {
    Decoder& self = *static_cast<Decoder*>(png_get_io_ptr(png));
    if (count > self.left_.size()) png_error(png, "is cut short");
    std::memcpy(to, self.left_.data(), count);
    self.left_.remove_prefix(count);
  }
  static png_voidp on_allocate(png_structp png, png_alloc_size_t bytes) {
    void* const memory = std::malloc(bytes);
    if (!memory) static_cast<Decoder*>(png_get_mem_ptr(png))->out_of_memory_ = true;
    return memory;
  }
  static void on_free(png_structp, png_voidp memory) { std::free(memory); }

  std::string_view left_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  int passes_ = 1;
  bool out_of_memory_ = false;
  std::array<char, 200> message_{};
};

}  // namespace

struct PngReader::State {
  std::filesystem::path path;
  std::string file;
  std::unique_ptr<Decoder> decoder;
  std::size_t row_bytes = 0, y = 0;
  std::vector<std::uint8_t> pixels;  // one row; all of an interlaced picture

  [[noreturn]] void fail(std::string_view what) const { throw Error(ErrorKind::data, fmt::format("{}: {}", path.string(), what)); }
  void check(std::string_view failure) const {
    if (!failure.empty()) fail(failure);
  }

  void check_size() const {
    const std::uint64_t w = decoder->width, h = decoder->height, bytes = file.size();
    if (w > most_picture_side || h > most_picture_side || w * h > most_picture_pixels)
      fail(fmt::format("{} x {} pixels are too many: at most {}, and {} a side", w, h, most_picture_pixels, most_picture_side));
    if (const std::uint64_t least = w * h * decoder->stored_bits / 8; least > bytes * deflate_expansion)
      fail(fmt::format("{} x {} pixels, {} bytes, are more than a PNG file of {} bytes can hold", w, h, least, bytes));
    if (decoder->interlaced && h * row_bytes > std::max(interlaced_bytes, interlaced_expansion * bytes))
      fail(fmt::format("{} x {} pixels are too many for an interlaced PNG of {} bytes, which is held whole; save it without interlacing", w,
                       h, bytes));
  }

  void begin() {
    decoder = std::make_unique<Decoder>(file);
    check(decoder->read_header());
    row_bytes = std::size_t{decoder->width} * static_cast<std::size_t>(decoder->channels + decoder->alpha);
    check_size();
    check(decoder->begin_rows());
  }
};

PngReader::PngReader(const std::filesystem::path& file) : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.path = file;
  s.file = read_file(file);
  if (png_sig_cmp(reinterpret_cast<png_const_bytep>(s.file.data()), 0, std::min<std::size_t>(s.file.size(), 8)) != 0 || s.file.size() < 8) {
    const std::string kind = file_kind(s.file);
    s.fail("is not a PNG picture" + (kind.empty() ? "" : " but " + kind) + (kind.ends_with("picture") ? "; save it as PNG" : ""));
  }
  s.begin();
}
PngReader::~PngReader() = default;

std::int64_t PngReader::height() const { return state_->decoder->height; }
std::int64_t PngReader::width() const { return state_->decoder->width; }
int PngReader::channels() const { return state_->decoder->channels; }
bool PngReader::alpha() const { return state_->decoder->alpha; }

std::span<const std::uint8_t> PngReader::next_row() {
  State& s = *state_;
  if (s.decoder->interlaced) {
    if (s.pixels.empty()) {
      s.pixels.resize(s.decoder->height * s.row_bytes);
      s.check(s.decoder->read_all(s.pixels.data(), s.row_bytes));
    }
    return std::span(s.pixels).subspan(s.y++ * s.row_bytes, s.row_bytes);
  }
  s.pixels.resize(s.row_bytes);
  s.check(s.decoder->read_row(s.pixels.data()));
  ++s.y;
  return s.pixels;
}

void PngReader::rewind() {
  if (!state_->decoder->interlaced && state_->y > 0) state_->begin();
  state_->y = 0;
}

}  // namespace norma::app
