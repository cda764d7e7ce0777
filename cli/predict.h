// `brood predict`: what a saved model says of images.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "cli/table.h"

namespace brood {

struct PredictOptions {
  std::string model;
  std::vector<std::string> files;  // pictures; IDX files are as many as they hold
  bool test = false;               // the data set's test part instead
  std::string data_dir;            // where that lies; empty: the usual places
  int top = 3;                     // classes to show of each picture
  bool logits = false;             // all numbers before the softmax, in place of classes
  Format format = Format::people;
};

// Returns 1 when a file could not be used; the others are shown all the same.
int predict_command(const PredictOptions& options, std::ostream& out);

}  // namespace brood
