// Steps that work element by element: activations, dropout, sums, channels side by side, gates. A
// thread for each element if nothing else is said, lanes without a channel included, which stay
// zero.
#pragma once

#include "trainers/cnn/cuda/random.h"
#include "trainers/cnn/cuda/slot_access.h"

namespace brood::cnn::cuda {
inline namespace BROOD_DEVICE_SPACE {

#define BROOD_ACTIVATION BROOD_DEVICE
#include "trainers/cnn/activation_body.h"

BROOD_DEVICE float activated(Activation kind, float slope, float x) {
  switch (kind) {
    case Activation::none:
      return x;
    case Activation::relu:
      return x <= 0.0F ? 0.0F : x;
    case Activation::leaky_relu:
      return x <= 0.0F ? slope * x : x;
    case Activation::gelu:
      return x * gelu_gate(x);
    case Activation::silu:
      return x * sigmoid_of(x);
    case Activation::tanh:
      return tanh_of(x);
  }
  return x;
}

// The gradient by x of dy * activated(x), which is y.
BROOD_DEVICE float activation_slope(Activation kind, float slope, float x, float y, float dy) {
  switch (kind) {
    case Activation::none:
      return dy;
    case Activation::relu:
      return y > 0.0F ? dy : 0.0F;
    case Activation::leaky_relu:
      return y > 0.0F ? dy : slope * dy;
    case Activation::gelu:
      return dy * gelu_slope(x);
    case Activation::silu:
      return dy * silu_slope(x);
    case Activation::tanh:
      return dy * (1.0F - y * y);
  }
  return dy;
}

template <class T>
BROOD_DEVICE float get(const SlotAccess& slot, const Tensor& tensor, int index) {
  return to_float(slot.at<T>(tensor)[index]);
}

// y = f(x). A thread for each Lanes, as the next three.
template <class T>
BROOD_KERNEL(kThreads)
activation_forward(const ElementArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const Element e = lanes_of<T>(slot, args.y);
  if (!e.exists) return;
  Lanes<T> lanes = lanes_at(slot.at<T>(args.x), e.index);
  BROOD_UNROLL for (int i = 0; i < Lanes<T>::kCount; ++i) lanes.value[i] =
      activated(static_cast<Activation>(args.activation), args.slope, lanes.value[i]);
  put_lanes(slot.at<T>(args.y), e.index, lanes, false);
}

// y: the gradient by x; a: f(x); b: the gradient by f(x)
template <class T>
BROOD_KERNEL(kThreads)
activation_gradient(const ElementArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const Element e = lanes_of<T>(slot, args.y);
  if (!e.exists) return;
  const Lanes<T> x = lanes_at(slot.at<T>(args.x), e.index);
  const Lanes<T> y = lanes_at(slot.at<T>(args.a), e.index);
  Lanes<T> lanes = lanes_at(slot.at<T>(args.b), e.index);
  BROOD_UNROLL for (int i = 0; i < Lanes<T>::kCount; ++i) lanes.value[i] = activation_slope(
      static_cast<Activation>(args.activation), args.slope, x.value[i], y.value[i], lanes.value[i]);
  put_lanes(slot.at<T>(args.y), e.index, lanes, args.accumulate);
}

// y = a + b
template <class T>
BROOD_KERNEL(kThreads)
add_forward(const ElementArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const Element e = lanes_of<T>(slot, args.y);
  if (!e.exists) return;
  Lanes<T> lanes = lanes_at(slot.at<T>(args.a), e.index);
  const Lanes<T> other = lanes_at(slot.at<T>(args.b), e.index);
  BROOD_UNROLL for (int i = 0; i < Lanes<T>::kCount; ++i) {
    const float sum = lanes.value[i] + other.value[i];
    lanes.value[i] = args.relu && sum <= 0.0F ? 0.0F : sum;
  }
  put_lanes(slot.at<T>(args.y), e.index, lanes, false);
}

// y: the gradient by an input; a: the sum; b: its gradient
template <class T>
BROOD_KERNEL(kThreads)
add_gradient(const ElementArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const Element e = lanes_of<T>(slot, args.y);
  if (!e.exists) return;
  Lanes<T> lanes = lanes_at(slot.at<T>(args.b), e.index);
  const Lanes<T> sum = lanes_at(slot.at<T>(args.a), e.index);
  BROOD_UNROLL for (int i = 0; i < Lanes<T>::kCount; ++i) if (args.relu && !(sum.value[i] > 0.0F))
      lanes.value[i] = 0.0F;
  put_lanes(slot.at<T>(args.y), e.index, lanes, args.accumulate);
}

// y = x where the element stays, scaled; forward and backward. Elements of the stream count
// (sample, row, column, channel) with the channels padded to a multiple of 8, as on the CPU.
template <class T>
BROOD_KERNEL(kThreads)
dropout(const ElementArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const Element e = element_of(slot, args.y);
  if (!e.exists) return;
  const SlotState& s = slot.state();
  float value = get<T>(slot, args.x, e.index);
  if (args.train && e.channel < args.y.channels) {
    const SlotDropout site = slot.at<SlotDropout>(args.dropouts)[args.site];
    const int padded_channels = (args.y.channels + 7) / 8 * 8;
    const std::int64_t element = std::int64_t{e.pixel} * padded_channels + e.channel;
    const PhiloxBlock words =
        philox({{static_cast<std::uint32_t>(element / 4), static_cast<std::uint32_t>(args.site + 1),
                 static_cast<std::uint32_t>(s.step), static_cast<std::uint32_t>(s.step >> 32)}},
               s.dropout_key);
    const int word = static_cast<int>(element % 4);
    const std::uint32_t drawn = word == 0   ? words.word[0]
                                : word == 1 ? words.word[1]
                                : word == 2 ? words.word[2]
                                            : words.word[3];
    value = drawn >= site.threshold ? value * site.scale : 0.0F;
  }
  put(slot.at<T>(args.y), e.index, value, args.accumulate);
}

// A thread for each pixel and each lane written.
template <class T>
BROOD_KERNEL(kThreads)
copy_channels(const CopyArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const int lanes = args.channels + args.zeros, pixel = element_index() / lanes;
  const int lane = element_index() - pixel * lanes;
  if (pixel >= slot.samples() * image_pixels(args.to)) return;
  float value = 0.0F;
  if (lane < args.channels)
    value = to_float(slot.at<T>(args.from)[pixel * args.from.pitch + args.from_first + lane]);
  put(slot.at<T>(args.to), pixel * args.to.pitch + args.to_first + lane, value, args.accumulate);
}

// The factor of an element of a: of its sample and channel.
template <class T>
BROOD_DEVICE float factor_of(const SlotAccess& slot, const ElementArguments& args,
                             const Element& e) {
  const int sample = e.pixel / image_pixels(args.y);
  return sigmoid_of(get<T>(slot, args.b, sample * args.b.pitch + e.channel));
}

// y = a * sigmoid(b), one number of b per sample and channel; a may be the gradient.
template <class T>
BROOD_KERNEL(kThreads)
gate_forward(const ElementArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const Element e = element_of(slot, args.y);
  if (!e.exists) return;
  const float value = get<T>(slot, args.a, e.index) * factor_of<T>(slot, args, e);
  put(slot.at<T>(args.y), e.index, value, args.accumulate);
}

// y: the gradient by b of the product's gradient x; a: what the gate is for. A thread for each
// element of y.
template <class T>
BROOD_KERNEL(kThreads)
gate_sums(const ElementArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const Element e = element_of(slot, args.y);
  if (!e.exists) return;
  const int pixels = image_pixels(args.a);
  float sum = 0.0F;
  for (int p = 0; e.channel < args.a.channels && p < pixels; ++p) {
    const int at = (e.pixel * pixels + p) * args.a.pitch + e.channel;
    sum = multiply_add(get<T>(slot, args.a, at), get<T>(slot, args.x, at), sum);
  }
  const float factor = sigmoid_of(get<T>(slot, args.b, e.index));
  put(slot.at<T>(args.y), e.index, sum * factor * (1.0F - factor), args.accumulate);
}

template <class Visit>
void visit_element_kernels(Visit& visit) {
  visit(KernelId::activation_forward, &activation_forward<float>, &activation_forward<Bf16>, false);
  visit(KernelId::activation_gradient, &activation_gradient<float>, &activation_gradient<Bf16>,
        false);
  visit(KernelId::add_forward, &add_forward<float>, &add_forward<Bf16>, false);
  visit(KernelId::add_gradient, &add_gradient<float>, &add_gradient<Bf16>, false);
  visit(KernelId::dropout, &dropout<float>, &dropout<Bf16>, false);
  visit(KernelId::copy_channels, &copy_channels<float>, &copy_channels<Bf16>, false);
  visit(KernelId::gate_forward, &gate_forward<float>, &gate_forward<Bf16>, false);
  visit(KernelId::gate_sums, &gate_sums<float>, &gate_sums<Bf16>, false);
}

}  // namespace BROOD_DEVICE_SPACE
}  // namespace brood::cnn::cuda
