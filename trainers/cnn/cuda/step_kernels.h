// What frames a step: its schedule, the images it learns from, its end.
#pragma once

#include "trainers/cnn/cuda/random.h"
#include "trainers/cnn/cuda/slot_access.h"

namespace brood::cnn::cuda {
inline namespace BROOD_DEVICE_SPACE {

constexpr std::uint32_t kAugmentPurpose = 8;  // Purpose::augment of engine/rng.h

// Marsaglia, Tsang, as in augment.cpp.
BROOD_DEVICE double gamma_draw_above_one(double alpha, Stream& stream) {
  const double d = alpha - 1.0 / 3.0, c = 1.0 / square_root(9.0 * d);
  while (true) {
    const double x = stream.normal(), root = 1.0 + c * x;
    if (root <= 0.0) continue;
    const double v = root * root * root;
    if (exact::log(stream.uniform()) < 0.5 * x * x + d - d * v + d * exact::log(v)) return d * v;
  }
}

BROOD_DEVICE double gamma_draw(double alpha, Stream& stream) {
  if (alpha >= 1.0) return gamma_draw_above_one(alpha, stream);
  const double greater = gamma_draw_above_one(alpha + 1.0, stream);
  return greater * exact::pow(stream.uniform(), 1.0 / alpha);
}

// In the order of Augmenter::changed.
BROOD_DEVICE void draw_moves(const SlotState& s, int height, int width, Stream& stream,
                             Move* moves) {
  const auto below = [&stream](int n) {
    return static_cast<int>(stream.below(static_cast<std::uint64_t>(n)));
  };
  for (int i = 0; i < s.change_count; ++i) {
    const SlotChange& change = s.changes[i];
    int down = 0, right = 0;
    switch (static_cast<AugmentSpec::Kind>(change.kind)) {
      case AugmentSpec::Kind::flip:
        down = stream.uniform() < change.probability;
        break;
      case AugmentSpec::Kind::translate:
        down = below(2 * change.pixels + 1) - change.pixels;
        right = below(2 * change.pixels + 1) - change.pixels;
        break;
      case AugmentSpec::Kind::cutout:
        down = below(height) - change.pixels / 2;
        right = below(width) - change.pixels / 2;
        break;
      case AugmentSpec::Kind::mixup:
        break;
    }
    moves[i] = {static_cast<std::int16_t>(down), static_cast<std::int16_t>(right)};
  }
}

// A thread for each sample of the batch. What the first one writes is read by none of them.
BROOD_KERNEL(kThreads) begin_step(const StepArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  SlotState& s = slot.state();
  const std::int64_t before = s.step / s.steps_per_epoch, epoch = before + 1;
  const std::int64_t first = (s.step - before * s.steps_per_epoch) * s.batch_size;
  const auto samples = static_cast<std::int32_t>(
      smaller(s.train_samples - first, static_cast<std::int64_t>(s.batch_size)));
  const int own = element_index();
  if (own == 0) {
    s.samples = samples;
    if (first == 0) s.train = SlotTally{};
  }
  if (own >= samples) return;
  Draw& draw = slot.at<Draw>(args.draws)[own];
  draw.sample = slot.at<std::uint32_t>(args.order)[(epoch & 1) * args.order_stride + first + own];
  const Stream all(s.seed, static_cast<std::uint64_t>(epoch), kAugmentPurpose);
  Stream stream = all.split(draw.sample);
  draw_moves(s, args.height, args.width, stream, draw.own);
  if (!(s.mixup_alpha > 0.0)) return;
  draw.partner = args.pool[stream.below(static_cast<std::uint64_t>(args.pool_count))];
  const double one = gamma_draw(s.mixup_alpha, stream), two = gamma_draw(s.mixup_alpha, stream);
  const double share = one + two > 0.0 ? one / (one + two) : 1.0;
  draw.share = larger(share, 1.0 - share);
  Stream partners = all.split(draw.partner);
  draw_moves(s, args.height, args.width, partners, draw.other);
}

// Of a changed image, by going back through its changes.
BROOD_DEVICE int changed_pixel(const SlotState& s, const Move* moves, const Tensor& image,
                               const std::uint8_t* pixels, int y, int x, int channel) {
  constexpr int kBlack = 0, kGrey = 128;  // as in augment.cpp
  for (int i = s.change_count; i-- > 0;) {
    const Move move = moves[i];
    switch (static_cast<AugmentSpec::Kind>(s.changes[i].kind)) {
      case AugmentSpec::Kind::flip:
        if (move.down) x = image.width - 1 - x;
        break;
      case AugmentSpec::Kind::translate:
        y -= move.down;
        x -= move.right;
        if (y < 0 || y >= image.height || x < 0 || x >= image.width) return kBlack;
        break;
      case AugmentSpec::Kind::cutout:
        if (y >= move.down && y < move.down + s.changes[i].pixels && x >= move.right &&
            x < move.right + s.changes[i].pixels)
          return kGrey;
        break;
      case AugmentSpec::Kind::mixup:
        break;
    }
  }
  return pixels[(y * image.width + x) * image.channels + channel];
}

// As Network::set_image.
BROOD_DEVICE float scaled_pixel(int value) {
  return (static_cast<float>(value) / 255.0F - 0.5F) / 0.5F;
}

// A thread for each element of the images.
template <class T>
BROOD_KERNEL(kThreads)
gather_train(const GatherArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const Tensor& image = args.image;
  const SlotState& s = slot.state();
  const Element e = element_of(image, s.samples);
  if (!e.exists) return;
  const int sample = e.pixel / image_pixels(image), place = e.pixel - sample * image_pixels(image);
  const int y = place / image.width, x = place - y * image.width;
  const Draw& draw = slot.at<Draw>(args.draws)[sample];
  const std::int64_t bytes = std::int64_t{image_pixels(image)} * image.channels;
  const bool mixes = s.mixup_alpha > 0.0;
  if (place == 0 && e.channel == 0)
    slot.at<SampleLabel>(args.labels)[sample] = {args.all_labels[draw.sample],
                                                 mixes ? args.all_labels[draw.partner] : 0,
                                                 mixes ? draw.share : 1.0};
  float value = 0.0F;
  if (e.channel < image.channels) {
    value = scaled_pixel(
        changed_pixel(s, draw.own, image, args.pixels + draw.sample * bytes, y, x, e.channel));
    if (mixes) {
      const auto own = static_cast<float>(draw.share), rest = static_cast<float>(1.0 - draw.share);
      const float other = scaled_pixel(
          changed_pixel(s, draw.other, image, args.pixels + draw.partner * bytes, y, x, e.channel));
      value = own * value + rest * other;
    }
  }
  slot.at<T>(image)[e.index] = from_float<T>(value);
}

// A thread for each element of the images; the first block begins the batch. What it writes is read
// by none of them.
template <class T>
BROOD_KERNEL(kThreads)
gather_evaluation(const GatherArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  SlotState& s = slot.state();
  const std::int64_t position = s.position[args.part];
  const auto samples = static_cast<std::int32_t>(
      smaller(args.part_samples - position, static_cast<std::int64_t>(args.batch_max)));
  if (block_x() == 0 && position == 0)
    for (int i = thread_index(); i < 2 * args.classes; i += kThreads)
      slot.at<std::int64_t>(args.class_tallies)[i] = 0;
  if (element_index() == 0) {
    s.samples = samples;
    if (position == 0) s.evaluated[args.part] = SlotTally{};
  }
  const Tensor& image = args.image;
  const Element e = element_of(image, samples);
  if (!e.exists) return;
  const int sample = e.pixel / image_pixels(image), place = e.pixel - sample * image_pixels(image);
  const std::int64_t source = args.samples[position + sample];
  const std::int64_t bytes = std::int64_t{image_pixels(image)} * image.channels;
  if (place == 0 && e.channel == 0)
    slot.at<SampleLabel>(args.labels)[sample] = {args.all_labels[source], 0, 1.0};
  float value = 0.0F;
  if (e.channel < image.channels)
    value = scaled_pixel(args.pixels[source * bytes + place * image.channels + e.channel]);
  slot.at<T>(image)[e.index] = from_float<T>(value);
}

template <class Visit>
void visit_step_kernels(Visit& visit) {
  visit(KernelId::begin_step, &begin_step, &begin_step, false);
  visit(KernelId::gather_train, &gather_train<float>, &gather_train<Bf16>, false);
  visit(KernelId::gather_evaluation, &gather_evaluation<float>, &gather_evaluation<Bf16>, false);
}

}  // namespace BROOD_DEVICE_SPACE
}  // namespace brood::cnn::cuda
