// What a trial's slot of device memory begins with: everything in which fused trials may differ.
//
// The host fills it when a trial is admitted, kernels carry it on. All scalars that are computed
// from the config are computed as the CPU does, in double, so that a schedule has the same bits on
// both.
#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

#include "trainers/cnn/network_spec.h"
#include "trainers/cnn/plan.h"

namespace brood::cnn::cuda {

constexpr int kChangesMax = 16;  // of images; a config with more is refused

// One change of training images (augment.h).
struct SlotChange {
  std::int32_t kind = 0;     // AugmentSpec::Kind
  std::int32_t pixels = 0;   // translate, cutout
  double probability = 0.0;  // flip
};

// Sums over the samples seen so far of a part of the data.
struct SlotTally {
  double loss = 0.0;
  std::int64_t samples = 0, correct = 0;
};

struct SlotState {
  // --- of the trial: kernels only read it ---
  std::uint64_t seed = 0, dropout_key = 0;
  std::int64_t train_samples = 0, steps_per_epoch = 1, epochs = 1;
  std::int32_t batch_size = 1;  // at most that of the class
  std::int32_t optimizer = 0;   // OptimizerSpec::Kind
  std::int32_t nesterov = 0;
  std::int32_t schedule = 0;  // ScheduleSpec::Kind
  double learning_rate = 0.0, momentum = 0.0, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double alpha = 0.99, weight_decay = 0.0, clip_norm = 0.0, ema = 0.0, label_smoothing = 0.0;
  double warmup_epochs = 0.0, every_epochs = 1.0, factor = 0.1;
  double rise = 0.3, start_factor = 0.04, end_factor = 4e-6;
  double mixup_alpha = 0.0;  // 0: images are not mixed
  std::int32_t change_count = 0;
  std::int32_t unused = 0;
  SlotChange changes[kChangesMax];

  // --- progress, what a checkpoint needs ---
  // Training batches done since the start. The epoch under way is step / steps_per_epoch + 1; its
  // order lies in half `epoch & 1` of the slot's order array.
  std::int64_t step = 0;
  std::int64_t position[2] = {};  // in the validation and test part: samples evaluated
  // A tally is cleared by the first batch of an epoch or of an evaluation.
  SlotTally train, evaluated[2];  // evaluated: validation, test

  // --- flags ---
  // A loss or a gradient was not finite: weights are left alone from then on. The tally shows the
  // loss as it was.
  std::int32_t nonfinite = 0;

  // --- of the batch under way; of no use outside a step ---
  std::int32_t samples = 0;  // in it
  double rate = 0.0;         // the learning rate, as schedule.h has it
  float sgd_rate = 0.0F, adam_rate = 0.0F, correction = 1.0F, decay = 0.0F, shrink = 1.0F;
  float keep = 0.0F;          // what the average keeps
  float clip = 1.0F;          // what gradients are multiplied by
  std::uint32_t arrived = 0;  // blocks, of a launch whose last one goes on; else 0
};
static_assert(std::is_trivially_copyable_v<SlotState>);

// Of a dropout layer, at place Step::stream - 1 of the slot's array.
struct SlotDropout {
  std::uint32_t threshold = 0;  // words below it drop
  float scale = 1.0F;           // of what stays
};

// Of a trial that starts: step 0. Where a trial goes on, the host sets the progress itself.
SlotState make_slot_state(const NetworkSpec& spec, const Plan& plan, std::uint64_t seed);
std::vector<SlotDropout> make_slot_dropouts(const Plan& plan);

// Why a trial cannot run on a device, as a message for the config; empty: it can.
std::string refused_for_device(const NetworkSpec& spec, const Plan& plan);

}  // namespace brood::cnn::cuda
