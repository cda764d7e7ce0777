#include "tests/data_files.h"

#include <gmock/gmock.h>
#include <png.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
// clang-format off: it needs the standard headers before it
#include <jpeglib.h>
// clang-format on

#include "engine/error.h"

namespace brood::data {

namespace fs = std::filesystem;

void DataFolder::SetUp() {
  folder_ = fs::temp_directory_path() /
            ("brood_data_" + std::to_string(::getpid()) + "_" +
             std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
  fs::remove_all(folder_);
  fs::create_directories(folder_);
}

void DataFolder::TearDown() { fs::remove_all(folder_); }

std::string DataFolder::write(const std::string& name, const Bytes& bytes) const {
  fs::create_directories((folder_ / name).parent_path());
  std::ofstream(path(name), std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  return path(name);
}

Bytes DataFolder::contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void expect_refused(const std::function<void()>& call, const std::vector<std::string>& parts) {
  try {
    call();
    FAIL() << "expected " << parts.front();
  } catch (const UserError& error) {
    for (const std::string& part : parts) EXPECT_THAT(error.what(), testing::HasSubstr(part));
  }
}

namespace {

void append(png_structp png, png_bytep from, std::size_t size) {
  auto& out = *static_cast<Bytes*>(png_get_io_ptr(png));
  out.insert(out.end(), from, from + size);
}

int colour_type(Png colours) {
  switch (colours) {
    case Png::grey:
      return PNG_COLOR_TYPE_GRAY;
    case Png::grey_alpha:
      return PNG_COLOR_TYPE_GRAY_ALPHA;
    case Png::rgb:
      return PNG_COLOR_TYPE_RGB;
    case Png::rgb_alpha:
      return PNG_COLOR_TYPE_RGB_ALPHA;
    case Png::palette:
      break;
  }
  return PNG_COLOR_TYPE_PALETTE;
}

void set_colours(png_structp png, png_infop info, const PngKind& kind) {
  if (kind.colours == Png::palette) {
    std::array<png_color, 16> palette{};
    std::array<png_byte, 16> alpha{};
    alpha.fill(255);
    for (std::size_t i = 0; i < palette.size(); ++i)
      palette[i] = {static_cast<png_byte>(i), static_cast<png_byte>(2 * i),
                    static_cast<png_byte>(3 * i)};
    png_set_PLTE(png, info, palette.data(), 1 << std::min(kind.bits, 4));
    if (kind.transparent < 0) return;
    alpha[static_cast<std::size_t>(kind.transparent)] = 0;
    png_set_tRNS(png, info, alpha.data(), 1 << std::min(kind.bits, 4), nullptr);
  } else if (kind.transparent >= 0) {
    png_color_16 colour{};
    colour.gray = static_cast<png_uint_16>(kind.transparent);
    png_set_tRNS(png, info, nullptr, 0, &colour);
  }
}

}  // namespace

Bytes png_of(int height, int width, const PngKind& kind, const std::vector<int>& values) {
  Bytes out;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(png, &out, append, nullptr);
  png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height),
               kind.bits, colour_type(kind.colours),
               kind.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  set_colours(png, info, kind);
  png_write_info(png, info);
  const std::size_t in_row = values.size() / static_cast<std::size_t>(height);
  std::vector<Bytes> rows(static_cast<std::size_t>(height));
  for (std::size_t y = 0; y < rows.size(); ++y) {
    rows[y].resize((in_row * static_cast<std::size_t>(kind.bits) + 7) / 8);
    for (std::size_t i = 0; i < in_row; ++i) {
      const auto value = static_cast<unsigned>(values[y * in_row + i]);
      if (kind.bits == 16) rows[y][2 * i] = static_cast<std::uint8_t>(value >> 8U);
      if (kind.bits == 16) rows[y][2 * i + 1] = static_cast<std::uint8_t>(value);
      if (kind.bits == 16) continue;
      const std::size_t bit = i * static_cast<std::size_t>(kind.bits);
      rows[y][bit / 8] = static_cast<std::uint8_t>(
          rows[y][bit / 8] | value << (8U - static_cast<unsigned>(kind.bits) - bit % 8));
    }
  }
  std::vector<png_bytep> pointers;
  for (Bytes& row : rows) pointers.push_back(row.data());
  png_write_image(png, pointers.data());
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return out;
}

Bytes jpeg_of(int height, int width, Jpeg kind, const Bytes& values, int orientation,
              bool progressive) {
  const std::array<J_COLOR_SPACE, 5> in = {JCS_GRAYSCALE, JCS_RGB, JCS_RGB, JCS_CMYK, JCS_CMYK};
  const std::array<J_COLOR_SPACE, 5> stored = {JCS_GRAYSCALE, JCS_YCbCr, JCS_RGB, JCS_CMYK,
                                               JCS_YCCK};
  const auto index = static_cast<std::size_t>(kind);
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_CreateCompress(&info, JPEG_LIB_VERSION, sizeof info);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &memory, &size);
  info.image_height = static_cast<JDIMENSION>(height);
  info.image_width = static_cast<JDIMENSION>(width);
  info.in_color_space = in[index];
  info.input_components = kind == Jpeg::grey ? 1 : in[index] == JCS_CMYK ? 4 : 3;
  jpeg_set_defaults(&info);
  jpeg_set_colorspace(&info, stored[index]);
  jpeg_set_quality(&info, 100, TRUE);
  for (int c = 0; c < info.num_components; ++c)
    info.comp_info[c].h_samp_factor = info.comp_info[c].v_samp_factor = 1;
  if (progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  if (orientation > 0) {
    const Bytes exif = {
        'E', 'x', 'i', 'f', 0,    0, 'M', 'M', 0, 42, 0, 0, 0,
        8,   0,   1,   1,   0x12, 0, 3,   0,   0, 0,  1, 0, static_cast<std::uint8_t>(orientation),
        0,   0,   0,   0,   0,    0};
    jpeg_write_marker(&info, JPEG_APP0 + 1, exif.data(), static_cast<unsigned>(exif.size()));
  }
  const std::size_t in_row = values.size() / static_cast<std::size_t>(height);
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = const_cast<std::uint8_t*>(values.data()) + info.next_scanline * in_row;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  const Bytes out(memory, memory + size);
  std::free(memory);
  return out;
}

}  // namespace brood::data
