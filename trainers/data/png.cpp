// PNG pictures by libpng.
#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdio>
#include <vector>

#include "engine/error.h"
#include "trainers/data/picture.h"

namespace brood::data {

namespace {

constexpr png_uint_32 kSideMax = 1U << 20U;
constexpr png_alloc_size_t kChunkMax = std::size_t{1} << 23;  // bytes of texts and profiles
constexpr png_uint_32 kChunksMax = 1000;                      // of those that are kept
constexpr unsigned kWhite = 255;                              // what transparency is laid on

// Each function that may be left by longjmp has no object to destroy; all state is in the class.
class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning);
    if (png_) info_ = png_create_info_struct(png_);
    if (!info_) png_destroy_read_struct(&png_, nullptr, nullptr);
    CHECK(info_, "libpng is the one that was compiled against, and there is memory");
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { png_destroy_read_struct(&png_, &info_, nullptr); }

  // False: why() says why.
  bool read_header() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_user_limits(png_, kSideMax, kSideMax);
    png_set_chunk_malloc_max(png_, kChunkMax);
    png_set_chunk_cache_max(png_, kChunksMax);
    png_set_read_fn(png_, this, on_read);
    png_read_info(png_, info_);
    return true;
  }

  bool start() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_expand(png_);  // palette to RGB, fewer bits to eight, a transparent colour to alpha
    png_set_scale_16(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }

  bool read_rows(std::uint8_t** rows) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_read_image(png_, rows);
    png_read_end(png_, nullptr);
    return true;
  }

  png_uint_32 height() const { return png_get_image_height(png_, info_); }
  png_uint_32 width() const { return png_get_image_width(png_, info_); }
  int channels() const { return png_get_channels(png_, info_); }
  std::size_t row_bytes() const { return png_get_rowbytes(png_, info_); }
  std::string why() const { return why_.data(); }

 private:
  [[noreturn]] static void on_error(png_structp png, png_const_charp why) {
    auto& reader = *static_cast<Reader*>(png_get_error_ptr(png));
    std::snprintf(reader.why_.data(), reader.why_.size(), "%s", why);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}
  static void on_read(png_structp png, png_bytep to, std::size_t size) {
    auto& reader = *static_cast<Reader*>(png_get_io_ptr(png));
    if (size > reader.bytes_.size() - reader.position_) png_error(png, "it is cut short");
    std::copy_n(reader.bytes_.data() + reader.position_, size, to);
    reader.position_ += size;
  }

  const std::span<const std::uint8_t> bytes_;
  std::size_t position_ = 0;
  std::array<char, 200> why_{};
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

void read_header(Reader& reader, const std::string& name) {
  if (!reader.read_header()) damaged_picture(name, reader.why());
  check_picture_size(reader.height(), reader.width(), name);
}

// Drops the last channel, which says how much of the others is seen.
std::vector<std::uint8_t> laid_on_white(const std::vector<std::uint8_t>& pixels,
                                        std::size_t channels) {
  std::vector<std::uint8_t> out;
  out.reserve(pixels.size() / channels * (channels - 1));
  for (std::size_t i = 0; i + channels <= pixels.size(); i += channels) {
    const unsigned seen = pixels[i + channels - 1];
    for (std::size_t c = 0; c + 1 < channels; ++c)
      out.push_back(
          static_cast<std::uint8_t>((pixels[i + c] * seen + kWhite * (255 - seen) + 127) / 255));
  }
  return out;
}

}  // namespace

PictureSize png_size(std::span<const std::uint8_t> bytes, const std::string& name) {
  Reader reader(bytes);
  read_header(reader, name);
  return {static_cast<int>(reader.height()), static_cast<int>(reader.width())};
}

Picture decode_png(std::span<const std::uint8_t> bytes, const std::string& name) {
  Reader reader(bytes);
  read_header(reader, name);
  if (!reader.start()) damaged_picture(name, reader.why());
  Picture out;
  out.height = static_cast<int>(reader.height());
  out.width = static_cast<int>(reader.width());
  const int channels = reader.channels();
  CHECK(reader.row_bytes() == std::size_t{reader.width()} * static_cast<std::size_t>(channels),
        "eight bits a channel");
  out.pixels.resize(reader.row_bytes() * reader.height());
  std::vector<std::uint8_t*> rows;
  for (std::size_t y = 0; y < reader.height(); ++y)
    rows.push_back(out.pixels.data() + y * reader.row_bytes());
  if (!reader.read_rows(rows.data())) damaged_picture(name, reader.why());
  const bool transparent = channels == 2 || channels == 4;
  if (transparent) out.pixels = laid_on_white(out.pixels, static_cast<std::size_t>(channels));
  out.channels = channels - (transparent ? 1 : 0);
  return out;
}

}  // namespace brood::data
