#include "trainers/cnn/classifier.h"

#include <algorithm>

#include "engine/error.h"
#include "engine/exact_math.h"

namespace brood::cnn {

namespace {

// What is only looked at needs no optimizer and no average.
OptimizerSpec no_optimizer() { return {}; }

Plan with_batch(Plan plan, int batch_max) {
  plan.batch_size = batch_max;
  return plan;
}

std::string text_of(const DataShape& data) {
  return std::to_string(data.height) + "x" + std::to_string(data.width) + "x" +
         std::to_string(data.channels) + " in " + std::to_string(data.classes) + " classes, " +
         std::to_string(data.test) + " of them for the test";
}

}  // namespace

Classifier::Classifier(const Model& model, const Kernels& kernels, int batch_max)
    : network_(with_batch(model.plan, batch_max), no_optimizer(), kernels) {
  std::vector<NamedArray> arrays = model.parameters;
  arrays.insert(arrays.end(), model.states.begin(), model.states.end());
  network_.restore(arrays);
}

std::vector<std::vector<float>> Classifier::logits(std::span<const std::uint8_t* const> images) {
  const std::vector<std::uint16_t> labels(images.size(), 0);
  evaluate(images, labels);
  std::vector<std::vector<float>> out;
  for (std::size_t i = 0; i < images.size(); ++i)
    out.push_back(network_.logits(static_cast<int>(i)));
  return out;
}

BatchResult Classifier::evaluate(std::span<const std::uint8_t* const> images,
                                 std::span<const std::uint16_t> labels) {
  CHECK(images.size() == labels.size() && images.size() <= static_cast<std::size_t>(batch_max()),
        std::to_string(images.size()) + " images");
  const FlushDenormals flush;
  for (std::size_t i = 0; i < images.size(); ++i)
    network_.set_image(static_cast<int>(i), images[i]);
  return network_.evaluate(labels);
}

std::vector<double> probabilities(const std::vector<float>& logits) {
  const auto most = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  std::vector<double> out;
  double sum = 0.0;
  for (const float logit : logits) {
    out.push_back(exact::exp(static_cast<double>(logit) - most));
    sum += out.back();
  }
  for (double& share : out) share /= sum;
  return out;
}

TestResult test(const Model& model, const Dataset& data, const Kernels& kernels) {
  const DataShape found = divided(model.spec, shape_of(data));
  const DataShape& own = model.description.data;
  if (found.height != own.height || found.width != own.width || found.channels != own.channels ||
      found.classes != own.classes || found.test != own.test)
    throw UserError("the data set is not the model's: its images are " + text_of(found) +
                    "; the model's were " + text_of(own));
  const Split split = make_split(model.spec, shape_of(data), model.description.experiment_seed);
  Classifier classifier(model, kernels, model.plan.batch_size);
  TestResult out;
  out.classes.resize(static_cast<std::size_t>(data.classes));
  const std::span<const std::uint32_t> samples(split.test);
  const auto batch = static_cast<std::size_t>(classifier.batch_max());
  for (std::size_t first = 0; first < samples.size(); first += batch) {
    std::vector<const std::uint8_t*> images;
    std::vector<std::uint16_t> labels;
    for (const std::uint32_t sample :
         samples.subspan(first, std::min(batch, samples.size() - first))) {
      images.push_back(data.pixels(data.test, sample));
      labels.push_back(data.test.labels[sample]);
    }
    const BatchResult result = classifier.evaluate(images, labels);
    out.loss += result.loss;
    out.correct += result.correct;
    for (std::size_t i = 0; i < labels.size(); ++i) {
      ++out.classes[labels[i]].samples;
      out.classes[labels[i]].correct += classifier.hits()[i];
    }
  }
  out.samples = static_cast<std::int64_t>(samples.size());
  if (out.samples == 0) throw UserError("the data set has no test part");
  out.accuracy = static_cast<double>(out.correct) / static_cast<double>(out.samples);
  out.loss /= static_cast<double>(out.samples);
  return out;
}

}  // namespace brood::cnn
