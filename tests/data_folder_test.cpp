// Goal: a folder of pictures becomes the data set that its folders show, and what is wrong with it
// is said by name. Method: small trees of pictures in plain colours, made here.
#include <gmock/gmock.h>

#include <fstream>

#include "tests/data_files.h"
#include "trainers/cnn/cnn.h"
#include "trainers/data/dataset.h"
#include "trainers/data/folder_files.h"
#include "trainers/data/resize.h"

namespace brood::data {
namespace {

namespace fs = std::filesystem;
using testing::Each;
using testing::ElementsAre;

class ImageFolderTest : public DataFolder {
 protected:
  void SetUp() override {
    DataFolder::SetUp();
    spec_.format = "image_folder";
  }

  // A picture of one grey.
  void picture(const std::string& name, int grey, int height = 4, int width = 4) {
    write("pets/" + name, png_of(height, width, {Png::grey},
                                 std::vector<int>(static_cast<std::size_t>(height * width), grey)));
  }

  void split_pets() {
    for (const std::string name : {"train/cat/b.png", "train/cat/a.png", "train/dog/1.png"})
      picture(name, name[10] == 'b' ? 20 : name[6] == 'c' ? 10 : 200);
    picture("test/dog/2.png", 201);
  }

  std::shared_ptr<const Dataset> load() { return load_dataset(spec_, places()); }
  Places places() const { return {path("pets"), "", path("cache")}; }
  FolderFiles list() const { return list_folder(spec_.image_folder, path("pets")); }

