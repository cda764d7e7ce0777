// Goal: every kind of JPEG and PNG becomes the pixels it shows, a broken one is refused by name,
// and the resize is Pillow's. Method: tiny files made here with the libraries, looked at pixel by
// pixel; figures of Pillow for the resize; every truncation of a file.
#include <gmock/gmock.h>
#include <zlib.h>

#include <cmath>

#include "tests/data_files.h"
#include "trainers/data/exif.h"
#include "trainers/data/picture.h"
#include "trainers/data/resize.h"

namespace brood::data {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::ElementsAreArray;

Picture decoded(const Bytes& bytes) { return decode_picture(bytes, "name"); }

std::vector<int> counting(int count, int step = 1) {
  std::vector<int> out;
  for (int i = 0; i < count; ++i) out.push_back(i * step % 256);
  return out;
}

// Is every byte of the pixels within `distance` of the others, repeated?
void expect_near(const Picture& picture, const std::vector<int>& colour, int distance) {
  ASSERT_EQ(picture.channels, static_cast<int>(colour.size()));
  for (std::size_t i = 0; i < picture.pixels.size(); ++i)
    ASSERT_NEAR(picture.pixels[i], colour[i % colour.size()], distance) << i;
}

TEST(Pictures, AnRgbPngIsReadExactly) {
  const Picture picture = decoded(png_of(3, 5, {Png::rgb}, counting(45, 5)));
  EXPECT_EQ(picture.height, 3);
  EXPECT_EQ(picture.width, 5);
  EXPECT_EQ(picture.channels, 3);
  EXPECT_THAT(picture.pixels, ElementsAreArray(counting(45, 5)));
  EXPECT_EQ(picture_size(png_of(3, 5, {Png::rgb}, counting(45)), "name"), (PictureSize{3, 5}));
}

TEST(Pictures, AnInterlacedPngHasTheSamePixels) {
  EXPECT_THAT(decoded(png_of(9, 7, {Png::rgb, 8, true}, counting(189))).pixels,
              ElementsAreArray(counting(189)));
}

TEST(Pictures, APaletteBecomesColours) {
  const Picture picture = decoded(png_of(1, 3, {Png::palette, 4}, {1, 0, 9}));
  EXPECT_THAT(picture.pixels, ElementsAre(1, 2, 3, 0, 0, 0, 9, 18, 27));
  const Picture holes = decoded(png_of(1, 3, {Png::palette, 4, false, 9}, {1, 0, 9}));
  EXPECT_THAT(holes.pixels, ElementsAre(1, 2, 3, 0, 0, 0, 255, 255, 255));
}

TEST(Pictures, FewBitsAndManyBitsBecomeEight) {
  EXPECT_THAT(decoded(png_of(1, 4, {Png::grey, 1}, {0, 1, 1, 0})).pixels,
              ElementsAre(0, 255, 255, 0));
  EXPECT_THAT(decoded(png_of(1, 4, {Png::grey, 2}, {0, 1, 2, 3})).pixels,
              ElementsAre(0, 85, 170, 255));
  const Picture deep = decoded(png_of(1, 4, {Png::grey, 16}, {0, 257 * 100, 65535, 257 * 7 + 129}));
  EXPECT_EQ(deep.channels, 1);
  EXPECT_THAT(deep.pixels, ElementsAre(0, 100, 255, 8));
}

TEST(Pictures, TransparencyIsLaidOnWhite) {
  EXPECT_THAT(decoded(png_of(1, 2, {Png::rgb_alpha}, {10, 20, 30, 0, 10, 20, 30, 255})).pixels,
              ElementsAre(255, 255, 255, 10, 20, 30));
  EXPECT_THAT(decoded(png_of(1, 2, {Png::grey_alpha}, {0, 51, 100, 255})).pixels,
              ElementsAre(204, 100));
  EXPECT_THAT(decoded(png_of(1, 3, {Png::grey, 8, false, 7}, {6, 7, 8})).pixels,
              ElementsAre(6, 255, 8));
}

TEST(Pictures, JpegsOfEveryColourSpaceBecomeWhatTheyShow) {
  const auto flat = [](Jpeg kind, const Bytes& colour, bool progressive = false) {
    Bytes values;
    for (int i = 0; i < 16 * 24; ++i) values.insert(values.end(), colour.begin(), colour.end());
    return decoded(jpeg_of(16, 24, kind, values, 0, progressive));
  };
  expect_near(flat(Jpeg::grey, {77}), {77}, 1);
  expect_near(flat(Jpeg::ycc, {200, 30, 90}), {200, 30, 90}, 2);
  expect_near(flat(Jpeg::ycc, {200, 30, 90}, true), {200, 30, 90}, 2);
  expect_near(flat(Jpeg::rgb, {200, 30, 90}), {200, 30, 90}, 1);
  // Inverted inks, as Adobe writes them: 255 is none. Half of black halves every colour.
  expect_near(flat(Jpeg::cmyk, {200, 30, 90, 255}), {200, 30, 90}, 1);
  expect_near(flat(Jpeg::cmyk, {200, 30, 90, 128}), {100, 15, 45}, 1);
  expect_near(flat(Jpeg::ycck, {200, 30, 90, 255}), {200, 30, 90}, 2);
}

TEST(Pictures, TheOrientationOfAPhotoIsApplied) {
  // The stored picture: 8 rows of 16, the left half black, the right one white.
  Bytes values;
  for (int i = 0; i < 8 * 16; ++i) values.push_back(i % 16 < 8 ? 0 : 255);
  const auto at = [](const Picture& p, int y, int x) {
    return p.pixels[static_cast<std::size_t>(y * p.width + x)] > 127;
  };
  const Picture mirrored = decoded(jpeg_of(8, 16, Jpeg::grey, values, 2));
  EXPECT_TRUE(at(mirrored, 0, 0));
  EXPECT_FALSE(at(mirrored, 0, 15));
  const Bytes file = jpeg_of(8, 16, Jpeg::grey, values, 6);
  EXPECT_EQ(picture_size(file, "name"), (PictureSize{16, 8}));
  const Picture turned = decoded(file);
  EXPECT_EQ(turned.height, 16);
  EXPECT_EQ(turned.width, 8);
  EXPECT_FALSE(at(turned, 0, 4));
  EXPECT_TRUE(at(turned, 15, 4));
}

TEST(Pictures, EveryOrientationPutsTheStoredCornerWhereExifSays) {
  // Rows 0 and 1 of three columns: 0 1 2 / 3 4 5. The standard's figure of the eight cases.
  const std::vector<std::vector<std::uint8_t>> expected = {
      {0, 1, 2, 3, 4, 5}, {2, 1, 0, 5, 4, 3}, {5, 4, 3, 2, 1, 0}, {3, 4, 5, 0, 1, 2},
      {0, 3, 1, 4, 2, 5}, {3, 0, 4, 1, 5, 2}, {5, 2, 4, 1, 3, 0}, {2, 5, 1, 4, 0, 3}};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const Picture out = upright({2, 3, 1, {0, 1, 2, 3, 4, 5}}, orientation);
    EXPECT_EQ(out.height, orientation < 5 ? 2 : 3);
    EXPECT_THAT(out.pixels, ElementsAreArray(expected[static_cast<std::size_t>(orientation - 1)]))
        << orientation;
  }
}

