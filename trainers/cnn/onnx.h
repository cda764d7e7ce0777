// A model as ONNX, for programs that know nothing of brood.
//
// Opset 13, IR version 7 (ONNX 1.8, 2020): the oldest that says all of it with its present meaning,
// so that old and new runtimes read it. Source: ONNX, "Open Neural Network Exchange Intermediate
// Representation" and "Operator schemas".
//
//   input   image          float [N, channels, height, width], pixels 0 .. 255 as they are in files
//   output  logits         float [N, classes]
//   output  probabilities  float [N, classes], their softmax
//   metadata_props         classes (a JSON list of names), source, trainer (the network's block)
//
// The scaling of pixels is part of the graph. Dropout is gone, batch norm uses its running
// statistics.
#pragma once

#include <string>

#include "trainers/cnn/model.h"

namespace brood::cnn {

inline constexpr int kOnnxOpset = 13, kOnnxIrVersion = 7;

// The file's bytes. source: where the model comes from, for people; version: of the program.
// Throws UserError for a model above 2 GiB, which the format does not hold.
std::string to_onnx(const Model& model, const std::string& source, const std::string& version);

}  // namespace brood::cnn
