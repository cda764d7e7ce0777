// Goal: a model leaves brood, and comes back, as it was trained: `train`, `export` and `predict` as
// people run them. Method: the program itself on a made-up data set; numbers are compared as text,
// with every digit, files byte for byte. The exported graph is run by the tests' own interpreter.
#include <gmock/gmock.h>

#include <cmath>
#include <regex>

#include "cli/bitmap.h"
#include "engine/json_library.h"
#include "store/sqlite.h"
#include "tests/onnx_reader.h"
#include "tests/shell_fixture.h"

namespace brood {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

std::string config(const std::string& space, const std::string& more = "", int epochs = 2) {
  return R"({"version": 1, "experiment": {"name": "small", "seed": 3},
    "objective": {"metric": "val_accuracy", "goal": "maximize"},
    "search_space": )" +
         space + R"(, "search": {"algorithm": "grid"}, "output": {"database": "m.db"},
    "trainer": {"name": "cnn", "epochs": )" +
         std::to_string(epochs) + R"(, "batch_size": 32, "evaluate_test": true, "limit_test": 50,
      "dataset": {"synthetic": {"classes": 4, "size": 10, "train": 200, "test": 70}}, )" +
         more + R"("optimizer": {"name": "adam", "learning_rate": {"$param": "learning_rate"}},
      "layers": [
        {"conv": {"filters": 5, "kernel": 3, "batch_norm": true, "activation": "gelu"}},
        {"max_pool": {"size": 2}}, {"dropout": {"rate": 0.2}},
        {"dense": {"units": 12, "activation": "relu"}}]}})";
}

const char* const kTwo = R"({"learning_rate": [0.01, 0.001]})";

class Models : public Shell {
 protected:
  void run(const std::string& command) const {
    const Result result = shell(command);
    ASSERT_EQ(result.status, 0) << command << "\n" << result.output;
  }

  // The status of a training whose output goes into a file and that is interrupted once it has told
  // of an epoch there.
  int interrupt(const std::string& training, const std::string& file) const {
    return shell("rm -f ended " + file + "; (until test -e ended || grep -qs '^epoch' " + file +
                 "; do sleep 0.02; done; kill -INT $(cat pid)) & sh -c \"echo \\$\\$ > pid; exec " +
                 training + "\" > " + file + "; status=$?; touch ended; wait; exit $status")
        .status;
  }

  // A metric of a trial's last epoch, as the record has it.
  double recorded(const std::string& metric, int trial) const {
    sqlite::Connection db(path("m.db"), sqlite::Access::read);
    sqlite::Statement rows(db, "SELECT " + metric + " FROM curve WHERE trial = " +
                                   std::to_string(trial) + " ORDER BY epoch DESC");
    return rows.step() ? rows.real(0) : std::nan("");
  }

  Json json(const std::string& command) const {
    const Result result = shell(command);
    EXPECT_EQ(result.status, 0) << command << "\n" << result.output;
    return Json::parse(result.output, nullptr, false);
  }

  // An IDX file of images that no part of a data set has.
  void write_idx(const std::string& name, int images, int side) const {
    std::string text("\0\0\x08\x03\0\0\0", 7);
    text += static_cast<char>(images);
    for (int i = 0; i < 2; ++i) text += std::string("\0\0\0", 3) + static_cast<char>(side);
    for (int i = 0; i < images * side * side; ++i) text += static_cast<char>(i * 37 + i * i % 11);
    write(name, text);
  }
};

TEST_F(Models, ATrainedConfigHasTheBitsOfARunAndItsTestTheRecordedOnes) {
  write("m.json", config(kTwo, R"("ema": 0.9, )"));
  run("$BROOD run m.json -q");
  run("$BROOD best m.db --config > best.json");
  // The winner is trial 0 or 1; its config is trained as the first trial of a run would be.
  run("$BROOD train m.json --param learning_rate=0.01 --save first.safetensors -q");
  run("$BROOD train m.db --trial 1 --save second.safetensors -q");
  run("$BROOD train best.json --save best.safetensors");
  for (const auto& [model, trial] : {std::pair("first", 0), std::pair("second", 1)}) {
    const auto test = json(std::string("$BROOD predict ") + model + ".safetensors --test --json");
    EXPECT_EQ(test["test_accuracy"], recorded("test_accuracy", trial)) << model;
    EXPECT_EQ(test["test_loss"], recorded("test_loss", trial)) << model;
    EXPECT_EQ(test["images"], 50);
  }
  EXPECT_NE(recorded("test_loss", 0), recorded("test_loss", 1));
}

