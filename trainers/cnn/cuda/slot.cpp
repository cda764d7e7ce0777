#include "trainers/cnn/cuda/slot.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/rng.h"
#include "trainers/cnn/cuda/arguments.h"

namespace brood::cnn::cuda {

SlotState make_slot_state(const NetworkSpec& spec, const Plan& plan, std::uint64_t seed) {
  const OptimizerSpec& o = spec.optimizer;
  const ScheduleSpec& s = spec.schedule;
  SlotState out;
  out.seed = seed;
  out.dropout_key = Rng(seed, 0, Purpose::dropout).bits();
  out.train_samples = plan.data.train;
  out.steps_per_epoch = plan.steps_per_epoch();
  out.epochs = spec.epochs;
  out.batch_size = plan.batch_size;
  out.optimizer = static_cast<std::int32_t>(o.kind);
  out.nesterov = o.nesterov;
  out.schedule = static_cast<std::int32_t>(s.kind);
  out.learning_rate = o.learning_rate;
  out.momentum = o.momentum;
  out.beta1 = o.beta1;
  out.beta2 = o.beta2;
  out.epsilon = o.epsilon;
  out.alpha = o.alpha;
  out.weight_decay = o.weight_decay;
  out.clip_norm = o.clip_norm;
  out.ema = o.ema;
  out.label_smoothing = spec.label_smoothing;
  out.warmup_epochs = s.warmup_epochs;
  out.every_epochs = s.every_epochs;
  out.factor = s.factor;
  out.rise = s.rise;
  out.start_factor = s.start_factor;
  out.end_factor = s.end_factor;
  for (const AugmentSpec& change : spec.augment) {
    if (change.kind == AugmentSpec::Kind::mixup) {
      out.mixup_alpha = change.alpha;
    } else if (change.kind == AugmentSpec::Kind::flip || change.pixels > 0) {
      if (out.change_count < kChangesMax)
        out.changes[out.change_count] = {static_cast<std::int32_t>(change.kind), change.pixels,
                                         change.probability};
      ++out.change_count;
    }
  }
  return out;
}

std::vector<SlotDropout> make_slot_dropouts(const Plan& plan) {
  std::vector<SlotDropout> out;
  for (const Step& step : plan.steps)
    if (step.op == Step::Op::dropout)
      out.push_back({static_cast<std::uint32_t>(std::floor(step.rate * 0x1.0p32)),
                     static_cast<float>(1.0 / (1.0 - step.rate))});
  return out;
}

std::string refused_for_device(const NetworkSpec& spec, const Plan& plan) {
  if (make_slot_state(spec, plan, 0).change_count > kChangesMax)
    return "more than " + std::to_string(kChangesMax) +
           " changes of images are not possible on a device; use fewer, or \"devices\": \"cpu\"";
  constexpr std::int64_t kBlocksMax = 65535;  // of a launch's second dimension
  for (const Shape& shape : plan.tensors) {
    const std::int64_t pixels = std::int64_t{1} * shape.height * shape.width * plan.batch_size;
    const std::int64_t elements = pixels * (shape.channels + 7) / 8 * 8;
    if (elements > std::numeric_limits<std::int32_t>::max() - kThreads * kVectorLanes ||
        pixels / kChunkPixels >= kBlocksMax)
      return "a batch of " + std::to_string(plan.batch_size) + " images of " +
             std::to_string(shape.height) + "x" + std::to_string(shape.width) + " with " +
             std::to_string(shape.channels) +
             " channels is too large for a device; use a smaller batch, or \"devices\": \"cpu\"";
  }
  return "";
}

}  // namespace brood::cnn::cuda
