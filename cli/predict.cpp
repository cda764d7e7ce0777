#include "cli/predict.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <numeric>

#include "cli/asked.h"
#include "engine/error.h"
#include "engine/json.h"
#include "engine/json_library.h"
#include "trainers/cnn/classifier.h"
#include "trainers/cnn/model.h"
#include "trainers/cnn/pictures.h"

namespace brood {

namespace {

namespace fs = std::filesystem;

constexpr int kBatch = 32;  // pictures at a time

cnn::Model load(const std::string& path) {
  if (is_database(path))
    throw UserError(path + ": is a database; write its best model with `brood export " +
                    shell_word(path) + " --weights model.safetensors`, and predict with that");
  return cnn::read_model(path);
}

// The set whose bits the model's trial had, where this machine has it.
const cnn::Kernels& kernels_for(const cnn::Model& model) {
  const std::string& wanted = model.description.numeric_class;
  for (const cnn::Kernels* kernels : cnn::available_kernels())
    if (cnn::numeric_class(*kernels) == wanted) return *kernels;
  const cnn::Kernels& best = *cnn::available_kernels().front();
  std::cerr << "The model was trained in numeric class " << wanted << ", which this machine lacks; "
            << cnn::numeric_class(best) << " may differ in the last places\n";
  return best;
}

// One row for each picture: its name, then the likeliest classes, or all logits.
class Answers {
 public:
  Answers(const cnn::Model& model, const PredictOptions& options)
      : names_(model.description.classes), options_(options) {
    table_.columns = {"file"};
    top_ = std::min<std::size_t>(static_cast<std::size_t>(options.top), names_.size());
    if (options.logits) {
      table_.columns.insert(table_.columns.end(), names_.begin(), names_.end());
      return;
    }
    for (std::size_t i = 0; i < top_; ++i) {
      const std::string ending = i == 0 ? "" : "_" + std::to_string(i + 1);
      table_.columns.push_back("class" + ending);
      table_.columns.push_back("probability" + ending);
    }
  }

  void add(const std::string& file, const std::vector<float>& logits) {
    auto& row = table_.rows.emplace_back();
    row.emplace_back(file);
    if (options_.logits) {
      for (const float logit : logits) row.emplace_back(static_cast<double>(logit));
      return;
    }
    const std::vector<double> shares = cnn::probabilities(logits);
    std::vector<std::size_t> order(shares.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
    for (std::size_t i = 0; i < top_; ++i) {
      row.emplace_back(names_[order[i]]);
      const double share = shares[order[i]];
      row.emplace_back(options_.format == Format::people ? std::round(share * 1e4) / 1e4 : share);
    }
  }

  const Table& table() const { return table_; }

 private:
  const std::vector<std::string>& names_;
  const PredictOptions& options_;
  std::size_t top_ = 0;
  Table table_;
};

int predict_files(const cnn::Model& model, const PredictOptions& options, std::ostream& out) {
  std::vector<cnn::NamedPicture> waiting;
  Answers answers(model, options);
  cnn::Classifier classifier(model, kernels_for(model), kBatch);
  const auto answer = [&] {
    std::vector<const std::uint8_t*> images;
    for (const cnn::NamedPicture& picture : waiting) images.push_back(picture.pixels.data());
    if (images.empty()) return;
    const auto logits = classifier.logits(images);
    for (std::size_t i = 0; i < waiting.size(); ++i) answers.add(waiting[i].name, logits[i]);
    waiting.clear();
  };
  int bad = 0;
  for (const std::string& file : options.files) {
    try {
      cnn::read_pictures(file, model, [&](cnn::NamedPicture picture) {
        waiting.push_back(std::move(picture));
        if (waiting.size() == static_cast<std::size_t>(kBatch)) answer();
      });
    } catch (const UserError& error) {
      std::cerr << printable(error.what()) << "\n";
      ++bad;
    }
  }
  answer();
  const bool people = options.format == Format::people;
  if (!people || !answers.table().rows.empty())
    print(answers.table(), options.format, people ? terminal_width() : 0, out);
  return bad > 0 ? 1 : 0;
}

Table class_table(const cnn::Model& model, const cnn::TestResult& result) {
  Table table;
  table.columns = {"class", "images", "correct", "accuracy"};
  for (std::size_t c = 0; c < result.classes.size(); ++c) {
    const auto& [samples, correct] = result.classes[c];
    auto& row = table.rows.emplace_back();
    row.emplace_back(model.description.classes[c]);
    row.emplace_back(samples);
    row.emplace_back(correct);
    row.emplace_back();
    if (samples > 0) row.back() = static_cast<double>(correct) / static_cast<double>(samples);
  }
  return table;
}

std::shared_ptr<const data::Dataset> data_of(const cnn::Model& model, const data::Places& places) {
  try {
    return data::load_dataset(model.spec.dataset, places);
  } catch (const UserError& error) {
    throw UserError(std::string(error.what()) +
                    (places.data_dir.empty() ? "\n(Paths in the model's config begin at the "
                                               "model's folder; `--data-dir DIR` names another)"
                                             : ""));
  }
}

int predict_test(const cnn::Model& model, const PredictOptions& options, std::ostream& out) {
  data::Places places;
  if (!options.data_dir.empty()) places.data_dir = fs::absolute(options.data_dir);
  // A model lies where its config would: what it names does not depend on where one stands.
  places.base_dir = fs::absolute(options.model).parent_path().lexically_normal();
  const auto data = data_of(model, places);
  const cnn::TestResult result = cnn::test(model, *data, kernels_for(model));
  const Table table = class_table(model, result);
  if (options.format == Format::json) {
    Json json = {{"test_accuracy", result.accuracy},
                 {"test_loss", number_to_json(result.loss)},
                 {"images", result.samples},
                 {"correct", result.correct},
                 {"classes", Json::array()}};
    for (std::size_t c = 0; c < result.classes.size(); ++c)
      json["classes"].push_back({{"class", model.description.classes[c]},
                                 {"images", result.classes[c].samples},
                                 {"correct", result.classes[c].correct}});
    out << json.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
    return 0;
  }
  if (options.format == Format::people)
    out << "test_accuracy " << to_text(Value(result.accuracy)) << "  test_loss "
        << to_text(Value(result.loss)) << "  (" << result.correct << " of " << result.samples
        << " images)\n\n";
  print(table, options.format, options.format == Format::people ? terminal_width() : 0, out);
  return 0;
}

}  // namespace

int predict_command(const PredictOptions& options, std::ostream& out) {
  if (options.test == !options.files.empty())
    throw UserError(
        "brood predict: name the pictures to classify, or ask for the data set's test "
        "part with --test");
  if (!options.test && !options.data_dir.empty())
    throw UserError("brood predict: --data-dir says where the data set of --test lies");
  if (options.test && options.logits)
    throw UserError("brood predict: --logits is of pictures; --test counts them");
  const cnn::Model model = load(options.model);
  return options.test ? predict_test(model, options, out) : predict_files(model, options, out);
}

}  // namespace brood