TEST_F(Models, TheBestTrialsCheckpointIsExportedAsTheSameTrialTrainsAgain) {
  write("m.json", config(kTwo, R"("ema": 0.9, )"));
  run("$BROOD run m.json -q");
  const auto best = json("$BROOD best m.db -n 1 --json")[0]["trial"].get<int>();
  const std::string number = std::to_string(best);
  run("$BROOD export m.json --weights kept.safetensors --onnx kept.onnx");
  run("$BROOD train m.db --trial " + number + " --save again.safetensors");
  EXPECT_TRUE(read("kept.safetensors") == read("again.safetensors"));
  run("$BROOD export again.safetensors --onnx again.onnx");
  const auto kept = cnn::read_onnx(read("kept.onnx")), again = cnn::read_onnx(read("again.onnx"));
  EXPECT_THAT(kept.metadata.at("source"), HasSubstr("trial " + number + ", after epoch 2"));
  EXPECT_EQ(kept.metadata.at("classes"), R"(["0","1","2","3"])");
  for (const auto& [name, constant] : kept.constants)
    EXPECT_EQ(constant.values, again.constants.at(name).values) << name;

  const Result lost = shell("$BROOD export m.db --onnx x.onnx --trial " + std::to_string(1 - best));
  EXPECT_EQ(lost.status, 2);
  EXPECT_THAT(lost.output, HasSubstr("brood train m.db --trial " + std::to_string(1 - best) +
                                     " --save model.safetensors"));
  EXPECT_FALSE(fs::exists(path("x.onnx")));
}

TEST_F(Models, PredictionsAndTheExportedGraphAgree) {
  write("m.json", config("{\"learning_rate\": 0.01}"));
  run("$BROOD train m.json --save m.safetensors");
  run("$BROOD export m.safetensors --onnx m.onnx");
  constexpr int kImages = 7, kSide = 10;
  write_idx("images", kImages, kSide);
  const auto rows = json("$BROOD predict m.safetensors images --logits --json");
  const auto top = json("$BROOD predict m.safetensors images --top 1 --json");
  ASSERT_EQ(rows.size(), 7U);
  cnn::OnnxTensor images;
  images.shape = {kImages, 1, kSide, kSide};
  for (const char pixel : read("images").substr(16))
    images.values.push_back(static_cast<double>(static_cast<unsigned char>(pixel)));
  const auto logits = cnn::run_onnx(cnn::read_onnx(read("m.onnx")), images).at("logits").values;
  for (std::size_t n = 0; n < 7; ++n) {
    EXPECT_EQ(rows[n]["file"], "images#" + std::to_string(n));
    std::string best;
    double most = -1e9;
    for (std::size_t c = 0; c < 4; ++c) {
      const double ours = rows[n][std::to_string(c)];
      EXPECT_NEAR(ours, logits[n * 4 + c], 1e-5 * std::max(1.0, std::abs(ours)));
      if (ours > most) best = std::to_string(c);
      most = std::max(most, ours);
    }
    EXPECT_EQ(top[n]["class"], best);
  }
  EXPECT_THAT(shell("$BROOD predict m.safetensors images --csv --top 2").output,
              HasSubstr("file,class,probability,class_2,probability_2"));
}

TEST_F(Models, APictureIsReadAsTheSamePixelsOfAnIdxFile) {
  write("m.json", config("{\"learning_rate\": 0.01}", "", 1));
  run("$BROOD train m.json --save m.safetensors -q");
  write_idx("images", 1, 10);
  const std::string pixels = read("images").substr(16);
  Bitmap picture(10, 10, {}), twice(20, 20, {});
  for (int y = 0; y < 20; ++y)
    for (int x = 0; x < 20; ++x) {
      const auto light =
          static_cast<std::uint8_t>(pixels[static_cast<std::size_t>(y / 2 * 10 + x / 2)]);
      picture.set(x / 2, y / 2, {light, light, light});
      twice.set(x, y, {light, light, light});
    }
  write_png(path("picture.png"), picture);
  write_png(path("twice.jpg"), twice);  // the name says nothing
  const auto rows =
      json("$BROOD predict m.safetensors images picture.png twice.jpg --logits --json");
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[1]["file"], "picture.png");
  for (const char* name : {"0", "1", "2", "3"}) {
    EXPECT_EQ(rows[1][name], rows[0][name]);
    EXPECT_NE(rows[2][name], rows[0][name]) << "a triangle filter takes from the neighbours too";
    EXPECT_NEAR(rows[2][name].get<double>(), rows[0][name].get<double>(), 1.0);
  }
}

