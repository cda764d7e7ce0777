// Goal: what is decided before anything runs on a device is sound. Method: memory layouts and
// launches of random networks are looked at as plain data; those of the bench's networks are
// compared with a golden file, which BROOD_GOLDEN=rewrite writes anew.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

#include "engine/json_library.h"
#include "tests/gpu_networks.h"
#include "trainers/cnn/cuda/arguments.h"
#include "trainers/cnn/cuda/program.h"
#include "trainers/cnn/cuda/shape_class.h"
#include "trainers/cnn/memory.h"

namespace brood::cnn::cuda {
namespace {

struct Built {
  Built(const NetworkSpec& spec, const DataShape& data, Precision precision)
      : plan(make_plan(spec, data)) {
    if (!plan.infeasible.empty() || !refused_for_device(spec, plan).empty()) return;
    memory =
        make_device_memory(plan, moment_count(spec.optimizer), spec.optimizer.ema > 0.0, precision);
    DeviceData parts;
    parts.train.count = data.train;
    parts.validation.count = data.validation;
    parts.test.count = data.test;
    program = make_program(plan, memory, parts);
    possible = true;
  }

  std::int64_t bytes_of(const Tensor& t) const {
    return std::int64_t{1} * plan.batch_size * t.height * t.width * t.pitch *
           (memory.precision == Precision::fp32 ? 4 : 2);
  }

  Plan plan;
  DeviceMemory memory;
  Program program;
  bool possible = false;
};

// Calls back for random networks in both precisions, with and without averages; how many there
// were.
template <class Look>
int look_at_random_networks(Look look) {
  int seen = 0;
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    RandomLayers random(seed);
    NetworkSpec spec;
    spec.layers = random.list(6);
    spec.batch_size = random.between(1, 40);
    spec.optimizer.ema = random.chance(0.3) ? 0.99 : 0.0;
    spec.optimizer.kind =
        random.chance(0.5) ? OptimizerSpec::Kind::sgd : OptimizerSpec::Kind::adamw;
    DataShape data;
    data.height = random.between(6, 33);
    data.width = random.between(6, 33);
    data.channels = random.between(1, 4);
    data.classes = random.between(2, 12);
    data.train = 100;
    data.validation = random.between(0, 50);
    data.test = 30;
    for (const Precision precision : {Precision::fp32, Precision::bf16}) {
      const Built built(spec, data, precision);
      if (!built.possible) continue;
      SCOPED_TRACE("seed " + std::to_string(seed));
      look(built);
      ++seen;
    }
  }
  return seen;
}

// --- memory ---

struct Piece {
  std::string name;
  std::int64_t first = 0, bytes = 0;
};

// All that lies in a slot as long as its trial is there, or for a step at least; gradients of
// tensors, which share memory, as one piece.
std::vector<Piece> pieces_of(const Built& built) {
  const DeviceMemory& m = built.memory;
  const Plan& plan = built.plan;
  std::vector<Piece> out;
  const auto add = [&out](const std::string& name, std::int64_t first, std::int64_t bytes) {
    if (first >= 0 && bytes > 0) out.push_back({name, first, bytes});
  };
  add("state", m.state, sizeof(SlotState));
  add("order", m.order, 2 * 4 * m.order_stride);
  add("class tallies", m.class_tallies, std::int64_t{2 * 2 * 8} * plan.data.classes);
  add("parameters", m.parameters, 4 * m.parameter_count);
  add("gradients", m.gradients, 4 * m.parameter_count);
  for (int i = 0; i < m.moments; ++i)
    add("moment " + std::to_string(i), m.moment[i], 4 * m.parameter_count);
  add("states", m.states, 4 * m.state_count);
  if (m.averages) add("average", m.average, 4 * m.parameter_count);
  if (m.averages) add("average states", m.average_states, 4 * m.state_count);
  std::int64_t first = -1, last = -1;
  for (std::size_t t = 0; t < plan.tensors.size(); ++t) {
    add("value " + std::to_string(t), m.values[t].offset, built.bytes_of(m.values[t]));
    const Tensor& slope = m.slopes[t];
    if (slope.offset < 0) continue;
    if (first < 0 || slope.offset < first) first = slope.offset;
    last = std::max(last, slope.offset + built.bytes_of(slope));
  }
  add("slopes", first, last - first);
  add("draws", m.draws, plan.batch_size * static_cast<std::int64_t>(sizeof(Draw)));
  add("labels", m.labels, plan.batch_size * static_cast<std::int64_t>(sizeof(SampleLabel)));
  add("losses", m.losses, plan.batch_size * static_cast<std::int64_t>(sizeof(SampleLoss)));
  add("partials", m.partials, m.partial_bytes);
  for (std::size_t i = 0; i < plan.steps.size(); ++i)
    if (m.selected[i] >= 0)
      add("selected", m.selected[i],
          built.bytes_of(m.values[static_cast<std::size_t>(
              plan.steps[static_cast<std::size_t>(m.paired[i])].output)]));
  add("norm partials", m.norm_partials, m.norm_partial_bytes);
  return out;
}

TEST(DeviceMemory, PiecesLieApartInsideTheSlotAtMultiplesOf256) {
  const int seen = look_at_random_networks([](const Built& built) {
    std::vector<Piece> pieces = pieces_of(built);
    std::sort(pieces.begin(), pieces.end(),
              [](const Piece& a, const Piece& b) { return a.first < b.first; });
    EXPECT_EQ(built.memory.slot_bytes % 256, 0);
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const Piece& piece = pieces[i];
      EXPECT_EQ(piece.first % 256, 0) << piece.name;
      const bool is_last = i + 1 == pieces.size();
      EXPECT_LE(piece.first + piece.bytes, is_last ? built.memory.slot_bytes : pieces[i + 1].first)
          << piece.name << " and " << (is_last ? "the end" : pieces[i + 1].name);
    }
  });
  EXPECT_GT(seen, 100);
}

