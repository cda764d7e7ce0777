#include "tests/onnx_reader.h"

#include <bit>
#include <cstring>
#include <stdexcept>

namespace brood::cnn {

namespace {

[[noreturn]] void refuse(const std::string& why) { throw std::runtime_error(why); }

std::uint64_t read_varint(std::string_view bytes, std::size_t& at) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (at >= bytes.size()) refuse("a number is cut off");
    const auto byte = static_cast<unsigned char>(bytes[at++]);
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  refuse("a number has more than ten bytes");
}

std::string text(const WireField& field) { return std::string(field.bytes); }

// TensorProto: dims 1, data_type 2, name 8, raw_data 9.
std::pair<std::string, OnnxTensor> read_tensor(std::string_view bytes) {
  std::string name, raw;
  OnnxTensor out;
  std::uint64_t type = 0;
  for (const WireField& field : read_message(bytes)) {
    if (field.number == 1)
      out.shape.push_back(static_cast<std::int64_t>(field.whole));
    else if (field.number == 2)
      type = field.whole;
    else if (field.number == 8)
      name = text(field);
    else if (field.number == 9)
      raw = text(field);
    else
      refuse("a tensor has field " + std::to_string(field.number));
  }
  std::size_t count = 1;
  for (const std::int64_t side : out.shape) count *= static_cast<std::size_t>(side);
  const std::size_t size = type == 1 ? 4 : type == 7 ? 8 : 0;  // FLOAT, INT64
  if (size == 0 || raw.size() != count * size)
    refuse(name + ": " + std::to_string(raw.size()) + " bytes of type " + std::to_string(type));
  for (std::size_t i = 0; i < count; ++i) {
    float real = 0;
    std::int64_t whole = 0;
    if (type == 1)
      std::memcpy(&real, raw.data() + 4 * i, 4);
    else
      std::memcpy(&whole, raw.data() + 8 * i, 8);
    out.values.push_back(type == 1 ? static_cast<double>(real) : static_cast<double>(whole));
  }
  return {name, out};
}

// AttributeProto: name 1, f 2, i 3, ints 8, type 20 (FLOAT 1, INT 2, INTS 7).
void read_attribute(std::string_view bytes, OnnxNode& node) {
  std::string name;
  std::uint64_t type = 0;
  double real = 0.0;
  std::vector<std::int64_t> wholes;
  for (const WireField& field : read_message(bytes)) {
    if (field.number == 1)
      name = text(field);
    else if (field.number == 2)
      real = static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(field.whole)));
    else if (field.number == 3 || field.number == 8)
      wholes.push_back(static_cast<std::int64_t>(field.whole));
    else if (field.number == 20)
      type = field.whole;
    else
      refuse("an attribute has field " + std::to_string(field.number));
  }
  if (type == 1)
    node.reals[name] = real;
  else if (type == 7 || (type == 2 && wholes.size() == 1))
    node.wholes[name] = wholes;
  else
    refuse(name + ": an attribute of type " + std::to_string(type));
}

// NodeProto: input 1, output 2, name 3, op_type 4, attribute 5.
OnnxNode read_node(std::string_view bytes) {
  OnnxNode out;
  for (const WireField& field : read_message(bytes)) {
    if (field.number == 1)
      out.inputs.push_back(text(field));
    else if (field.number == 2)
      out.outputs.push_back(text(field));
    else if (field.number == 3)
      out.name = text(field);
    else if (field.number == 4)
      out.op = text(field);
    else if (field.number == 5)
      read_attribute(field.bytes, out);
    else
      refuse("a node has field " + std::to_string(field.number));
  }
  return out;
}

// The one field of this number.
std::string_view part(std::string_view bytes, int number) {
  for (const WireField& field : read_message(bytes))
    if (field.number == number) return field.bytes;
  refuse("no field " + std::to_string(number));
}

// ValueInfoProto: name 1, type 2. TypeProto: tensor_type 1. Its elem_type 1, shape 2. Its dim 1:
// dim_value 1, dim_param 2.
std::string read_value(std::string_view bytes) {
  const std::string_view tensor = part(part(bytes, 2), 1);
  std::string out(part(bytes, 1)), sides;
  for (const WireField& field : read_message(tensor))
    if (field.number == 1) out += field.whole == 1 ? " float" : " not float";
  for (const WireField& dim : read_message(part(tensor, 2)))
    for (const WireField& side : read_message(dim.bytes))
      sides += (sides.empty() ? "" : ", ") +
               (side.number == 1 ? std::to_string(side.whole) : text(side));
  return out + " [" + sides + "]";
}

// GraphProto: node 1, name 2, initializer 5, input 11, output 12.
void read_graph(std::string_view bytes, OnnxModel& model) {
  for (const WireField& field : read_message(bytes)) {
    if (field.number == 1)
      model.nodes.push_back(read_node(field.bytes));
    else if (field.number == 2)
      model.graph = text(field);
    else if (field.number == 5 && !model.constants.insert(read_tensor(field.bytes)).second)
      refuse("a constant is there twice");
    else if (field.number == 11)
      model.inputs.push_back(read_value(field.bytes));
    else if (field.number == 12)
      model.outputs.push_back(read_value(field.bytes));
    else if (field.number != 5)
      refuse("the graph has field " + std::to_string(field.number));
  }
}

}  // namespace

std::vector<WireField> read_message(std::string_view bytes) {
  std::vector<WireField> out;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::uint64_t key = read_varint(bytes, at);
    WireField field{static_cast<int>(key >> 3), static_cast<int>(key & 7), 0, {}};
    if (field.type == 0) {
      field.whole = read_varint(bytes, at);
    } else if (field.type == 2) {
      const std::uint64_t size = read_varint(bytes, at);
      if (size > bytes.size() - at) refuse("a field is cut off");
      field.bytes = bytes.substr(at, size);
      at += size;
    } else if (field.type == 5 && bytes.size() - at >= 4) {
      std::uint32_t value = 0;
      std::memcpy(&value, bytes.data() + at, 4);
      field.whole = value;
      at += 4;
    } else {
      refuse("a field of type " + std::to_string(field.type));
    }
    out.push_back(field);
  }
  return out;
}

// ModelProto: ir_version 1, producer_name 2, producer_version 3, graph 7, opset_import 8,
// metadata_props 14.
OnnxModel read_onnx(std::string_view bytes) {
  OnnxModel out;
  for (const WireField& field : read_message(bytes)) {
    if (field.number == 1)
      out.ir_version = static_cast<std::int64_t>(field.whole);
    else if (field.number == 2)
      out.producer = text(field);
    else if (field.number == 7)
      read_graph(field.bytes, out);
    else if (field.number == 8)
      for (const WireField& part_of : read_message(field.bytes))
        out.opset = static_cast<std::int64_t>(part_of.whole);
    else if (field.number == 14)
      out.metadata[std::string(part(field.bytes, 1))] = part(field.bytes, 2);
    else if (field.number != 3)
      refuse("the model has field " + std::to_string(field.number));
  }
  return out;
}

}  // namespace brood::cnn