TEST_F(Models, AnInterruptedTrainingGoesOnToTheSameModel) {
  write("m.json", config("{\"learning_rate\": 0.003}", "", 60));
  run("$BROOD train m.json --save whole.safetensors > whole.txt");
  // It may end before the signal comes: then the same again.
  for (int tries = 0; !fs::exists(path("parts.safetensors.checkpoint")); ++tries) {
    ASSERT_LT(tries, 50);
    fs::remove(path("parts.safetensors"));
    interrupt("$BROOD train m.json --save parts.safetensors", "parts.txt");
  }
  run("$BROOD train m.json --save parts.safetensors >> parts.txt");
  EXPECT_THAT(read("parts.txt"), HasSubstr("Going on with m.json"));
  EXPECT_TRUE(read("parts.safetensors") == read("whole.safetensors"));
  EXPECT_FALSE(fs::exists(path("parts.safetensors.checkpoint")));
}

TEST_F(Models, ACheckpointOfAnotherTrainingIsRefused) {
  write("m.json", config(kTwo, "", 2000));
  const std::string train = "$BROOD train m.json --save m.safetensors --param learning_rate=";
  EXPECT_EQ(interrupt(train + "0.01", "parts.txt"), 75);
  ASSERT_TRUE(fs::exists(path("m.safetensors.checkpoint")));
  const Result other = shell(train + "0.001");
  EXPECT_EQ(other.status, 2);
  EXPECT_THAT(other.output, HasSubstr("is of another training: its trainer block differs"));
  EXPECT_THAT(shell(train + "0.01 --set experiment.seed=4").output, HasSubstr("its seed differs"));
  write("m.safetensors.checkpoint", "nonsense");
  EXPECT_THAT(shell(train + "0.01").output, HasSubstr("remove m.safetensors.checkpoint"));
}

// The accuracy of a network of NaN is a number like any other.
TEST_F(Models, ATrainingThatBecomesNanFailsWhateverTheObjective) {
  std::string text = config("{\"learning_rate\": 1000}");
  text.replace(text.find("\"adam\""), 6, "\"sgd\"");
  text.replace(text.find("\"batch_norm\": true, "), 20, "");
  write("m.json", text);
  const Result trained = shell("$BROOD train m.json --save m.safetensors");
  EXPECT_EQ(trained.status, 1);
  EXPECT_THAT(trained.output, HasSubstr("failed: train_loss became "));
  EXPECT_FALSE(fs::exists(path("m.safetensors")));
  EXPECT_EQ(shell("$BROOD run m.json -q").status, 1);
  EXPECT_THAT(shell("$BROOD why 0 m.db").output,
              HasSubstr("Trial 0 failed (nan): train_loss became "));
}

TEST_F(Models, ADamagedModelIsNotCalledForeign) {
  write("m.json", config("{\"learning_rate\": 0.01}", "", 1));
  run("$BROOD train m.json --save m.safetensors -q");
  const std::string whole = read("m.safetensors");
  for (const std::size_t bytes : {std::size_t{60}, whole.size() / 2, whole.size() - 1}) {
    write("cut.safetensors", whole.substr(0, bytes));
    EXPECT_THAT(shell("$BROOD predict cut.safetensors x.png").output,
                HasSubstr("cut.safetensors: is damaged: "))
        << bytes;
  }
  std::string flipped = whole;
  flipped[whole.size() - 5] ^= 1;
  write("flipped.safetensors", flipped);
  EXPECT_THAT(shell("$BROOD predict flipped.safetensors x.png").output,
              HasSubstr("is damaged: its arrays are not what was written"));
  write("foreign.safetensors", "abcdefgh{\"a\": 1}");
  EXPECT_THAT(shell("$BROOD predict foreign.safetensors x.png").output,
              HasSubstr("is not a checkpoint of brood"));
}

