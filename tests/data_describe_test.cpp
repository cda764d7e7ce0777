// Goal: `brood data` finds and describes data sets, for people, as JSON and in pictures. Method:
// the commands on made-up data sets and on a folder of four small files with known faults; drawings
// are compared dot by dot, the PNG is read back by libpng.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/bitmap.h"
#include "cli/contact_sheet.h"
#include "cli/data.h"
#include "engine/error.h"
#include "engine/json.h"
#include "engine/json_library.h"

namespace brood {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class DataDescribe : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::temp_directory_path() / ("brood_data_describe_" + std::to_string(::getpid()) + "_" +
                                     testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    // What is decoded from files goes into a cache there.
    ::setenv("XDG_CACHE_HOME", (folder_ / "cache").c_str(), 1);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  void write_idx(const std::string& name, const std::vector<int>& sizes,
                 const std::string& values) {
    std::ofstream out(folder_ / name, std::ios::binary);
    out << '\0' << '\0' << '\x08' << static_cast<char>(sizes.size());
    for (const int size : sizes)
      out << '\0' << '\0' << static_cast<char>(size >> 8) << static_cast<char>(size);
    out << values;
  }

  // Images of 1x2 pixels: two of them are equal within train, one is in test too with another
  // label.
  void write_set() {
    write_idx("train-images-idx3-ubyte", {5, 1, 2}, "aabbaaccdd");
    write_idx("train-labels-idx1-ubyte", {5}, std::string("\0\1\0\1\0", 5));
    write_idx("t10k-images-idx3-ubyte", {2, 1, 2}, "bbxy");
    write_idx("t10k-labels-idx1-ubyte", {2}, std::string("\0\1", 2));
  }

  std::string described(DataDescribeOptions options) {
    std::ostringstream out;
    EXPECT_EQ(data_describe_command(options, out), 0);
    return out.str();
  }

  fs::path folder_;
};

TEST_F(DataDescribe, TellsClassesPixelsAndDuplicates) {
  write_set();
  const std::string text = described({"idx", path(""), "", false});
  EXPECT_THAT(text, HasSubstr("7 of 1x2 pixels, 1 channel, 2 classes"));
  EXPECT_THAT(text, HasSubstr("1 of the 2 images of test is in train too (50 %)"));
  EXPECT_THAT(text, HasSubstr("1 image of train is there a second time"));
  EXPECT_THAT(text, HasSubstr("1 image has copies with another label"));
  EXPECT_THAT(text, HasSubstr("train 1 (1) = test 0 (0)"));
  EXPECT_THAT(text, HasSubstr("train has 5 images of one colour only"));
}

TEST_F(DataDescribe, SaysTheSameAsJson) {
  write_set();
  const Json json = parse_json(described({"idx", path(""), "", true}));
  EXPECT_EQ(json["height"], 1);
  EXPECT_EQ(json["files"].size(), 4U);
  EXPECT_EQ(json["parts"][0]["class_counts"], Json::parse("[3, 2]"));
  EXPECT_EQ(json["parts"][1]["images"], 2);
  EXPECT_EQ(json["duplicates"]["within"]["train"], 1);
  EXPECT_EQ(json["duplicates"]["across"][0]["images"], 1);
  EXPECT_EQ(json["duplicates"]["contradictions"], 1);
  EXPECT_EQ(json["drift"][0]["verdict"], "none");
  EXPECT_FALSE(json["findings"].empty());
}

TEST_F(DataDescribe, ShowsThePartsThatTheTrialsOfAConfigSee) {
  std::ofstream(path("sweep.json")) << R"({
    "version": 1, "experiment": {"name": "x", "seed": 3},
    "objective": {"metric": "val_accuracy", "goal": "maximize"},
    "search_space": {"rate": [0.1, 0.2]}, "search": {"algorithm": "grid"},
    "trainer": {"name": "cnn", "dataset": {"synthetic": {"classes": 3, "train": 90, "test": 30}},
      "validation": 30, "epochs": 1,
      "optimizer": {"name": "sgd", "learning_rate": {"$param": "rate"}}, "layers": []}})";
  const Json json = parse_json(described({path("sweep.json"), "", "", true}));
  ASSERT_EQ(json["parts"].size(), 3U);
  EXPECT_EQ(json["parts"][0]["images"], 60);
  EXPECT_EQ(json["parts"][1]["name"], "validation");
  EXPECT_EQ(json["parts"][1]["images"], 30);
  EXPECT_EQ(json["drift"].size(), 2U);
}

