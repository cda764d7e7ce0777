#include "trainers/cnn/network.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "engine/error.h"
#include "engine/exact_math.h"
#include "engine/rng.h"
#include "trainers/cnn/fusion.h"

namespace brood::cnn {

namespace {

void* zeroed(std::int64_t bytes) {
  // A large block begins on a huge page, where the system has them: fewer address look-ups fail.
  constexpr std::int64_t kHuge = 2 * 1024 * 1024;
  const std::int64_t unit = bytes >= kHuge ? kHuge : 64;
  const auto rounded =
      static_cast<std::size_t>((std::max<std::int64_t>(bytes, 64) + unit - 1) / unit * unit);
  void* block = std::aligned_alloc(static_cast<std::size_t>(unit), rounded);
  if (!block)
    throw UserError("no memory for " + std::to_string(rounded / 1024 / 1024) +
                    " MiB; use a smaller network or batch, or fewer executors");
#if defined(__linux__)
  if (unit == kHuge) madvise(block, rounded, MADV_HUGEPAGE);
#endif
  std::memset(block, 0, static_cast<std::size_t>(bytes));
  return block;
}

View view(const Layout& layout, float* block) {
  return {block + layout.offset, layout.shape, layout.pixel, layout.row, layout.image};
}

// Where element `index` of the logical order (inputs, columns) is stored.
std::int64_t stored_index(const Parameter& parameter, std::int64_t index) {
  if (!parameter.weight) return index;
  const std::int64_t input = index / parameter.columns, column = index % parameter.columns;
  return (column / kPanel * parameter.inputs + input) * kPanel + column % kPanel;
}

std::int64_t count(const Parameter& parameter) { return parameter.inputs * parameter.columns; }

std::vector<float> gather(const Parameter& parameter, const float* data) {
  std::vector<float> out(static_cast<std::size_t>(count(parameter)));
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = data[stored_index(parameter, static_cast<std::int64_t>(i))];
  return out;
}

void scatter(const Parameter& parameter, const std::vector<float>& values, float* data) {
  CHECK(static_cast<std::int64_t>(values.size()) == count(parameter), "sizes were compared");
  for (std::size_t i = 0; i < values.size(); ++i)
    data[stored_index(parameter, static_cast<std::int64_t>(i))] = values[i];
}

// A uniform draw from -b to b has the variance b^2 / 3. Before the softmax no ReLU halves what
// comes through, so half of He's variance does.
double bound_of(const Parameter& parameter) {
  const double variance = parameter.start == Parameter::Start::he       ? 2.0
                          : parameter.start == Parameter::Start::linear ? 1.0
                                                                        : 1.0 / 3.0;
  return std::sqrt(3.0 * variance / static_cast<double>(parameter.fan_in));
}

std::string text(const std::vector<std::int64_t>& shape) {
  std::string out;
  for (const std::int64_t side : shape) out += (out.empty() ? "" : "x") + std::to_string(side);
  return out;
}

}  // namespace

void Network::Free::operator()(void* block) const { std::free(block); }

Network::Network(Plan plan, const OptimizerSpec& optimizer, const Kernels& kernels,
                 double label_smoothing)
    : plan_(std::move(plan)),
      optimizer_(optimizer),
      kernels_(kernels),
      light_(light_kernels_of(kernels)),
      memory_(make_memory(plan_, moment_count(optimizer), optimizer.ema > 0.0)),
      label_smoothing_(label_smoothing) {
  CHECK(plan_.infeasible.empty(), "the plan was checked");
  if (!memory_.too_large.empty()) throw UserError(memory_.too_large);
  floats_.reset(static_cast<float*>(zeroed(memory_.floats * 4)));
  bytes_.reset(static_cast<std::uint8_t*>(zeroed(memory_.byte_count)));
  for (int value = 0; value < 256; ++value)
    scale_[value] = (static_cast<float>(value) / 255.0F - 0.5F) / 0.5F;
  exponent_.resize(static_cast<std::size_t>(plan_.data.classes));
  target_.resize(exponent_.size());
  hits_.resize(static_cast<std::size_t>(plan_.batch_size));
  bind();
}

void Network::bind() {
  find_later_readers();
  overwritten_.resize(plan_.parameters.size());
  layers_.resize(plan_.steps.size());
  // A convolution knows the batch norms beside it: they come first.
  for (const bool norm : {true, false})
    for (std::size_t i = 0; i < plan_.steps.size(); ++i)
      if (!taken_by_norm(plan_, i) && norm == (plan_.steps[i].op == Step::Op::batch_norm))
        layers_[i] = make_layer(binding(i));
  image_ = view(memory_.tensors.front().value, floats_.get());
  logits_ = view(memory_.tensors.back().value, floats_.get());
  logits_gradient_ = view(memory_.tensors.back().gradient, floats_.get());
}

Binding Network::binding(std::size_t i) {
  const auto tensor = [this](int index) -> const TensorMemory& {
    return memory_.tensors[static_cast<std::size_t>(index)];
  };
  const auto gradient = [this](const TensorMemory& t) {
    return t.needs_gradient ? view(t.gradient, floats_.get()) : View{};
  };
  const auto place = [this](int index, std::int64_t base) {
    return index < 0 ? nullptr
                     : block(base + memory_.parameters[static_cast<std::size_t>(index)].offset);
  };
  const Step& step = plan_.steps[i];
  const std::size_t last = takes_next_pool(plan_, i) ? i + 1 : i;
  const TensorMemory& out = tensor(plan_.steps[last].output);
  Binding b;
  b.kernels = &kernels_;
  b.light = &light_;
  b.step = &step;
  b.batch_max = plan_.batch_size;
  for (std::size_t k = 0; k < step.inputs.size(); ++k) {
    const TensorMemory& in = tensor(step.inputs[k]);
    b.xs.push_back(view(in.value, floats_.get()));
    b.dxs.push_back(gradient(in));
    if (spares_[i].input != static_cast<int>(k)) continue;
    spares_[i].sum = b.dxs.back();
    b.dxs.back().data = block(memory_.steps[i].spare);
    spares_[i].spare = b.dxs.back();
  }
  b.x = b.xs.front();
  b.dx = b.dxs.front();
  b.y = view(out.value, floats_.get());
  b.dy = gradient(out);
  b.weight = place(step.weight, memory_.parameter_offset);
  b.bias = place(step.bias, memory_.parameter_offset);
  if (step.op == Step::Op::dense) overwritten_[static_cast<std::size_t>(step.weight)] = true;
  b.weight_gradient = place(step.weight, memory_.gradient_offset);
  b.bias_gradient = place(step.bias, memory_.gradient_offset);
  if (step.state >= 0) {
    const auto state = static_cast<std::size_t>(step.state);
    b.mean = block(memory_.state_offset + memory_.states[state].offset);
    b.variance = block(memory_.state_offset + memory_.states[state + 1].offset);
  }
  b.saved = block(memory_.steps[i].saved);
  b.scratch = block(memory_.scratch_offset);
  b.bytes = bytes_.get() + memory_.steps[last].bytes;
  b.mask_input = memory_.steps[i].mask_input;
  b.dy_masked = memory_.steps[i].dy_masked;
  b.largest = block(memory_.steps[i].largest);
  b.conv_before = i > 0 && has_norm_behind(plan_, i - 1);
  b.conv_behind = conv_behind(plan_, i) >= 0;
  const int before = norm_before(plan_, i);
  if (before >= 0) b.norm_before = layers_[static_cast<std::size_t>(before)]->as_norm();
  if (has_norm_behind(plan_, i)) b.norm_behind = layers_[i + 1]->as_norm();
  return b;
}

// The last reader of a tensor, first in the way back, leaves its gradient where it belongs; what
// the others leave in the spare place is added to it.
void Network::find_later_readers() {
  std::vector<bool> read(plan_.tensors.size(), false);
  spares_.resize(plan_.steps.size());
  for (std::size_t i = plan_.steps.size(); i-- > 0;) {
    const std::vector<int>& inputs = plan_.steps[i].inputs;
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      const auto t = static_cast<std::size_t>(inputs[k]);
      if (read[t] && memory_.tensors[t].needs_gradient) {
        CHECK(spares_[i].input < 0, "there is one spare place");
        spares_[i].input = static_cast<int>(k);
      }
      read[t] = true;
    }
  }
}

