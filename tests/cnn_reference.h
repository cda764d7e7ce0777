// A network in double precision by the plainest loops: the oracle of the CNN tests.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "trainers/cnn/plan.h"

namespace brood::cnn {

struct Reference {
  explicit Reference(const Plan& network);

  // Mean loss over the batch; leaves values and logits. images: (n, height, width, channels).
  double forward(const std::vector<double>& images, const std::vector<int>& labels, bool train,
                 std::uint64_t dropout_key, std::uint64_t batch_index);
  // After forward(): the gradients of the mean loss.
  void backward();

  const Plan& plan;
  std::vector<std::vector<double>> parameters, gradients, states;
  std::vector<std::vector<double>> values, slopes;  // of each tensor, and the loss's gradient
  std::vector<int> labels;

 private:
  struct Saved {
    std::vector<double> mean, inverse;  // batch norm
    std::vector<char> keep;             // dropout
  };
  // The steps that the two functions above leave to these.
  void forward_more(const Step& step);
  void backward_more(const Step& step);
  void each_part(const Step& step,
                 const std::function<void(std::size_t, std::size_t, int)>& visit) const;

  std::vector<Saved> saved_;
  bool train_ = false;
};

std::vector<double> made_up(std::size_t count, std::uint64_t seed, double scale);

// Deterministic weights and biases, of a size that keeps signals alive.
void fill(Reference& reference, std::uint64_t seed);

double norm_of(const std::vector<double>& values);

// Distance relative to the larger of the reference's norm and a floor for vanishing gradients.
double distance(const std::vector<float>& got, const std::vector<double>& wanted, double floor);

}  // namespace brood::cnn
