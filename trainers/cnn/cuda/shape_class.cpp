#include "trainers/cnn/cuda/shape_class.h"

#include <algorithm>
#include <array>
#include <sstream>

#include "engine/error.h"
#include "trainers/cnn/memory.h"

namespace brood::cnn::cuda {

namespace {

// A graph is made for each; blocks beyond the trials at hand do nothing.
constexpr std::array<int, 16> kBuckets = {1,  2,  4,  8,   12,  16,  24,   32,
                                          48, 64, 96, 128, 256, 512, 1024, 2048};
static_assert(kBuckets.back() == ShapeClass::kTrialsMax);

int bucket_of(std::size_t trials) {
  const auto at = std::lower_bound(kBuckets.begin(), kBuckets.end(), static_cast<int>(trials));
  CHECK(at != kBuckets.end(), "more trials than a launch can have");
  return *at;
}

}  // namespace

std::string shape_key(const Plan& plan, const OptimizerSpec& optimizer, Precision precision) {
  std::ostringstream out;
  const DataShape& d = plan.data;
  out << "images " << d.height << ' ' << d.width << ' ' << d.channels << ' ' << d.classes << ' '
      << d.train << ' ' << d.validation << ' ' << d.test << " batch " << plan.batch_size
      << " moments " << moment_count(optimizer) << " average " << (optimizer.ema > 0.0)
      << " precision " << static_cast<int>(precision) << std::hexfloat;
  for (const Shape& shape : plan.tensors)
    out << " tensor " << shape.height << ' ' << shape.width << ' ' << shape.channels;
  for (const Parameter& parameter : plan.parameters)
    out << " parameter " << parameter.inputs << ' ' << parameter.columns << ' ' << parameter.weight;
  for (const Step& s : plan.steps) {
    out << " step " << static_cast<int>(s.op);
    for (const int input : s.inputs) out << ' ' << input;
    for (const int number :
         {s.output, s.weight, s.bias, s.state, s.kernel_height, s.kernel_width, s.stride_height,
          s.stride_width, s.dilation_height, s.dilation_width, s.pad_top, s.pad_left,
          static_cast<int>(s.relu), static_cast<int>(s.activation), static_cast<int>(s.stream)})
      out << ' ' << number;
    out << ' ' << s.slope;
  }
  return out.str();
}

ShapeClass::ShapeClass(const NetworkSpec& spec, Plan plan, Precision precision,
                       const DeviceImages& images, Runtime& runtime, Arena& arena)
    : plan_(std::move(plan)),
      memory_(make_device_memory(plan_, moment_count(spec.optimizer), spec.optimizer.ema > 0.0,
                                 precision)),
      images_(images),
      program_(make_program(plan_, memory_, images.view())),
      runtime_(runtime),
      arena_(arena) {
  const auto offset = arena_.take(kListsBytes);
  if (!offset) return;
  lists_offset_ = *offset;
  lists_ = arena_.at(*offset);
}

ShapeClass::~ShapeClass() {
  for (const auto& [part, graph] : graphs_) runtime_.forget(graph.number);
  if (lists_offset_ >= 0) arena_.give(lists_offset_);
}

ShapeClass::Graph& ShapeClass::graph(TrialProgress::Phase part, std::size_t active) {
  const int bucket = bucket_of(active);
  const auto known = graphs_.find({part, bucket});
  if (known != graphs_.end()) return known->second;
  std::vector<Launch> launches = part == TrialProgress::Phase::train        ? program_.train
                                 : part == TrialProgress::Phase::validation ? program_.validate
                                                                            : program_.test;
  const auto* list =
      reinterpret_cast<const std::int32_t*>(lists_ + static_cast<int>(part) * kListBytes);
  // Slots lie anywhere in the arena: their numbers count its units.
  bind(launches, {arena_.at(0), Arena::kUnit, list}, bucket);
  for (std::size_t i = 1; i < launches.size(); ++i) launches[i].overlaps = overlap;
  Graph fresh;
  fresh.number = runtime_.capture(launches);
  fresh.bucket = bucket;
  return graphs_[{part, bucket}] = std::move(fresh);
}

bool ShapeClass::prepare(TrialProgress::Phase part, const std::vector<std::int64_t>& offsets) {
  const std::size_t known = graphs_.size();
  const Graph& work = graph(part, offsets.size());
  std::vector<std::int32_t> active(static_cast<std::size_t>(work.bucket), -1);
  for (std::size_t i = 0; i < offsets.size(); ++i)
    active[i] = static_cast<std::int32_t>(offsets[i] / Arena::kUnit);
  runtime_.write(lists_ + static_cast<int>(part) * kListBytes, active.data(), 4 * work.bucket);
  return graphs_.size() != known;
}

void ShapeClass::run(TrialProgress::Phase part, std::size_t active, std::int64_t times,
                     int stream) {
  const Graph& work = graph(part, active);
  for (std::int64_t i = 0; i < times; ++i) runtime_.replay(work.number, stream);
}

}  // namespace brood::cnn::cuda