void Network::backward(const Pass& pass) {
  for (std::size_t i = layers_.size(); i-- > 0;) {
    clear_halos(static_cast<int>(i), pass.batch);
    if (layers_[i]) layers_[i]->backward(pass);
    const auto& [input, spare, sum] = spares_[i];
    if (input < 0) continue;
    const std::int64_t run = std::int64_t{sum.shape.width} * sum.pixel;
    for (int n = 0; n < pass.batch; ++n)
      for (int y = 0; y < sum.shape.height; ++y)
        light_.accumulate(spare.at(n, y), run, sum.at(n, y));
  }
}

std::vector<float> starting_values(const Parameter& parameter, Rng rng) {
  std::vector<float> values(static_cast<std::size_t>(count(parameter)));
  const double bound = bound_of(parameter);
  for (float& value : values) {
    if (parameter.start == Parameter::Start::one)
      value = 1.0F;
    else if (parameter.start != Parameter::Start::zero)
      value = static_cast<float>(bound * (2 * rng.uniform() - 1));
  }
  return values;
}

void Network::initialise(std::uint64_t seed) {
  const Rng all(seed, 0, Purpose::init);
  std::uint32_t part = 0;
  for (const Slot& slot : slots()) {
    const Parameter& parameter = *slot.parameter;
    std::vector<float> values(static_cast<std::size_t>(count(parameter)));
    if (slot.prefix.empty()) values = starting_values(parameter, all.split(part++));
    scatter(parameter, values, slot.data);
  }
  if (optimizer_.ema == 0.0) return;
  std::copy_n(block(memory_.parameter_offset), memory_.parameter_floats,
              block(memory_.average_offset));
  std::copy_n(block(memory_.state_offset), memory_.state_floats,
              block(memory_.state_average_offset));
}