  DatasetSpec spec_;
};

TEST_F(ImageFolderTest, FoldersOfPartsAndClassesBecomeLabels) {
  split_pets();
  const auto data = load();
  EXPECT_THAT(data->class_names, ElementsAre("cat", "dog"));
  EXPECT_THAT(data->train.labels, ElementsAre(0, 0, 1));
  EXPECT_THAT(data->test.labels, ElementsAre(1));
  EXPECT_EQ(data->channels, 3);
  EXPECT_THAT(data->train.pixels.first(48), Each(10)) << "a.png comes first";
  EXPECT_THAT(data->train.pixels.subspan(48, 48), Each(20));
  EXPECT_THAT(data->test.pixels, Each(201));
}

TEST_F(ImageFolderTest, GreyIsOneChannel) {
  split_pets();
  spec_.image_folder.channels = 1;
  const auto data = load();
  EXPECT_EQ(data->channels, 1);
  EXPECT_EQ(data->train.pixels.size(), 48U);
}

TEST_F(ImageFolderTest, WithoutATestFolderAShareOfEachClassIsSetApart) {
  for (int i = 0; i < 20; ++i) {
    picture("cat/" + std::to_string(i) + ".png", i);
    if (i < 10) picture("dog/below/" + std::to_string(i) + ".png", 100 + i);
  }
  picture("owl/only.png", 7);
  const auto labels = [](const std::vector<FolderFile>& files) {
    std::vector<int> count(3);
    for (const FolderFile& file : files) ++count[file.label];
    return count;
  };
  const FolderFiles files = list();
  EXPECT_THAT(labels(files.test), ElementsAre(4, 2, 0)) << "a fifth, and one stays to train with";
  EXPECT_THAT(labels(files.train), ElementsAre(16, 8, 1));
  const auto paths = [](const FolderFiles& found) {
    std::vector<std::string> out;
    for (const FolderFile& file : found.test) out.push_back(file.path);
    return out;
  };
  EXPECT_EQ(paths(list()), paths(files));
  spec_.image_folder.seed = 1;
  EXPECT_NE(paths(list()), paths(files));
  spec_.image_folder.test_share = 0.5;
  EXPECT_THAT(labels(list().test), ElementsAre(10, 5, 0));
  spec_.image_folder.test_share = 0.0;
  EXPECT_THAT(list().test, ElementsAre());
}

TEST_F(ImageFolderTest, PicturesOfSeveralSizesNeedASize) {
  split_pets();
  picture("train/dog/large.png", 200, 90, 200);
  picture("train/dog/small.png", 200, 1, 1);
  expect_refused([&] { load(); }, {"large.png", "200x90", "4x4", "set \"size\""});
  spec_.image_folder.height = 6;
  spec_.image_folder.width = 5;
  const auto data = load();
  EXPECT_EQ(data->height, 6);
  EXPECT_EQ(data->width, 5);
  EXPECT_THAT(data->train.pixels.subspan(180), Each(200));
  EXPECT_EQ(dataset_contents(spec_, places()).train, 5);
}

TEST_F(ImageFolderTest, ALargeTreeIsReadInItsOrder) {
  for (int i = 0; i < 20; ++i)
    picture((i < 10 ? "cat/" : "dog/") + std::to_string(100 + i) + ".png", i, 1, 1);
  spec_.image_folder.test_share = 0.0;
  spec_.image_folder.channels = 1;
  // Blocks of 16 pictures.
  spec_.image_folder.height = spec_.image_folder.width = 1500;
  const auto data = load();
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(data->pixels(data->train, i)[12345], i);
    ASSERT_EQ(data->train.labels[static_cast<std::size_t>(i)], i < 10 ? 0 : 1);
  }
}

TEST_F(ImageFolderTest, AllBrokenPicturesAreNamedTogether) {
  split_pets();
  write("pets/train/cat/broken.png", {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n', 0, 0});
  write("pets/test/dog/none.jpg", {'n', 'o'});
  spec_.image_folder.height = spec_.image_folder.width = 4;
  expect_refused([&] { load(); }, {path("pets/train/cat/broken.png") + ": is damaged",
                                   path("pets/test/dog/none.jpg") + ": is neither"});
  EXPECT_TRUE(fs::is_empty(path("cache/data"))) << "nothing half is left";
  // Also where their sizes are asked for first, of which only some tell that they are broken.
  spec_.image_folder.height = spec_.image_folder.width = 0;
  Bytes cut = png_of(4, 4, {Png::grey}, std::vector<int>(16, 1));
  cut.resize(50);
  write("pets/train/dog/cut.png", cut);
  expect_refused([&] { load(); }, {"broken.png: is damaged", "none.jpg: is neither",
                                   path("pets/train/dog/cut.png") + ": is damaged"});
}

TEST_F(ImageFolderTest, APictureBesideTheClassesIsNotDropped) {
  split_pets();
  picture("train/lost.png", 1);
  expect_refused([&] { load(); }, {path("pets/train/lost.png"), "beside the folders", "move it"});
  fs::remove(path("pets/train/lost.png"));
  picture("test/lost.png", 1);
  picture("test/too.png", 1);
  expect_refused([&] { load(); }, {path("pets/test/lost.png"), "as 1 more"});
  fs::remove(path("pets/test/lost.png"));
  fs::remove(path("pets/test/too.png"));
  picture("cover.png", 1);  // where the parts are, no class is expected
  EXPECT_EQ(load()->train.count, 3);
}

TEST_F(ImageFolderTest, WhatIsNoPictureIsPassedOverOrRefused) {
  split_pets();
  write("pets/train/cat/notes.txt", {'x'});
  write("pets/train/cat/.hidden.png", {'x'});
  fs::create_directories(path("pets/train/.cache"));
  EXPECT_EQ(load()->train.count, 3);
  write("pets/train/cat/moving.GIF", {'x'});
  expect_refused([&] { load(); }, {"moving.GIF", "not read", "convert"});
}

TEST_F(ImageFolderTest, AFolderThatIsNoDataSetIsExplained) {
  expect_refused([&] { load(); }, {path("pets"), "is not a folder"});
  fs::create_directories(path("pets/train/cat"));
  expect_refused([&] { load(); }, {path("pets/train"), "has 1 folders"});
  fs::create_directories(path("pets/train/dog"));
  expect_refused([&] { load(); }, {"cat: holds no picture"});
  split_pets();
  picture("test/cow/1.png", 1);
  expect_refused([&] { load(); }, {"cow: is no class"});
  fs::remove_all(path("pets/test/cow"));
  fs::create_directories(path("pets/val"));
  expect_refused([&] { load(); }, {"both test and val", "\"test\": \"val\""});
  spec_.image_folder.test_folder = "test";
  EXPECT_EQ(load()->test.count, 1);
  spec_.image_folder.test_folder = "exam";
  expect_refused([&] { load(); }, {"no folder \"exam\""});
}

TEST_F(ImageFolderTest, PathsStartAtTheDataFolderOrTheConfigs) {
  split_pets();
  spec_.image_folder.path = "pets";
  EXPECT_EQ(load_dataset(spec_, {path(""), "/nowhere", path("cache")})->train.count, 3);
  EXPECT_EQ(load_dataset(spec_, {"", path(""), path("cache")})->train.count, 3);
  spec_.image_folder.path.clear();
  expect_refused([&] { load_dataset(spec_, {"", path(""), ""}); }, {"needs \"path\""});
}

TEST_F(ImageFolderTest, APlanKnowsItsShapeWithoutDecoding) {
  split_pets();
  // The header of this one is whole, its pixels are not.
  Bytes broken = png_of(40, 40, {Png::grey}, std::vector<int>(1600, 1));
  broken.resize(60);
  write("pets/train/dog/broken.png", broken);
  TrainerSetup setup;
  setup.data_dir = path("pets");
  setup.cache_dir = path("cache");
  setup.config = R"({"name": "cnn", "dataset": {"image_folder": {"size": 8}}, "epochs": 1,
    "validation": 1, "optimizer": {"name": "sgd", "learning_rate": 0.1}, "layers": []})";
  const Estimate estimate = make_cnn_planner(setup)->estimate({});
  EXPECT_EQ(estimate.infeasible, "");
  EXPECT_EQ(estimate.parameters, 8 * 8 * 3 * 2 + 2);
  EXPECT_EQ(estimate.shared_bytes, 5U * (8 * 8 * 3 + 2));
  expect_refused([&] { prepare_cnn(setup); }, {"broken.png", "is damaged"});
  expect_refused([&] { cnn_data_notes(setup); }, {"broken.png", "is damaged"});
}

TEST_F(ImageFolderTest, ClassesWithoutValidationAndOtherContentAreTold) {
  for (int i = 0; i < 8; ++i) {
    picture("train/cat/" + std::to_string(i) + ".png", 10 + i);
    picture("train/dog/" + std::to_string(i) + ".png", 50 + i);
    picture("test/dog/" + std::to_string(i) + ".png", 90 + i);
  }
  TrainerSetup setup;
  setup.data_dir = path("pets");
  setup.cache_dir = path("cache");
  const auto with = [&](const std::string& validation) {
    setup.config = R"({"name": "cnn", "dataset": {"image_folder": {}}, "epochs": 1,
      "validation": )" +
                   validation +
                   R"(, "optimizer": {"name": "sgd", "learning_rate": 0.1}, "layers": []})";
    return setup;
  };
  ASSERT_EQ(cnn_data_notes(with("1")).size(), 1U);
  EXPECT_THAT(cnn_data_notes(with("1")).front(),
              testing::HasSubstr("validation part has 1 image, and none of class "));
  EXPECT_THAT(cnn_data_notes(with("0")), testing::IsEmpty());
  EXPECT_THAT(make_cnn_planner(with("0.01"))->estimate({}).infeasible,
              testing::HasSubstr("less than one"));
  const DataIdentity before = cnn_data_identity(setup);
  EXPECT_EQ(before.key.size(), 16U);
  EXPECT_EQ(before.name, "image_folder in " + path("pets"));
  fs::rename(path("pets"), path("moved"));
  setup.data_dir = path("moved");
  EXPECT_EQ(cnn_data_identity(setup).key, before.key) << "it is the content that counts";
  fs::remove(path("moved/test/dog/7.png"));
  EXPECT_NE(cnn_data_identity(setup).key, before.key);
}