// Who has left a gradient in each 256 bytes of the slot, as steps run backward.
class Owners {
 public:
  explicit Owners(const Built& built) : built_(built) {}

  void write(int tensor) {
    each_unit(tensor, [&](int& owner) { owner = tensor; });
    written_.insert({tensor, true});
  }
  void read(int tensor) {
    bool whole = true;
    each_unit(tensor, [&](const int& owner) { whole = whole && owner == tensor; });
    EXPECT_TRUE(whole) << "the gradient of tensor " << tensor << " is overwritten";
  }
  // To add to what is there.
  void write_again(int tensor) {
    if (written_.contains(tensor)) read(tensor);
    write(tensor);
  }

 private:
  template <class Visit>
  void each_unit(int tensor, Visit visit) {
    const Tensor& slope = built_.memory.slopes[static_cast<std::size_t>(tensor)];
    if (slope.offset < 0) return;
    const std::int64_t bytes = built_.bytes_of(slope);
    for (std::int64_t unit = slope.offset / 256; unit * 256 < slope.offset + bytes; ++unit)
      visit(owners_[unit]);
  }

  const Built& built_;
  std::map<std::int64_t, int> owners_;
  std::map<int, bool> written_;
};

TEST(DeviceMemory, AGradientIsKeptUntilItWasReadForTheLastTime) {
  look_at_random_networks([](const Built& built) {
    const std::vector<bool> wanted = tensors_with_gradient(built.plan);
    const auto& steps = built.plan.steps;
    const auto& paired = built.memory.paired;
    Owners owners(built);
    owners.write(steps.back().output);
    for (std::size_t i = steps.size(); i-- > 0;) {
      const Step& step = steps[i];
      const bool pool = step.op != Step::Op::add;
      if (!wanted[static_cast<std::size_t>(step.output)]) continue;
      // A pool that is one with a norm does nothing, and the norm reads the pool's gradient; a sum
      // passes its own on to the other one.
      const bool is_paired =
          std::find(paired.begin(), paired.end(), static_cast<int>(i)) != paired.end();
      if (is_paired && pool) continue;
      const int pair = paired[i];
      const int read = pair < 0 ? step.output : steps[static_cast<std::size_t>(pair)].output;
      owners.read(read);
      for (std::size_t sum = 0; sum < steps.size(); ++sum)
        if (built.memory.skips[sum] == static_cast<int>(i)) owners.read(steps[sum].output);
      for (const int input : step.inputs)
        if (wanted[static_cast<std::size_t>(input)]) owners.write_again(input);
      owners.read(read);  // blocks read while others write
    }
  });
}