void Network::set_image(int sample, const std::uint8_t* pixels) {
  const Shape& shape = image_.shape;
  for (int y = 0; y < shape.height; ++y) {
    float* to = image_.at(sample, y);
    for (int x = 0; x < shape.width; ++x, to += image_.pixel)
      for (int c = 0; c < shape.channels; ++c) to[c] = scale_[*pixels++];
  }
}

void Network::set_mixed_image(int sample, const std::uint8_t* pixels, const std::uint8_t* other,
                              double share) {
  const auto own = static_cast<float>(share), rest = static_cast<float>(1.0 - share);
  const Shape& shape = image_.shape;
  for (int y = 0; y < shape.height; ++y) {
    float* to = image_.at(sample, y);
    for (int x = 0; x < shape.width; ++x, to += image_.pixel)
      for (int c = 0; c < shape.channels; ++c)
        to[c] = own * scale_[*pixels++] + rest * scale_[*other++];
  }
}

void Network::forward(const Pass& pass) {
  for (const auto& layer : layers_)
    if (layer) layer->forward(pass);
}

BatchResult Network::train(std::span<const std::uint16_t> labels, std::uint64_t dropout_key,
                           std::uint64_t batch_index, const Mixing* mixing) {
  CHECK(!averaged_, "the average is for evaluations");
  const Pass pass{static_cast<int>(labels.size()), true, dropout_key, batch_index};
  forward(pass);
  const BatchResult result = loss(labels, true, mixing);
  for (std::size_t i = 0; i < memory_.parameters.size(); ++i)
    if (!overwritten_[i])
      std::fill_n(block(memory_.gradient_offset + memory_.parameters[i].offset),
                  memory_.parameters[i].size, 0.0F);
  backward(pass);
  return result;
}

// Of the gradients that the backward pass of a step writes first: others lay in their place.
void Network::clear_halos(int step, int batch) {
  for (const TensorMemory& tensor : memory_.tensors) {
    const Layout& g = tensor.gradient;
    const std::int64_t run = std::int64_t{g.shape.width} * g.pixel;
    if (!tensor.needs_gradient || tensor.gradient_birth != step || (g.before == 0 && g.row == run))
      continue;
    for (int n = 0; n < std::min(batch, tensor.gradient_images); ++n) {
      float* image = block(g.offset) + n * g.image;
      std::fill_n(image - g.before, g.before, 0.0F);
      for (int y = 0; y + 1 < g.shape.height; ++y)
        std::fill_n(image + y * g.row + run, g.row - run, 0.0F);
      const std::int64_t end = (g.shape.height - 1) * g.row + run;
      std::fill_n(image + end, g.image - g.before - end, 0.0F);
    }
  }
}

BatchResult Network::evaluate(std::span<const std::uint16_t> labels) {
  forward({static_cast<int>(labels.size()), false, 0, 0});
  return loss(labels, false, nullptr);
}

// Szegedy and others, "Rethinking the Inception architecture", CVPR 2016 (smoothing); Zhang, Cisse,
// Dauphin, Lopez-Paz, "mixup", ICLR 2018.
void Network::aim(std::size_t sample, std::size_t label, bool train, const Mixing* mixing) {
  std::fill(target_.begin(), target_.end(), 0.0);
  if (mixing) {
    target_[label] = mixing->shares[sample];
    target_[mixing->labels[sample]] += 1.0 - mixing->shares[sample];
  } else {
    target_[label] = 1.0;
  }
  if (!train || label_smoothing_ == 0.0) return;
  const double all = label_smoothing_ / static_cast<double>(target_.size());
  for (double& target : target_) target = target * (1.0 - label_smoothing_) + all;
}

