// The loss, and what the optimizer makes of the gradients.
#pragma once

#include "trainers/cnn/cuda/random.h"
#include "trainers/cnn/cuda/slot_access.h"

namespace brood::cnn::cuda {
inline namespace BROOD_DEVICE_SPACE {

#include "trainers/cnn/schedule_body.h"

// The learning rate of this step, and the factors of the update as Network::step and follow_average
// have them.
BROOD_DEVICE void schedule_step(SlotState& s) {
  s.rate = scheduled_rate(s, s.step);
  const double t = static_cast<double>(s.step + 1);  // counts from 1
  const auto kind = static_cast<OptimizerSpec::Kind>(s.optimizer);
  s.sgd_rate = static_cast<float>(s.rate);
  s.decay = static_cast<float>(s.weight_decay);
  s.shrink = 1.0F;
  if (kind == OptimizerSpec::Kind::adam || kind == OptimizerSpec::Kind::adamw) {
    s.adam_rate = static_cast<float>(s.rate / (1.0 - exact::pow(s.beta1, t)));
    s.correction = static_cast<float>(1.0 / square_root(1.0 - exact::pow(s.beta2, t)));
  }
  if (kind == OptimizerSpec::Kind::adamw) {
    s.decay = 0.0F;
    s.shrink = static_cast<float>(1.0 - s.rate * s.weight_decay);
  }
  s.keep = static_cast<float>(smaller(s.ema, (1.0 + t) / (10.0 + t)));
}

// What the output for a class should be (Network::aim).
struct Aim {
  SampleLabel label;
  double own = 1.0, other = 0.0;  // of its label and its partner's
  double kept = 1.0, all = 0.0;   // smoothed
  bool smooth = false;

  BROOD_DEVICE double of(int c) const {
    double target = c == label.own ? own : 0.0;
    if (c == label.partner && other > 0.0) target += other;
    return smooth ? target * kept + all : target;
  }
};

BROOD_DEVICE Aim aim_of(const SlotState& s, const SampleLabel& label, int classes, bool train) {
  Aim aim;
  aim.label = label;
  if (train && s.mixup_alpha > 0.0) {
    aim.own = label.share;
    aim.other = 1.0 - label.share;
  }
  aim.smooth = train && s.label_smoothing != 0.0;
  aim.kept = 1.0 - s.label_smoothing;
  aim.all = s.label_smoothing / static_cast<double>(classes);
  return aim;
}

// Softmax cross-entropy of a sample, in double as Network::loss, and its gradient.
template <class T>
BROOD_DEVICE SampleLoss sample_loss(const SlotAccess& slot, const LossArguments& args, int n) {
  const SlotState& s = slot.state();
  const T* row = slot.at<T>(args.logits) + n * args.logits.pitch;
  const int classes = args.logits.channels;
  const SampleLabel label = slot.at<SampleLabel>(args.labels)[n];
  const Aim aim = aim_of(s, label, classes, args.train != 0);
  int best = 0;
  for (int c = 1; c < classes; ++c)
    if (to_float(row[c]) > to_float(row[best])) best = c;
  const double most = static_cast<double>(to_float(row[best]));
  double sum = 0.0, hoped = 0.0;
  for (int c = 0; c < classes; ++c) {
    const double value = static_cast<double>(to_float(row[c]));
    sum += exact::exp(value - most);
    hoped += aim.of(c) * value;
  }
  const double share = 1.0 / static_cast<double>(s.samples);
  for (int c = 0; args.train && c < args.slopes.pitch; ++c) {
    double slope = 0.0;
    if (c < classes)
      slope = (exact::exp(static_cast<double>(to_float(row[c])) - most) / sum - aim.of(c)) * share;
    slot.at<T>(args.slopes)[n * args.slopes.pitch + c] = from_float<T>(static_cast<float>(slope));
  }
  // A NaN anywhere makes the sum NaN: such a sample is never counted as right.
  return {exact::log(sum) + most - hoped, best == label.own && sum == sum};
}

// One block for each trial.
template <class T>
BROOD_KERNEL(kThreads)
loss(const LossArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  SlotState& s = slot.state();
  // Beside the loss, as a power takes as long as a sample.
  if (args.train && thread_index() == kThreads - 1) schedule_step(s);
  SampleLoss* losses = slot.at<SampleLoss>(args.losses);
  double sum = 0.0, correct = 0.0;
  for (int n = thread_index(); n < s.samples; n += kThreads) {
    losses[n] = sample_loss<T>(slot, args, n);
    sum += losses[n].loss;
    correct += static_cast<double>(losses[n].correct);
  }
  const double all = sum_of_block(sum, 0), right = sum_of_block(correct, 1);
  const SampleLabel* labels = slot.at<SampleLabel>(args.labels);
  for (int c = thread_index(); !args.train && c < args.logits.channels; c += kThreads) {
    std::int64_t* tally = slot.at<std::int64_t>(args.class_tallies) + 2 * c;
    for (int n = 0; n < s.samples; ++n) {
      if (labels[n].own != c) continue;
      ++tally[0];
      tally[1] += losses[n].correct;
    }
  }
  if (thread_index() > 0) return;
  SlotTally& tally = args.train ? s.train : s.evaluated[args.part];
  tally.loss += all;
  tally.samples += s.samples;
  tally.correct += static_cast<std::int64_t>(right);
  if (args.train && !(all - all == 0.0)) s.nonfinite = 1;
  if (args.train) return;
  std::int64_t& position = s.position[args.part];
  position += s.samples;
  if (position >= args.part_samples) position = 0;
}

// The sum of the squares of kSquareChunk gradients; then, in the last block, what the gradients are
// multiplied by (Network::clip_gradients).
BROOD_KERNEL(kThreads) norm_of_gradients(const UpdateArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const float* gradient = slot.at<float>(args.gradients);
  const std::int64_t first = std::int64_t{block_x()} * kSquareChunk;
  const std::int64_t last = smaller(first + kSquareChunk, args.count);
  double sum = 0.0;
  for (std::int64_t i = first + thread_index(); i < last; i += kThreads) {
    const auto value = static_cast<double>(gradient[i]);
    sum += value * value;
  }
  sum = sum_of_block(sum, 0);
  double* partials = slot.at<double>(args.partials);
  if (thread_index() == 0) partials[block_x()] = sum;
  const auto chunks = static_cast<int>((args.count + kSquareChunk - 1) / kSquareChunk);
  if (!is_last_block(slot, chunks)) return;
  sum = 0.0;
  for (int i = thread_index(); i < chunks; i += kThreads) sum += partials[i];
  sum = sum_of_block(sum, 0);
  if (thread_index() > 0) return;
  SlotState& s = slot.state();
  const double norm = square_root(sum);
  s.clip = 1.0F;
  if (s.clip_norm > 0.0 && norm > s.clip_norm)
    s.clip = static_cast<float>(s.clip_norm / (norm + 1e-6));
  if (!(sum - sum == 0.0)) s.nonfinite = 1;
}

// SGD, Adam, AdamW and RMSprop as kernels_body.h and light_kernels_body.h have them. Returns the
// new weight.
BROOD_DEVICE float updated(const SlotState& s, float w, float gradient, float* first,
                           float* second) {
  const auto momentum = static_cast<float>(s.momentum), epsilon = static_cast<float>(s.epsilon);
  const float slope = gradient + s.decay * w;
  switch (static_cast<OptimizerSpec::Kind>(s.optimizer)) {
    case OptimizerSpec::Kind::sgd: {
      if (!(s.momentum > 0.0)) return w - s.sgd_rate * slope;
      const float speed = momentum * *first + slope;
      *first = speed;
      return w - s.sgd_rate * (s.nesterov ? slope + momentum * speed : speed);
    }
    case OptimizerSpec::Kind::adam:
    case OptimizerSpec::Kind::adamw: {
      const auto beta1 = static_cast<float>(s.beta1), beta2 = static_cast<float>(s.beta2);
      const float m = beta1 * *first + (1.0F - beta1) * slope;
      const float v = beta2 * *second + (1.0F - beta2) * slope * slope;
      *first = m;
      *second = v;
      return s.shrink * w - s.adam_rate * m / (square_root(v) * s.correction + epsilon);
    }
    case OptimizerSpec::Kind::rmsprop: {
      const auto alpha = static_cast<float>(s.alpha);
      const float mean = alpha * *first + (1.0F - alpha) * slope * slope;
      *first = mean;
      float step = slope / (square_root(mean) + epsilon);
      if (s.momentum > 0.0) *second = step = momentum * *second + step;
      return w - s.sgd_rate * step;
    }
  }
  return w;
}

BROOD_DEVICE float averaged(float mean, float value, float keep) {
  return mean + (1.0F - keep) * (value - mean);
}

// A thread for each parameter and, where there are averages, for each running statistic. The first
// one ends the step.
BROOD_KERNEL(kThreads) update(const UpdateArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  SlotState& s = slot.state();
  const std::int64_t i = std::int64_t{block_x()} * kThreads + thread_index();
  if (i == 0) ++s.step;  // read by none of them
  if (s.nonfinite) return;
  if (i < args.count) {
    float* weight = slot.at<float>(args.parameters) + i;
    float gradient = slot.at<float>(args.gradients)[i];
    if (s.clip != 1.0F) gradient *= s.clip;
    *weight = updated(s, *weight, gradient, slot.at<float>(args.first) + i,
                      slot.at<float>(args.second) + i);
    if (args.average < 0) return;
    float* average = slot.at<float>(args.average) + i;
    *average = averaged(*average, *weight, s.keep);
  } else if (args.average >= 0 && i < args.count + args.state_count) {
    float* average = slot.at<float>(args.average_states) + (i - args.count);
    *average = averaged(*average, slot.at<float>(args.states)[i - args.count], s.keep);
  }
}

template <class Visit>
void visit_update_kernels(Visit& visit) {
  visit(KernelId::loss, &loss<float>, &loss<Bf16>, true);
  visit(KernelId::norm_of_gradients, &norm_of_gradients, &norm_of_gradients, true);
  visit(KernelId::update, &update, &update, false);
}

}  // namespace BROOD_DEVICE_SPACE
}  // namespace brood::cnn::cuda
