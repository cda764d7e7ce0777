#include "trainers/cnn/gpu.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "engine/error.h"
#include "engine/json_library.h"
#include "trainers/cnn/cuda/device_images.h"
#include "trainers/cnn/cuda/emulated_gpus.h"
#include "trainers/cnn/cuda/fused_engine.h"
#include "trainers/cnn/cuda/slot.h"

namespace brood::cnn {

namespace {

using cuda::Precision;

// The kernels use instructions that older ones lack.
constexpr int kArchitectureMin = 80;

bool too_old(const Device& device) {
  const std::string number =
      device.architecture.starts_with("sm_") ? device.architecture.substr(3) : "0";
  return std::atoi(number.c_str()) < kArchitectureMin;
}

// This process sees that GPU alone, as the first: nothing of it must be made on another.
void see_alone(const std::string& device) {
  const std::string visible = visible_alone(device, std::getenv("CUDA_VISIBLE_DEVICES"));
  ::setenv("CUDA_VISIBLE_DEVICES", visible.c_str(), 1);
  ::setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID", 1);  // the order of find_devices()
}

std::unique_ptr<cuda::Runtime> make_runtime(const std::string& device) {
  const auto emulated = cuda::emulated_gpus();
  if (emulated.empty()) {
    see_alone(device);
    return cuda::make_cuda_runtime(0);
  }
  const auto number = static_cast<std::size_t>(cuda_number(device));
  if (number >= emulated.size()) throw UserError("there is no emulated " + device);
  return cuda::make_emulated_runtime(emulated[number]);
}

// The worker's, or the first that computes in the class.
std::string device_of(const TrainerSetup& setup) {
  if (cuda_number(setup.device) >= 0) return setup.device;
  const Devices usable = usable_gpus();
  for (const Device& device : usable.found) {
    const auto classes = gpu_numeric_classes({device});
    if (std::find(classes.begin(), classes.end(), setup.numeric_class) != classes.end())
      return device.name;
  }
  throw UserError("numeric class \"" + setup.numeric_class +
                  "\": this machine has no GPU that computes in it" +
                  (usable.why_none.empty() ? "" : ": " + usable.why_none));
}

Precision precision_of(const std::string& block) {
  return gpu_precision_part(block) == "/fp32/" ? Precision::fp32 : Precision::bf16;
}

}  // namespace

Devices usable_gpus() {
  Devices out;
  if (const auto emulated = cuda::emulated_gpus(); !emulated.empty()) {
    out.found = cuda::describe(emulated);
    out.driver = "emulated";
    return out;
  }
  out = find_devices();
  if (out.found.empty()) return out;
  if (!cuda::built_with_cuda())
    out.why_none = "this brood was built without CUDA (cmake -DBROOD_CUDA=ON, with a toolkit)";
  else if (std::all_of(out.found.begin(), out.found.end(), too_old))
    out.why_none = "the GPUs found are older than sm_" + std::to_string(kArchitectureMin);
  if (out.why_none.empty())
    std::erase_if(out.found, too_old);
  else
    out.found.clear();
  return out;
}

std::string gpu_warning() {
  if (cuda::emulated_gpus().empty()) return "";
  return std::string("EMULATED GPUs: ") + cuda::kEmulatedGpus +
         " is set, kernels run on the CPU in an emulator, very slowly; this is for tests of brood "
         "itself";
}

std::vector<std::string> gpu_numeric_classes(const std::vector<Device>& gpus) {
  std::vector<std::string> out;
  for (const Device& gpu : gpus)
    for (const Precision precision : {Precision::bf16, Precision::fp32}) {
      std::string name = cuda::device_numeric_class(gpu.architecture, precision);
      if (std::find(out.begin(), out.end(), name) == out.end()) out.push_back(std::move(name));
    }
  return out;
}

Precision gpu_precision(const NetworkSpec& spec) {
  return spec.precision == ComputePrecision::fp32 ? Precision::fp32 : Precision::bf16;
}

std::string gpu_precision_part(const std::string& block) {
  const Json json = parse_json(block);
  const auto at = json.find("precision");
  if (at == json.end() || *at == "auto" || *at == "bf16") return "/bf16/";
  if (*at == "fp32") return "/fp32/";
  throw UserError(
      "/trainer/precision: should be \"auto\", \"bf16\" or \"fp32\", the same for all trials: it "
      "belongs to the numeric class of the experiment");
}

bool wants_gpu(const TrainerSetup& setup) {
  return cuda_number(setup.device) >= 0 ||
         (setup.device.empty() && !architecture_of(setup.numeric_class).empty());
}

void estimate_on_gpu(const NetworkSpec& spec, const data::Contents& data, const Plan& plan,
                     Estimate& out) {
  out.infeasible = cuda::refused_for_device(spec, plan);
  if (!out.infeasible.empty()) return;
  out.bytes = static_cast<std::uint64_t>(cuda::device_bytes(spec, plan, gpu_precision(spec)));
  out.shared_bytes = static_cast<std::uint64_t>(cuda::shared_device_bytes(spec, data, plan.data));
}

namespace {

// By what its plans were made with: this process's own count is a little smaller.
std::int64_t bytes_of(const std::string& device) {
  for (const Device& gpu : usable_gpus().found)
    if (gpu.name == device) return static_cast<std::int64_t>(gpu.bytes);
  return 0;
}

cuda::FusedOptions options_for(const TrainerSetup& setup, const std::string& device) {
  cuda::FusedOptions options;
  options.precision = precision_of(setup.config);
  options.device_bytes = bytes_of(device);
  return options;
}

}  // namespace

std::unique_ptr<Trainer> make_on_gpu(const TrainerSetup& setup, cuda::MakeInput make_input) {
  Offer offer;
  offer.device = device_of(setup);
  offer.slots = setup.slots;
  cuda::FusedOptions options = options_for(setup, offer.device);
  if (setup.choose_slots) options.choose_up_to = setup.slots;
  return cuda::make_fused(offer, setup.objective, std::move(make_input), make_runtime(offer.device),
                          options);
}

std::unique_ptr<Training> make_training_on_gpu(const TrainerSetup& setup, TrainingInput input,
                                               const Assignment& assignment) {
  const std::string device = device_of(setup);
  const cuda::FusedOptions options = options_for(setup, device);  // before it is seen alone
  return cuda::make_lone_training(make_runtime(device), options, std::move(input), assignment);
}

}  // namespace brood::cnn