// Softmax cross-entropy, in double; the gradient is that of the mean over the batch.
BatchResult Network::loss(std::span<const std::uint16_t> labels, bool train, const Mixing* mixing) {
  BatchResult result;
  const std::size_t classes = exponent_.size();
  const double share = 1.0 / static_cast<double>(labels.size());
  for (std::size_t n = 0; n < labels.size(); ++n) {
    const float* row = logits_.at(static_cast<int>(n));
    const std::size_t label = labels[n];
    aim(n, label, train, mixing);
    std::size_t best = 0;
    for (std::size_t c = 1; c < classes; ++c)
      if (row[c] > row[best]) best = c;
    const double most = static_cast<double>(row[best]);
    double sum = 0.0, hoped = 0.0;
    for (std::size_t c = 0; c < classes; ++c) {
      exponent_[c] = exact::exp(static_cast<double>(row[c]) - most);
      sum += exponent_[c];
      hoped += target_[c] * static_cast<double>(row[c]);
    }
    result.loss += exact::log(sum) + most - hoped;
    // A NaN anywhere makes the sum NaN: such a sample is never counted as right.
    hits_[n] = best == label && sum == sum;
    result.correct += hits_[n];
    if (!train) continue;
    float* to = logits_gradient_.at(static_cast<int>(n));
    for (std::size_t c = 0; c < classes; ++c)
      to[c] = static_cast<float>((exponent_[c] / sum - target_[c]) * share);
  }
  return result;
}

void Network::update(double learning_rate, std::int64_t update_index) {
  if (optimizer_.clip_norm > 0.0) clip_gradients();
  step(learning_rate, update_index);
  if (optimizer_.ema > 0.0) follow_average(update_index);
}

// Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks", ICML 2013;
// the 1e-6 is PyTorch's. Gradients that are not finite stay so.
void Network::clip_gradients() {
  float* gradient = block(memory_.gradient_offset);
  const double norm = std::sqrt(light_.square_sum(gradient, memory_.parameter_floats));
  if (norm > optimizer_.clip_norm)
    light_.scale(gradient, memory_.parameter_floats,
                 static_cast<float>(optimizer_.clip_norm / (norm + 1e-6)));
}

// The first steps keep less, as the starting weights say nothing (TensorFlow's
// ExponentialMovingAverage with num_updates). The running statistics are averaged alike.
void Network::follow_average(std::int64_t update_index) {
  const auto t = static_cast<double>(update_index);
  const auto keep = static_cast<float>(std::min(optimizer_.ema, (1.0 + t) / (10.0 + t)));
  light_.average(block(memory_.parameter_offset), memory_.parameter_floats, keep,
                 block(memory_.average_offset));
  light_.average(block(memory_.state_offset), memory_.state_floats, keep,
                 block(memory_.state_average_offset));
}

void Network::use_average(bool wanted) {
  if (optimizer_.ema == 0.0 || wanted == averaged_) return;
  averaged_ = wanted;
  float* w = block(memory_.parameter_offset);
  std::swap_ranges(w, w + memory_.parameter_floats, block(memory_.average_offset));
  float* states = block(memory_.state_offset);
  std::swap_ranges(states, states + memory_.state_floats, block(memory_.state_average_offset));
}

void Network::step(double learning_rate, std::int64_t update_index) {
  float* w = block(memory_.parameter_offset);
  const float* gradient = block(memory_.gradient_offset);
  float* first = block(memory_.moment_offset);
  const std::int64_t size = memory_.parameter_floats;
  const OptimizerSpec& o = optimizer_;
  const auto decay = static_cast<float>(o.weight_decay);
  if (o.kind == OptimizerSpec::Kind::sgd) {
    kernels_.sgd(w, gradient, o.momentum > 0.0 ? first : nullptr, size,
                 static_cast<float>(learning_rate), static_cast<float>(o.momentum), decay,
                 o.nesterov);
    return;
  }
  if (o.kind == OptimizerSpec::Kind::rmsprop) {
    light_.rmsprop(w, gradient, first, o.momentum > 0.0 ? first + size : nullptr, size,
                   {.rate = static_cast<float>(learning_rate),
                    .alpha = static_cast<float>(o.alpha),
                    .epsilon = static_cast<float>(o.epsilon),
                    .momentum = static_cast<float>(o.momentum),
                    .decay = decay});
    return;
  }
  const bool decoupled = o.kind == OptimizerSpec::Kind::adamw;
  const auto t = static_cast<double>(update_index);
  kernels_.adam(
      w, gradient, first, first + size, size,
      {.beta1 = static_cast<float>(o.beta1),
       .beta2 = static_cast<float>(o.beta2),
       .epsilon = static_cast<float>(o.epsilon),
       .rate = static_cast<float>(learning_rate / (1.0 - exact::pow(o.beta1, t))),
       .correction = static_cast<float>(1.0 / std::sqrt(1.0 - exact::pow(o.beta2, t))),
       .decay = decoupled ? 0.0F : decay,
       .shrink = decoupled ? static_cast<float>(1.0 - learning_rate * o.weight_decay) : 1.0F});
}

