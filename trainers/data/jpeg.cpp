// JPEG pictures by libjpeg-turbo. The accurate integer transform and smooth upsampling: their bits
// do not depend on the instruction set.
#include <array>
#include <csetjmp>
#include <cstdio>
#include <vector>
// clang-format off: they need the standard headers before them, and this order
#include <jerror.h>
#include <jpeglib.h>
// clang-format on

#include "trainers/data/exif.h"
#include "trainers/data/picture.h"

namespace brood::data {

namespace {

// A progressive file may repeat its scans without end, each as costly as a picture.
constexpr int kScansMax = 500;

struct Errors {
  jpeg_error_mgr base{};  // first: the library knows the address of this alone
  std::jmp_buf jump{};
  std::array<char, JMSG_LENGTH_MAX> why{};
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto* const errors = reinterpret_cast<Errors*>(info->err);
  errors->base.format_message(info, errors->why.data());
  std::longjmp(errors->jump, 1);
}

// The library goes on after a warning, with grey where pixels are missing. Some are harmless.
void on_message(j_common_ptr info, int level) {
  if (level >= 0) return;
  const int code = info->err->msg_code;
  if (code != JWRN_EXTRANEOUS_DATA && code != JWRN_ADOBE_XFORM && code != JWRN_JFIF_MAJOR &&
      code != JWRN_NOT_SEQUENTIAL)
    on_error(info);
}

void on_progress(j_common_ptr info) {
  const auto* const reader = reinterpret_cast<j_decompress_ptr>(info);
  if (reader->input_scan_number <= kScansMax) return;
  auto* const errors = reinterpret_cast<Errors*>(info->err);
  std::snprintf(errors->why.data(), errors->why.size(), "more than %d scans", kScansMax);
  std::longjmp(errors->jump, 1);
}

// Each function that may be left by longjmp has no object to destroy; all state is in the class.
class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {
    info_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = on_error;
    errors_.base.emit_message = on_message;
    progress_.progress_monitor = on_progress;
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { jpeg_destroy_decompress(&info_); }

  // False: why() says why.
  bool read_header() {
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_CreateDecompress(&info_, JPEG_LIB_VERSION, sizeof info_);
    info_.progress = &progress_;
    jpeg_mem_src(&info_, bytes_.data(), bytes_.size());
    jpeg_save_markers(&info_, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&info_, TRUE);
    return true;
  }

  bool start() {
    if (setjmp(errors_.jump) != 0) return false;
    info_.dct_method = JDCT_ISLOW;
    info_.do_fancy_upsampling = TRUE;
    if (info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK)
      info_.out_color_space = JCS_CMYK;
    else if (info_.jpeg_color_space != JCS_GRAYSCALE)
      info_.out_color_space = JCS_RGB;
    jpeg_start_decompress(&info_);
    return true;
  }

  // to: room for all rows of output_width * output_components bytes.
  bool read_rows(std::uint8_t* to) {
    if (setjmp(errors_.jump) != 0) return false;
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = to + std::size_t{info_.output_scanline} * info_.output_width *
                              static_cast<std::size_t>(info_.output_components);
      jpeg_read_scanlines(&info_, &row, 1);
    }
    jpeg_finish_decompress(&info_);
    return true;
  }

  const jpeg_decompress_struct& info() const { return info_; }
  std::string why() const { return errors_.why.data(); }

  int orientation() const {
    for (const jpeg_marker_struct* marker = info_.marker_list; marker; marker = marker->next) {
      const int found = exif_orientation({marker->data, marker->data_length});
      if (found != 1) return found;
    }
    return 1;
  }

 private:
  const std::span<const std::uint8_t> bytes_;
  Errors errors_;
  jpeg_progress_mgr progress_{};
  jpeg_decompress_struct info_{};
};

// a * b / 255, rounded.
std::uint8_t part_of(std::uint8_t a, std::uint8_t b) {
  const unsigned product = unsigned{a} * b + 128;
  return static_cast<std::uint8_t>((product + (product >> 8U)) >> 8U);
}

// Adobe's inverted values: 255 is no ink.
std::vector<std::uint8_t> rgb_of_cmyk(const std::vector<std::uint8_t>& inks) {
  std::vector<std::uint8_t> out;
  out.reserve(inks.size() / 4 * 3);
  for (std::size_t i = 0; i + 3 < inks.size(); i += 4)
    for (std::size_t c = 0; c < 3; ++c) out.push_back(part_of(inks[i + c], inks[i + 3]));
  return out;
}

void read_header(Reader& reader, const std::string& name) {
  if (!reader.read_header()) damaged_picture(name, reader.why());
  check_picture_size(reader.info().image_height, reader.info().image_width, name);
}

}  // namespace

PictureSize jpeg_size(std::span<const std::uint8_t> bytes, const std::string& name) {
  Reader reader(bytes);
  read_header(reader, name);
  PictureSize out{static_cast<int>(reader.info().image_height),
                  static_cast<int>(reader.info().image_width)};
  if (swaps_sides(reader.orientation())) std::swap(out.height, out.width);
  return out;
}

Picture decode_jpeg(std::span<const std::uint8_t> bytes, const std::string& name) {
  Reader reader(bytes);
  read_header(reader, name);
  const int orientation = reader.orientation();
  if (!reader.start()) damaged_picture(name, reader.why());
  Picture out;
  out.height = static_cast<int>(reader.info().output_height);
  out.width = static_cast<int>(reader.info().output_width);
  const int components = reader.info().output_components;
  out.pixels.resize(std::size_t{reader.info().output_height} * reader.info().output_width *
                    static_cast<std::size_t>(components));
  if (!reader.read_rows(out.pixels.data())) damaged_picture(name, reader.why());
  out.channels = components == 1 ? 1 : 3;
  if (components == 4) out.pixels = rgb_of_cmyk(out.pixels);
  return upright(std::move(out), orientation);
}

}  // namespace brood::data