TEST_F(DataDescribe, RefusesWhatHasNoDataSet) {
  const auto why = [&](const std::string& what) {
    try {
      described({what, "", "", false});
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(why("fashion_mnits"), HasSubstr("did you mean \"fashion_mnist\""));
  EXPECT_THAT(why("{\"synthetic\": {\"classes\": 1}}"), HasSubstr("/synthetic/classes"));
  EXPECT_THAT(why(path("none.json")), HasSubstr("none.json"));
  std::ofstream(path("command.json")) << R"({
    "version": 1, "experiment": {"name": "x"}, "objective": {"metric": "loss", "goal": "minimize"},
    "search_space": {"x": [1, 2]}, "search": {"algorithm": "grid"},
    "trainer": {"name": "command", "argv": ["true"], "epochs": 1}})";
  EXPECT_THAT(why(path("command.json")), HasSubstr("only cnn has a data set"));
}

TEST_F(DataDescribe, ListsWhatIsThereAndHowToGetTheRest) {
  write_set();
  std::ostringstream people, machine;
  EXPECT_EQ(data_list_command({path(""), false}, people), 0);
  EXPECT_THAT(people.str(), HasSubstr("synthetic"));
  EXPECT_THAT(people.str(), HasSubstr("cifar10: CIFAR-10 was not found"));
  EXPECT_EQ(data_list_command({path(""), true}, machine), 0);
  int found = 0;
  for (const Json& entry : parse_json(machine.str())) {
    if (entry["name"] == "idx") {
      EXPECT_EQ(entry["train"], 5);
    }
    EXPECT_NE(entry["found"] == true, entry["train"].is_null());
    found += entry["found"] == true ? 1 : 0;
  }
  EXPECT_GE(found, 2);
}

TEST_F(DataDescribe, PutsPicturesOfEachClassOnAContactSheet) {
  const std::string sheet = path("sheet.png");
  const std::string text =
      described({R"({"synthetic": {"classes": 3, "size": 12, "channels": 3}})", "", sheet, false});
  EXPECT_THAT(text, HasSubstr("contact sheet: " + sheet));
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  ASSERT_NE(png_image_begin_read_from_file(&image, sheet.c_str()), 0) << image.message;
  EXPECT_EQ(image.format, static_cast<unsigned>(PNG_FORMAT_RGB));
  EXPECT_GT(image.width, 12U * 48);
  EXPECT_GT(image.height, 3U * 48);
  png_image_free(&image);
  EXPECT_FALSE(fs::exists(sheet + ".part"));
  EXPECT_THROW(described({"synthetic", "", path("none/sheet.png"), false}), UserError);
}

TEST(ContactSheet, EnlargesSmallPicturesAndReducesLargeOnes) {
  const std::vector<std::uint8_t> dots = {10, 20, 30, 40};
  const Bitmap small = contact_sheet({2, 2, 1}, {{"", "", {dots.data()}}});
  // A margin of 8, a gap of 8 after the empty text, then 24 dots for each pixel.
  EXPECT_EQ(small.at(16, 8).red, 10);
  EXPECT_EQ(small.at(16 + 23, 8).green, 10);
  EXPECT_EQ(small.at(16 + 24, 8).blue, 20);
  EXPECT_EQ(small.at(16 + 47, 8 + 47).red, 40);
  EXPECT_EQ(small.at(16 + 48, 8).red, 255);
  std::vector<std::uint8_t> large(256 * 256 * 3, 0);
  for (std::size_t i = 0; i < large.size(); i += 6) large[i] = 200;  // every other pixel's red
  const Bitmap reduced = contact_sheet({256, 256, 3}, {{"", "", {large.data()}}});
  EXPECT_EQ(reduced.at(16, 8).red, 100);
  EXPECT_EQ(reduced.at(16, 8).green, 0);
  EXPECT_EQ(reduced.at(16 + 127, 8 + 127).red, 100);
  EXPECT_EQ(reduced.at(16 + 128, 8).green, 255);
}

TEST(Bitmap, DrawsLetters) {
  Bitmap bitmap(12, 7, {255, 255, 255});
  draw_text(bitmap, 0, 0, 1, {0, 0, 0}, "iL");
  std::string drawn;
  for (int y = 0; y < 7; ++y) {
    for (int x = 0; x < 12; ++x) drawn += bitmap.at(x, y).red == 0 ? '#' : '.';
    drawn += '\n';
  }
  EXPECT_EQ(drawn,
            ".###..#.....\n"
            "..#...#.....\n"
            "..#...#.....\n"
            "..#...#.....\n"
            "..#...#.....\n"
            "..#...#.....\n"
            ".###..#####.\n");
  EXPECT_EQ(text_width("iL", 2), 22);
  draw_text(bitmap, 8, 4, 3, {0, 0, 0}, "outside");  // is cut
}

}  // namespace
}  // namespace brood