std::vector<Network::Slot> Network::slots() const {
  std::vector<Slot> out;
  const auto add = [&](const std::vector<Parameter>& list,
                       const std::vector<ParameterMemory>& places, std::int64_t base,
                       const std::string& prefix) {
    for (std::size_t i = 0; i < list.size(); ++i)
      out.push_back({&list[i], prefix, block(base + places[i].offset)});
  };
  const auto trained = [&](std::int64_t here, std::int64_t average) {
    return averaged_ ? average : here;
  };
  add(plan_.parameters, memory_.parameters,
      trained(memory_.parameter_offset, memory_.average_offset), "");
  add(plan_.states, memory_.states, trained(memory_.state_offset, memory_.state_average_offset),
      "");
  // rmsprop keeps the mean square first.
  const bool square_first = optimizer_.kind == OptimizerSpec::Kind::rmsprop;
  const char* names[] = {"optimizer.first_moment.", "optimizer.second_moment."};
  if (square_first) std::swap(names[0], names[1]);
  for (int moment = 0; moment < moment_count(optimizer_); ++moment)
    add(plan_.parameters, memory_.parameters,
        memory_.moment_offset + moment * memory_.parameter_floats, names[moment]);
  if (optimizer_.ema == 0.0) return out;
  add(plan_.parameters, memory_.parameters,
      trained(memory_.average_offset, memory_.parameter_offset), "average.");
  add(plan_.states, memory_.states, trained(memory_.state_average_offset, memory_.state_offset),
      "average.");
  return out;
}

std::vector<NamedArray> Network::arrays() const {
  std::vector<NamedArray> out;
  for (const Slot& slot : slots())
    out.push_back({slot.prefix + slot.parameter->name, slot.parameter->shape,
                   gather(*slot.parameter, slot.data)});
  return out;
}

void Network::restore(const std::vector<NamedArray>& arrays) {
  const std::vector<Slot> expected = slots();
  for (const Slot& slot : expected) {
    const std::string name = slot.prefix + slot.parameter->name;
    const auto found = std::find_if(arrays.begin(), arrays.end(),
                                    [&](const NamedArray& a) { return a.name == name; });
    if (found == arrays.end())
      throw UserError("it has no array \"" + name +
                      "\": it belongs to another network or optimizer");
    if (found->shape != slot.parameter->shape)
      throw UserError("its array \"" + name + "\" is " + text(found->shape) + ", expected " +
                      text(slot.parameter->shape) + ": it belongs to another network");
    scatter(*slot.parameter, found->values, slot.data);
  }
  if (arrays.size() != expected.size())
    throw UserError("it has " + std::to_string(arrays.size()) + " arrays, expected " +
                    std::to_string(expected.size()) +
                    ": it belongs to another network or optimizer");
}

std::vector<float> Network::parameter(int index) const {
  const auto i = static_cast<std::size_t>(index);
  return gather(plan_.parameters[i],
                block(memory_.parameter_offset + memory_.parameters[i].offset));
}

std::vector<float> Network::gradient(int index) const {
  const auto i = static_cast<std::size_t>(index);
  return gather(plan_.parameters[i], block(memory_.gradient_offset + memory_.parameters[i].offset));
}

void Network::set_parameter(int index, const std::vector<float>& values) {
  const auto i = static_cast<std::size_t>(index);
  scatter(plan_.parameters[i], values,
          block(memory_.parameter_offset + memory_.parameters[i].offset));
}

std::vector<float> Network::logits(int sample) const {
  const float* row = logits_.at(sample);
  return {row, row + plan_.data.classes};
}

}  // namespace brood::cnn
