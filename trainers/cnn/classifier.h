// A model at work: what it says of images, and how well it does on its data set's test part.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "trainers/cnn/kernels.h"
#include "trainers/cnn/model.h"
#include "trainers/cnn/network.h"

namespace brood::cnn {

// One thread.
class Classifier {
 public:
  // batch_max: images at a time; a larger one is faster and takes more memory.
  Classifier(const Model& model, const Kernels& kernels, int batch_max);

  int batch_max() const { return network_.plan().batch_size; }

  // Of up to batch_max images (height, width, channels; 0..255): one row of logits for each.
  std::vector<std::vector<float>> logits(std::span<const std::uint8_t* const> images);

  // The same images with their labels. As a trial counts them, bit for bit.
  BatchResult evaluate(std::span<const std::uint8_t* const> images,
                       std::span<const std::uint16_t> labels);
  // Of the last evaluate(): 1 where the class was right.
  const std::vector<std::uint8_t>& hits() const { return network_.hits(); }

 private:
  Network network_;
};

// Softmax, in double.
std::vector<double> probabilities(const std::vector<float>& logits);

struct TestResult {
  struct Class {
    std::int64_t samples = 0, correct = 0;
  };
  std::int64_t samples = 0, correct = 0;
  double accuracy = 0.0, loss = 0.0;
  std::vector<Class> classes;
};

// What an epoch of the model's trial reported as test_accuracy and test_loss. Throws UserError when
// the data are not those of the model.
TestResult test(const Model& model, const Dataset& data, const Kernels& kernels);

}  // namespace brood::cnn
