#include "bench/gpu/subject.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <sstream>
#include <utility>

#include "engine/json_library.h"
#include "engine/rng.h"
#include "trainers/cnn/cuda/device_memory.h"
#include "trainers/cnn/cuda/program.h"
#include "trainers/cnn/memory.h"

namespace brood::cnn::cuda {

namespace {

constexpr int kClasses = 10;

data::Decoded made_up(std::int64_t images, std::int64_t image_bytes, std::uint64_t part) {
  Rng rng(1, part, Purpose::synthetic);
  data::Decoded out;
  out.pixels.resize(static_cast<std::size_t>(images * image_bytes));
  for (std::size_t i = 0; i < out.pixels.size();) {
    std::uint64_t bits = rng.bits();
    for (int byte = 0; byte < 8 && i < out.pixels.size(); ++byte, bits >>= 8)
      out.pixels[i++] = static_cast<std::uint8_t>(bits & 255);
  }
  for (std::int64_t i = 0; i < images; ++i)
    out.labels.push_back(static_cast<std::uint16_t>(rng.below(kClasses)));
  return out;
}

Json network_named(const std::string& path, const std::string& net) {
  std::ifstream file(path);
  if (!file) throw UserError(path + ": cannot be opened; give --nets bench/gpu/nets.json");
  std::ostringstream text;
  text << file.rdbuf();
  const Json nets = Json::parse(text.str());
  if (!nets.contains(net)) throw UserError(path + " has no network \"" + net + "\"");
  return nets.at(net);
}

}  // namespace

Options::Options(int argc, char** argv, std::vector<std::string> known) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (std::find(known.begin(), known.end(), word) == known.end()) {
      std::string all;
      for (const std::string& name : known) all += " " + name;
      throw UserError("\"" + word + "\" is no option; there are" + all);
    }
    const bool value = i + 1 < argc && std::string(argv[i + 1]).substr(0, 2) != "--";
    values_[word] = value ? argv[++i] : "";
  }
}

std::string Options::text(const std::string& name, const std::string& otherwise) const {
  const auto at = values_.find(name);
  return at == values_.end() ? otherwise : at->second;
}

double Options::number(const std::string& name, double otherwise) const {
  const std::string value = text(name, "");
  if (value.empty()) return otherwise;
  char* end = nullptr;
  const double out = std::strtod(value.c_str(), &end);
  if (*end != '\0' || out < 0.0)
    throw UserError(name + " wants a number of 0 or more, not \"" + value + "\"");
  return out;
}

std::int64_t Options::whole(const std::string& name, std::int64_t otherwise) const {
  return static_cast<std::int64_t>(number(name, static_cast<double>(otherwise)));
}

std::vector<int> Options::list(const std::string& name, std::vector<int> otherwise) const {
  if (!has(name)) return otherwise;
  std::vector<int> out;
  std::istringstream words(text(name, ""));
  for (std::string word; std::getline(words, word, ',');) out.push_back(std::atoi(word.c_str()));
  if (out.empty() || *std::min_element(out.begin(), out.end()) < 1)
    throw UserError(name + " wants numbers of 1 or more, like 1,2,4");
  return out;
}

std::vector<std::string> Subject::options() {
  return {"--nets", "--net",       "--batch",  "--samples", "--validation",
          "--size", "--precision", "--device", "--overlap"};
}

Subject::Subject(const Options& options, const std::string& wanted, const std::string& device)
    : net(wanted.empty() ? options.text("--net", "tiny") : wanted),
      precision_name(options.text("--precision", "bf16")),
      batch(static_cast<int>(options.whole("--batch", 128))),
      device_(device.empty() ? options.text("--device", "emulated") : device) {
  if (precision_name != "bf16" && precision_name != "fp32")
    throw UserError("--precision wants bf16 or fp32, not \"" + precision_name + "\"");
  precision_ = precision_name == "bf16" ? Precision::bf16 : Precision::fp32;
  overlap_ = options.has("--overlap");
  const Json found = network_named(options.text("--nets", "bench/gpu/nets.json"), net);
  const Json& shape = found.at("data");
  const auto size = static_cast<int>(options.whole("--size", shape[0]));
  const std::int64_t validation = options.whole("--validation", 0);
  const std::int64_t samples = options.whole("--samples", 50000) / batch * batch;
  if (samples < batch) throw UserError("--samples wants at least a batch");

  Json block = {{"name", "cnn"}, {"dataset", "cifar10"}, {"epochs", 1000000}};
  block["batch_size"] = batch;
  block["optimizer"] = {{"name", "sgd"}, {"momentum", 0.9}};
  block["optimizer"]["learning_rate"] = 0.02;
  block["optimizer"]["weight_decay"] = 0.0005;
  block["validation"] = validation;
  block["layers"] = found.at("layers");
  std::vector<Problem> problems;
  spec_ = parse_network(block.dump(), problems);
  for (const Problem& problem : problems) throw UserError(problem.pointer + ": " + problem.message);

  data::Contents contents;
  contents.height = contents.width = size;
  contents.channels = shape[2];
  for (int i = 0; i < kClasses; ++i) contents.class_names.push_back(std::to_string(i));
  contents.train = samples + validation;
  contents.test = 1;
  contents.made_up = true;
  data_ = std::make_shared<const Dataset>(
      data::in_memory(contents, made_up(contents.train, contents.image_bytes(), 1),
                      made_up(contents.test, contents.image_bytes(), 2)));
}

TrainingInput Subject::input(TrialId trial) const {
  TrainingInput out;
  out.spec = spec_;
  out.spec.optimizer.learning_rate = 0.02 / static_cast<double>(1 + trial % 8);
  out.data = data_;
  out.kernels = available_kernels().back();
  out.experiment_seed = 5;
  out.objective = "train_loss";
  return out;
}

Assignment Subject::assignment(TrialId trial, int epochs) const {
  Assignment out;
  out.trial = trial;
  out.last_epoch = epochs;
  out.seed = static_cast<std::uint64_t>(100 + trial);
  return out;
}

std::unique_ptr<Runtime> Subject::runtime() const { return make_bench_runtime(device_); }

Plan Subject::plan() const { return make_plan(spec_, divided(spec_, shape_of(*data_))); }

DeviceMemory Subject::memory() const {
  return make_device_memory(plan(), moment_count(spec_.optimizer), false, precision_);
}

std::int64_t Subject::trial_bytes() const { return device_bytes(spec_, plan(), precision_); }

FusedOptions Subject::fused_options(int trials) const {
  FusedOptions out;
  out.precision = precision_;
  out.overlap_launches = overlap_;
  out.arena_bytes =
      trials * trial_bytes() + static_cast<std::int64_t>(data_->bytes()) + (std::int64_t{16} << 20);
  return out;
}

int Subject::launches() const {
  return static_cast<int>(make_program(plan(), memory(), DeviceData()).train.size());
}

std::unique_ptr<Runtime> make_bench_runtime(const std::string& device) {
  if (device == "emulated") {
    EmulatedDevice emulated;
    emulated.bytes = std::int64_t{4} << 30;
    return make_emulated_runtime(emulated);
  }
  if (!device.starts_with("cuda:"))
    throw UserError("--device wants emulated, or cuda:0 and so on, not \"" + device + "\"");
  return make_cuda_runtime(std::atoi(device.c_str() + 5));
}

int run_bench(const char* name, int (*run)(int, char**), int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return 2;
  }
}

}  // namespace brood::cnn::cuda