TEST_F(Models, TheDataOfAModelIsFoundFromAnywhere) {
  for (int i = 0; i < 24; ++i) {
    const std::string folder = i % 2 == 0 ? "there/pets/cat" : "there/pets/dog";
    fs::create_directories(path(folder));
    Bitmap picture(8, 8, {});
    picture.set(i % 8, i / 8, {255, static_cast<std::uint8_t>(i), 0});
    write_png(path(folder + "/" + std::to_string(i) + ".png"), picture);
  }
  std::string text = config("{\"learning_rate\": 0.01}", "", 1);
  const std::string data = R"({"synthetic": {"classes": 4, "size": 10, "train": 200, "test": 70}})";
  text.replace(text.find(data), data.size(), R"({"image_folder": {"path": "pets"}})");
  text.replace(text.find(R"("limit_test": 50,)"), 17, "");
  write("there/m.json", text);
  run("$BROOD train there/m.json --save there/m.safetensors -q");
  const std::string here = shell("$BROOD predict there/m.safetensors --test --json").output;
  EXPECT_THAT(here, HasSubstr("\"images\":4"));
  EXPECT_EQ(
      shell("cd / && $BROOD predict '" + path("there/m.safetensors") + "' --test --json").output,
      here);
  run("mv there/m.safetensors m.safetensors");
  EXPECT_THAT(shell("$BROOD predict m.safetensors --test").output, HasSubstr("--data-dir"));
  EXPECT_EQ(shell("$BROOD predict m.safetensors --test --json --data-dir there").output, here);
}

TEST_F(Models, DataThatChangedIsRefusedByName) {
  for (int i = 0; i < 24; ++i) {
    fs::create_directories(path(i % 2 == 0 ? "pets/cat" : "pets/dog"));
    Bitmap picture(8, 8, {});
    picture.set(i % 8, i / 8, {255, static_cast<std::uint8_t>(i), 0});
    write_png(path((i % 2 == 0 ? "pets/cat/" : "pets/dog/") + std::to_string(i) + ".png"), picture);
  }
  std::string text = config(kTwo, "", 2);
  const std::string data = R"({"synthetic": {"classes": 4, "size": 10, "train": 200, "test": 70}})";
  text.replace(text.find(data), data.size(), R"({"image_folder": {"path": "pets"}})");
  text.replace(text.find(R"("limit_test": 50,)"), 17, "");
  write("m.json", text);
  run("$BROOD run m.json -q");
  run("$BROOD resume m.db -q && $BROOD replay 0 m.db && mv pets/cat/0.png gone.png");
  for (const std::string command :
       {"run m.json", "resume m.db -q", "replay 0 m.db", "train m.db --trial 0"}) {
    const Result result = shell("$BROOD " + command);
    EXPECT_EQ(result.status, 2) << command;
    EXPECT_THAT(result.output, HasSubstr("its data has changed: image_folder in ")) << command;
    EXPECT_THAT(result.output, HasSubstr("Put the files back")) << command;
  }
  run("mv gone.png pets/cat/0.png && $BROOD resume m.db -q");
  const std::string cache = "XDG_CACHE_HOME=$PWD/cache $BROOD ";
  run(cache + "train m.json --param learning_rate=0.01 -q");
  EXPECT_THAT(shell(cache + "data cache").output, HasSubstr("8x8x3"));
  EXPECT_EQ(shell(cache + "data cache --remove nothing").status, 2);
  EXPECT_THAT(shell(cache + "data cache --remove image_folder").output,
              HasSubstr("removed 1 file"));
  EXPECT_TRUE(fs::is_empty(path("cache/brood/data")));
}