TEST(Pictures, ADamagedExifBlockSaysNothing) {
  const Bytes whole = {'E', 'x', 'i',  'f', 0, 0, 'I', 'I', 42, 0, 8, 0, 0, 0,
                       1,   0,   0x12, 1,   3, 0, 1,   0,   0,  0, 6, 0, 0, 0};
  EXPECT_EQ(exif_orientation(whole), 6);
  for (std::size_t size = 0; size < 24; ++size)
    EXPECT_EQ(exif_orientation(std::span(whole).first(size)), 1) << size;
  Bytes wild = whole;
  for (std::size_t i = 10; i < 16; ++i) wild[i] = 255;
  EXPECT_EQ(exif_orientation(wild), 1);
}

TEST(Pictures, EveryTruncationIsRefusedByName) {
  const Bytes png = png_of(4, 4, {Png::rgb}, counting(48, 7));
  Bytes values;
  for (int i = 0; i < 16 * 16; ++i) values.push_back(static_cast<std::uint8_t>(i * 37));
  const Bytes jpeg = jpeg_of(16, 16, Jpeg::grey, values);
  const Bytes progressive = jpeg_of(16, 16, Jpeg::grey, values, 0, true);
  for (const Bytes& file : {png, jpeg, progressive})
    for (std::size_t size = 0; size < file.size(); ++size)
      expect_refused([&] { decode_picture(std::span(file).first(size), "pets/cat/7.jpg"); },
                     {"pets/cat/7.jpg: is "});
}

