// Reads an ONNX file and computes it in double by the plainest loops: what another program would
// make of it. Nothing is shared with the writer: field numbers and operators are those of ONNX's
// onnx.proto and operator schemas, written down a second time.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace brood::cnn {

// One field of a protobuf message as it lies on the wire.
struct WireField {
  int number = 0;
  int type = 0;             // 0: whole, 2: bytes, 5: float
  std::uint64_t whole = 0;  // of types 0 and 5
  std::string_view bytes;   // of type 2
};

// Throws std::runtime_error for what is no message.
std::vector<WireField> read_message(std::string_view bytes);

struct OnnxTensor {
  std::vector<std::int64_t> shape;
  std::vector<double> values;
};

struct OnnxNode {
  std::string name, op;
  std::vector<std::string> inputs, outputs;
  std::map<std::string, std::vector<std::int64_t>> wholes;  // a single one is a list of one
  std::map<std::string, double> reals;
};

struct OnnxModel {
  std::int64_t ir_version = 0, opset = 0;
  std::string producer;
  std::map<std::string, std::string> metadata;
  std::string graph;
  std::vector<OnnxNode> nodes;
  std::map<std::string, OnnxTensor> constants;
  // "image float [N, 1, 28, 28]"
  std::vector<std::string> inputs, outputs;
};

// Throws std::runtime_error for anything unknown.
OnnxModel read_onnx(std::string_view bytes);

// Every value of the graph by its name. Throws std::runtime_error for an operator, an attribute or
// a shape that it does not know.
std::map<std::string, OnnxTensor> run_onnx(const OnnxModel& model, const OnnxTensor& image);

}  // namespace brood::cnn