TEST_F(Models, SayWhatIsWrongAndWhatToDo) {
  write("m.json", config(kTwo));
  write("program.json", R"({"version": 1, "experiment": {"name": "p"},
    "objective": {"metric": "loss", "goal": "minimize"}, "search_space": {"x": {"type": "float",
    "min": 0, "max": 1}}, "search": {"algorithm": "random"}, "budget": {"max_trials": 2},
    "trainer": {"name": "synthetic", "epochs": 2}, "output": {"database": "p.db"}})");
  run("$BROOD run program.json -q");
  const std::pair<std::string, std::string> cases[] = {
      {"train m.json", "learning_rate: one of 0.01, 0.001"},
      {"train m.json --param learning_rate=0.5", "one of 0.01, 0.001 (is \"0.5\")"},
      {"train m.json --param learningrate=1", "did you mean \"learning_rate\"?"},
      {"train m.json --param learning_rate", "NAME=VALUE"},
      {"train m.json --param learning_rate=0.01 --epoch 3", "above the 2 epochs"},
      {"train m.json --param learning_rate=0.01 --set trainer.layers.1.max_pool.size=15",
       "cannot be trained"},
      {"train m.json --trial 0", "m.db"},
      {"train p.db", "say which of its trials with --trial"},
      {"train program.json --param x=0.5 --save m.safetensors", "--save keeps models"},
      {"export m.json", "--onnx FILE"},
      {"export p.db --onnx x.onnx", "only models of the built-in trainer"},
      {"predict m.json x.png", "m.json"},
      {"predict p.db x.png", "brood export p.db --weights model.safetensors"},
      {"predict p.db", "name the pictures to classify"},
      {"predict m.safetensors x.png --logits --top 2", "--top has no effect with --logits"},
      {"predict m.safetensors --test --top 2", "--top has no effect with --test"},
  };
  for (const auto& [command, words] : cases) {
    const Result result = shell("$BROOD " + command);
    EXPECT_EQ(result.status, 2) << command;
    EXPECT_THAT(result.output, HasSubstr(words)) << command;
  }
  const Result other = shell("$BROOD train program.json --param x=0.5 --json");
  EXPECT_EQ(other.status, 0) << other.output;
  EXPECT_THAT(other.output, HasSubstr("{\"epoch\":2,\"metrics\":{\"loss\":"));
}

TEST_F(Models, ThePageNamesEveryOptionAndWhatAFileHolds) {
  std::ostringstream text;
  text << std::ifstream(std::string(std::getenv("BROOD_SOURCE_DIR")) + "/docs/models.md").rdbuf();
  const std::string page = text.str();
  const std::regex option("--[a-z-]+");
  for (const std::string command : {"train", "export", "predict"}) {
    const std::string help = shell("$BROOD " + command + " --help").output;
    // After the usage and the summary, which may speak of others.
    const std::string list = help.substr(help.find("\n  -"));
    int options = 0;
    for (std::sregex_iterator at(list.begin(), list.end(), option), end; at != end; ++at, ++options)
      EXPECT_THAT(page, HasSubstr(at->str())) << command;
    EXPECT_GT(options, 3) << help;
  }
  write("m.json", config("{\"learning_rate\": 0.01}", "", 1));
  run("$BROOD train m.json --save m.safetensors -q && $BROOD export m.safetensors --onnx m.onnx");
  const auto onnx = cnn::read_onnx(read("m.onnx"));
  EXPECT_THAT(page, HasSubstr("opset " + std::to_string(onnx.opset) + ", IR version " +
                              std::to_string(onnx.ir_version)));
  for (const auto& [key, value] : onnx.metadata) EXPECT_THAT(page, HasSubstr("`" + key + "`"));
  const std::string model = read("m.safetensors");
  const auto byte = [&model](std::size_t at) { return static_cast<unsigned char>(model[at]); };
  const auto header = Json::parse(model.substr(8, byte(0) + std::size_t{256} * byte(1)));
  for (const auto& [key, value] : header["__metadata__"].items())
    EXPECT_THAT(page, HasSubstr("| `" + key + "` |"));
}

TEST_F(Models, ABadFileIsNamedAndTheOthersAreClassified) {
  write("m.json", config("{\"learning_rate\": 0.01}", "", 1));
  run("$BROOD train m.json --save m.safetensors -q");
  write_idx("images", 2, 10);
  write_idx("small", 2, 9);
  const Result result = shell("$BROOD predict m.safetensors small images nowhere --csv");
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.output, HasSubstr("small: "));
  EXPECT_THAT(result.output, HasSubstr("nowhere: "));
  EXPECT_THAT(result.output, HasSubstr("images#1,"));
}

}  // namespace
}  // namespace brood