struct Part {
  std::int64_t first = 0, bytes = 0;
  std::size_t step = 0;
};

// Of gradients that are summed from chunks, as the launches say.
std::vector<Part> partial_sums(const Built& built) {
  std::vector<Part> out;
  for (const Launch& launch : built.program.train) {
    if (launch.kernel != KernelId::sum_partials) continue;
    SumArguments a{};
    std::memcpy(&a, launch.arguments.data(), sizeof a);
    for (int i = 0; i < a.count; ++i) {
      const SumEntry& entry = a.entries[i];
      const auto& places = entry.bias ? built.memory.bias_partials : built.memory.weight_partials;
      const auto step = std::find(places.begin(), places.end(), entry.partials);
      EXPECT_NE(step, places.end());
      const std::int64_t items = std::int64_t{1} * built.plan.batch_size * entry.items_per_sample;
      const std::int64_t chunks = (items + entry.items_per_chunk - 1) / entry.items_per_chunk;
      out.push_back({entry.partials, chunks * entry.count * (entry.bias ? 8 : 4),
                     static_cast<std::size_t>(step - places.begin())});
    }
  }
  return out;
}

bool overlap(std::int64_t first, std::int64_t bytes, std::int64_t other, std::int64_t other_bytes) {
  return first < other + other_bytes && other < first + bytes;
}

TEST(DeviceMemory, SumsOfChunksLieWhereNoOtherIsAndNothingIsReadAnyMore) {
  int summed = 0;
  look_at_random_networks([&summed](const Built& built) {
    // The step whose backward pass is the last that reads a value.
    std::vector<std::size_t> read(built.plan.tensors.size(), built.plan.steps.size());
    for (std::size_t i = built.plan.steps.size(); i-- > 0;) {
      const auto reads = [&](int tensor) { read[static_cast<std::size_t>(tensor)] = i; };
      const Step& step = built.plan.steps[i];
      for (const int input : step.inputs) reads(input);
      reads(step.output);
      const int pair = built.memory.paired[i];
      if (pair >= 0) reads(built.plan.steps[static_cast<std::size_t>(pair)].output);
    }
    const std::vector<Part> parts = partial_sums(built);
    for (const Part& part : parts) {
      ++summed;
      EXPECT_EQ(part.first % 256, 0);
      for (const Part& other : parts)
        EXPECT_EQ(overlap(part.first, part.bytes, other.first, other.bytes), &part == &other);
      for (const Piece& piece : pieces_of(built)) {
        if (!overlap(part.first, part.bytes, piece.first, piece.bytes)) continue;
        ASSERT_TRUE(piece.name.starts_with("value ")) << piece.name;
        EXPECT_GT(read[std::stoul(piece.name.substr(6))], part.step) << piece.name;
      }
    }
  });
  EXPECT_GT(summed, 100);
}

// --- launches ---

void expect_possible(const Launch& launch) {
  SCOPED_TRACE(launch.what);
  EXPECT_NE(launch.kernel, KernelId::count);
  EXPECT_GE(launch.x, 1);
  EXPECT_GE(launch.y, 1);
  EXPECT_LE(launch.y, 65535);
  EXPECT_LE(launch.z, 65535);
  EXPECT_GE(launch.threads, 1);
  EXPECT_LE(launch.threads, 1024);
  EXPECT_TRUE(launch.threads == 1 || launch.threads % 32 == 0);
  EXPECT_GE(launch.shared_bytes, 0);
  EXPECT_LE(launch.shared_bytes, kSharedBytesMax);
  EXPECT_GT(launch.arguments.size(), sizeof(Group));
  EXPECT_LE(launch.arguments.size(), 4096U);  // what a kernel may be given
  EXPECT_NE(launch.what, "");
}

