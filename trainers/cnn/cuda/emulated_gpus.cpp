#include "trainers/cnn/cuda/emulated_gpus.h"

#include <cstdlib>
#include <limits>

#include "engine/error.h"
#include "engine/json_library.h"
#include "trainers/data/object_reader.h"

namespace brood::cnn::cuda {

namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

std::string text_of(const Json& json) {
  if (!json.is_string())
    throw UserError(std::string(kEmulatedGpus) + ": " + json.dump() + " should be a text");
  return json.get<std::string>();
}

std::int64_t size_of(const Json& sizes, std::size_t gpu, std::size_t gpus) {
  if (!sizes.is_array() || sizes.size() != gpus || !sizes[gpu].is_number_unsigned())
    throw UserError(std::string(kEmulatedGpus) + ": /sizes: bytes of each GPU, please");
  return sizes[gpu].get<std::int64_t>();
}

EmulatedDevice read_fault(data::ObjectReader& reader) {
  EmulatedDevice out;
  const std::string fault =
      reader.word("fault", "none", {"none", "illegal_address", "hang", "no_memory"});
  out.fault = fault == "illegal_address" ? EmulatedDevice::Fault::illegal_address
              : fault == "hang"          ? EmulatedDevice::Fault::hang
                                         : EmulatedDevice::Fault::none;
  if (fault == "no_memory") out.allocation_fails = 1;
  out.fault_launch = reader.whole("launch", 0, 1, kMost);
  out.fault_learning_rate = reader.real("learning_rate", 0.0, 0.0, 1e38);
  out.fault_step = reader.whole("step", 0, 0, kMost);
  if (const Json* once = reader.find("once")) out.once = text_of(*once);
  out.hang_ends_process = true;  // these are for whole programs
  out.held = reader.whole("held", 0, 0, kMost);
  if (const Json* held_while = reader.find("held_while")) out.held_while = text_of(*held_while);
  return out;
}

// As CUDA_VISIBLE_DEVICES leaves real ones.
std::vector<EmulatedDevice> seen(const std::vector<EmulatedDevice>& all, const Json& visible) {
  std::vector<EmulatedDevice> out;
  if (!visible.is_array() || visible.empty())  // none would mean real ones
    throw UserError(std::string(kEmulatedGpus) + ": /visible: should be a list of numbers of GPUs");
  for (const Json& number : visible) {
    if (!number.is_number_unsigned() || number.get<std::size_t>() >= all.size())
      throw UserError(std::string(kEmulatedGpus) + ": /visible: should be numbers of GPUs");
    out.push_back(all[number.get<std::size_t>()]);
  }
  return out;
}

}  // namespace

std::vector<EmulatedDevice> emulated_gpus() {
  const char* const text = std::getenv(kEmulatedGpus);
  if (text == nullptr || *text == '\0') return {};
  std::vector<Problem> problems;
  std::vector<EmulatedDevice> out;
  const Json json = parse_json(text);
  if (!json.is_object()) throw UserError(std::string(kEmulatedGpus) + " must be a JSON object");
  data::ObjectReader reader(json, "", problems);
  out.resize(static_cast<std::size_t>(reader.whole("gpus", std::nullopt, 1, 64)));
  const Json* const sizes = reader.find("sizes");
  const std::int64_t bytes = reader.whole("bytes", std::int64_t{1} << 28, 1, kMost);
  const std::int64_t only = reader.whole("device", -1, 0, 63);
  const EmulatedDevice faulty = read_fault(reader);
  const Json* const architectures = reader.find("architectures");
  const Json* const visible = reader.find("visible");
  reader.finish();
  for (const Problem& problem : problems)
    throw UserError(std::string(kEmulatedGpus) + ": " + problem.pointer + ": " + problem.message);
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (only < 0 || only == static_cast<std::int64_t>(i)) out[i] = faulty;
    out[i].bytes = sizes == nullptr ? bytes : size_of(*sizes, i, out.size());
    if (architectures == nullptr) continue;
    if (!architectures->is_array() || architectures->size() != out.size())
      throw UserError(std::string(kEmulatedGpus) + ": /architectures: one for each GPU, please");
    out[i].architecture = text_of((*architectures)[i]);
  }
  for (std::size_t i = 0; i < out.size(); ++i) out[i].number = static_cast<int>(i);
  return visible == nullptr ? out : seen(out, *visible);
}

std::vector<Device> describe(const std::vector<EmulatedDevice>& gpus) {
  std::vector<Device> out;
  for (std::size_t i = 0; i < gpus.size(); ++i) {
    out.push_back({"cuda:" + std::to_string(i), "emulated GPU", gpus[i].architecture,
                   static_cast<std::uint64_t>(gpus[i].bytes),
                   "emulated-" + std::to_string(gpus[i].number),
                   static_cast<std::uint64_t>(gpus[i].held)});
  }
  return out;
}

}  // namespace brood::cnn::cuda