TEST(ImageFolderSettings, AreCheckedWithPlaceAndRemedy) {
  const auto problems = [](const std::string& settings) {
    std::string out;
    for (const Problem& problem : check_cnn(R"({"name": "cnn", "epochs": 1, "layers": [],
        "optimizer": {"name": "sgd", "learning_rate": 0.1}, "dataset": )" +
                                            settings + "}"))
      out += problem.pointer + ": " + problem.message + "\n";
    return out;
  };
  EXPECT_EQ(problems(R"({"image_folder": {"path": "p", "size": [8, 9], "channels": 1,
                        "fit": "squash", "test": 0.25, "seed": 3}})"),
            "");
  EXPECT_EQ(problems(R"("image_folder")"), "");
  const std::string wrong = problems(
      R"({"image_folder": {"path": 3, "channels": 2, "fit": "squash", "test": 1.0, "sede": 1}})");
  for (const std::string part : {"/path: must be a folder", "/channels: must be 1 (grey) or 3",
                                 "/fit: has no effect", "/test: must be the name",
                                 "/sede: is not a key that is known here (did you mean \"seed\"?)"})
    EXPECT_THAT(wrong, testing::HasSubstr("/dataset/image_folder" + part));
  EXPECT_THAT(problems(R"({"cifar10": {"labels": "fine"}})"), testing::HasSubstr("no settings"));
  EXPECT_THAT(problems(R"("cifar_10")"), testing::HasSubstr("did you mean \"cifar10\"?"));
}

TEST(PictureBytes, RefusesWhatCannotBeRead) {
  expect_refused([] { picture_bytes("/nowhere/x.png"); }, {"/nowhere/x.png: cannot be read"});
}

}  // namespace
}  // namespace brood::data