TEST(Launches, AreWithinTheLimitsOfEveryDeviceForAnyNumberOfTrials) {
  look_at_random_networks([](const Built& built) {
    Program program = built.program;
    for (auto* list : {&program.train, &program.validate, &program.test}) {
      bind(*list, {}, ShapeClass::kTrialsMax);
      for (const Launch& launch : *list) expect_possible(launch);
    }
    EXPECT_FALSE(program.train.empty());
    EXPECT_EQ(program.validate.empty(), built.plan.data.validation == 0);
    EXPECT_FALSE(program.test.empty());
  });
}

TEST(Launches, DifferByNothingButBlocksOfTrials) {
  look_at_random_networks([](const Built& built) {
    std::vector<Launch> one = built.program.train, many = built.program.train;
    unsigned char slot[256];
    const std::int32_t active[3] = {0, -1, 2};
    bind(one, {slot, 256, active}, 1);
    bind(many, {slot, 256, active}, 3);
    ASSERT_EQ(one.size(), many.size());
    for (std::size_t i = 0; i < one.size(); ++i) {
      EXPECT_EQ(one[i].z, 1);
      EXPECT_EQ(many[i].z, 3);
      EXPECT_EQ(one[i].x, many[i].x);
      EXPECT_EQ(one[i].y, many[i].y);
      EXPECT_EQ(one[i].arguments, many[i].arguments);
    }
  });
}

// --- the bench's networks ---

std::string source_file(const std::string& name) {
  const char* source = std::getenv("BROOD_SOURCE_DIR");
  if (source == nullptr) throw std::runtime_error("set BROOD_SOURCE_DIR to the source tree");
  return std::string(source) + "/" + name;
}

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

NetworkSpec network_of(const Json& layers) {
  const Json block = {{"name", "cnn"},
                      {"dataset", "cifar10"},
                      {"epochs", 1},
                      {"batch_size", 128},
                      {"layers", layers},
                      {"optimizer", {{"name", "sgd"}, {"momentum", 0.9}, {"learning_rate", 0.1}}}};
  std::vector<Problem> problems;
  NetworkSpec spec = parse_network(block.dump(), problems);
  for (const Problem& problem : problems) ADD_FAILURE() << problem.pointer << problem.message;
  return spec;
}

void describe(const std::string& name, const Json& net, Precision precision, bool whole,
              std::ostream& out) {
  DataShape data;
  data.height = net.at("data")[0];
  data.width = net.at("data")[1];
  data.channels = net.at("data")[2];
  data.classes = net.at("data")[3];
  data.train = 50000;
  data.validation = data.test = 5000;
  const Built built(network_of(net.at("layers")), data, precision);
  ASSERT_TRUE(built.possible) << name;
  out << "== " << name << (precision == Precision::fp32 ? " fp32: " : " bf16: ")
      << built.program.train.size() << " launches a step, " << built.program.test.size()
      << " a batch of an evaluation, " << built.memory.slot_bytes << " bytes a trial\n";
  if (!whole) return;
  for (const auto* list : {&built.program.train, &built.program.test}) {
    for (const Launch& launch : *list)
      out << launch.what << "  " << launch.x << " x " << launch.y << " blocks of " << launch.threads
          << ", " << launch.shared_bytes << " bytes shared\n";
    out << '\n';
  }
}

TEST(Launches, OfTheBenchesNetworksAreTheRecordedOnes) {
  const Json nets = Json::parse(text_of(source_file("bench/gpu/nets.json")));
  std::ostringstream now;
  for (const auto& [name, net] : nets.items()) {
    describe(name, net, Precision::bf16, name == "plain", now);
    describe(name, net, Precision::fp32, name == "tiny", now);
  }
  const std::string path = source_file("tests/golden/gpu_launches.txt");
  const char* mode = std::getenv("BROOD_GOLDEN");
  if (mode != nullptr && std::string(mode) == "rewrite") std::ofstream(path) << now.str();
  EXPECT_EQ(now.str(), text_of(path)) << "BROOD_GOLDEN=rewrite writes " << path;
}

}  // namespace
}  // namespace brood::cnn::cuda