TEST(Pictures, ADamagedPngIsRefusedWithTheReason) {
  Bytes file = png_of(4, 4, {Png::rgb}, counting(48, 7));
  file[file.size() - 20] ^= 1;  // in the compressed pixels or their checksum
  expect_refused([&] { decoded(file); }, {"name: is damaged (", "replace it, or remove it"});
}

TEST(Pictures, OtherFilesAreRefused) {
  expect_refused(
      [&] {
        decoded({'G', 'I', 'F', '8', '9', 'a'});
      },
      {"neither a JPEG nor a PNG", "convert it"});
  expect_refused([&] { decoded({}); }, {"it is empty"});
}

TEST(Pictures, AHugePictureInASmallFileIsRefused) {
  Bytes file = png_of(1, 1, {Png::grey}, {0});
  file[17] = file[21] = 0x00;
  file[18] = file[22] = 0xea;  // 60,000 a side
  file[19] = file[23] = 0x60;
  const auto sum = static_cast<std::uint32_t>(::crc32(0, file.data() + 12, 17));
  for (std::size_t i = 0; i < 4; ++i) file[29 + i] = static_cast<std::uint8_t>(sum >> (24 - 8 * i));
  expect_refused([&] { decoded(file); }, {"60000x60000", "at most"});
}

TEST(Resize, IsPillowsBilinear) {
  Picture picture{5, 7, 1, {}};
  for (int i = 0; i < 35; ++i) picture.pixels.push_back(static_cast<std::uint8_t>(i * 53 % 256));
  const Box all{0, 0, 5, 7};
  EXPECT_THAT(resized(picture, all, 2, 3).pixels,
              ElementsAreArray(Bytes{111, 122, 117, 114, 139, 126}));
  EXPECT_THAT(
      resized(picture, all, 6, 9).pixels,
      ElementsAreArray(Bytes{0,   35,  77,  118, 159, 200, 99,  27,  62,  86,  121, 163, 162, 53,
                             94,  100, 113, 148, 182, 118, 110, 127, 85,  126, 167, 159, 95,  171,
                             107, 99,  140, 181, 139, 156, 148, 84,  118, 110, 131, 172, 213, 105,
                             103, 123, 116, 204, 69,  25,  66,  107, 148, 189, 145, 10}));
  EXPECT_THAT(resized(picture, {1, 2, 3, 3}, 2, 2).pixels,
              ElementsAreArray(Bytes{125, 110, 153, 141}));
}

TEST(Resize, KeepsWhatHasTheSizeAndWhatIsFlat) {
  Picture picture{5, 7, 3, {}};
  for (int i = 0; i < 105; ++i) picture.pixels.push_back(static_cast<std::uint8_t>(i * 53 % 256));
  EXPECT_EQ(resized(picture, {0, 0, 5, 7}, 5, 7).pixels, picture.pixels);
  for (const int side : {1, 2, 8, 31, 4000}) {
    const Picture flat{side, 9, 1, Bytes(static_cast<std::size_t>(side) * 9, 201)};
    EXPECT_THAT(resized(flat, {0, 0, side, 9}, 8, 8).pixels, Each(201)) << side;
  }
}

TEST(Resize, ACropIsTheMiddleInTheShapesProportions) {
  const Picture wide{10, 31, 1, Bytes(310)};
  const Box crop = box_of(wide, 8, 8, Fit::crop);
  EXPECT_EQ(crop.width, 10);
  EXPECT_EQ(crop.height, 10);
  EXPECT_EQ(crop.left, 10);
  const Box tall = box_of({31, 10, 1, Bytes(310)}, 8, 16, Fit::crop);
  EXPECT_EQ(tall.height, 5);
  EXPECT_EQ(tall.width, 10);
  EXPECT_EQ(tall.top, 13);
  EXPECT_EQ(box_of(wide, 8, 8, Fit::squash).width, 31);
}

TEST(Resize, GreyAndColourBecomeEachOther) {
  EXPECT_THAT(with_channels({1, 2, 1, {5, 9}}, 3).pixels, ElementsAre(5, 5, 5, 9, 9, 9));
  EXPECT_THAT(with_channels({1, 3, 3, {255, 0, 0, 0, 255, 0, 0, 0, 255}}, 1).pixels,
              ElementsAre(76, 150, 29));  // Pillow's convert("L")
}

}  // namespace
}  // namespace brood::data
