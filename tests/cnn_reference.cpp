#include "tests/cnn_reference.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/error.h"
#include "engine/rng.h"

namespace brood::cnn {

namespace {

std::size_t z(std::int64_t value) { return static_cast<std::size_t>(value); }

// Calls visit(sample, out row, out column, kernel row, kernel column, in row, in column) for every
// place of a window that lies inside the image.
void slide(const Step& step, int batch, const Shape& in, const Shape& out,
           const std::function<void(int, int, int, int, int, int, int)>& visit) {
  for (int n = 0; n < batch; ++n)
    for (int y = 0; y < out.height; ++y)
      for (int x = 0; x < out.width; ++x)
        for (int i = 0; i < step.kernel_height; ++i)
          for (int j = 0; j < step.kernel_width; ++j) {
            const int row = y * step.stride_height + i * step.dilation_height - step.pad_top;
            const int column = x * step.stride_width + j * step.dilation_width - step.pad_left;
            if (row >= 0 && row < in.height && column >= 0 && column < in.width)
              visit(n, y, x, i, j, row, column);
          }
}

std::size_t at(const Shape& shape, int n, int y, int x, int c) {
  return z(((std::int64_t{n} * shape.height + y) * shape.width + x) * shape.channels + c);
}

Step whole_image(Step step, const Shape& in) {
  if (step.op == Step::Op::global_avg_pool) {
    step.kernel_height = step.stride_height = in.height;
    step.kernel_width = step.stride_width = in.width;
  }
  return step;
}

double places_inside(const Step& step, const Shape& in, int y, int x) {
  int rows = 0, columns = 0;
  for (int i = 0; i < step.kernel_height; ++i) {
    const int row = y * step.stride_height + i - step.pad_top;
    rows += row >= 0 && row < in.height;
  }
  for (int j = 0; j < step.kernel_width; ++j) {
    const int column = x * step.stride_width + j - step.pad_left;
    columns += column >= 0 && column < in.width;
  }
  return rows * columns;
}

// Element e of dropout's stream, by the engine's generator alone (see layers.cpp, kernels.h).
bool survives(std::uint64_t key, std::uint64_t batch_index, std::uint32_t stream, std::uint64_t e,
              double rate) {
  const std::uint64_t purpose = static_cast<std::uint64_t>(Purpose::dropout) * 0x9E3779B97F4A7C15U;
  Rng rng = Rng(key ^ purpose, batch_index, Purpose::dropout).split(stream - 1);
  std::uint64_t word = 0;
  for (std::uint64_t i = 0; i <= e / 2; ++i) word = rng.bits();
  const auto drawn = static_cast<std::uint32_t>(e % 2 ? word >> 32 : word);
  return drawn >= static_cast<std::uint32_t>(std::floor(rate * 0x1.0p32));
}

// An activation and its slope.
std::pair<double, double> activated(const Step& step, double x) {
  constexpr double kGelu = 0.7978845608028654;  // sqrt(2 / pi)
  const double s = 1 / (1 + std::exp(-x));
  const double t = std::tanh(kGelu * (x + 0.044715 * x * x * x));
  switch (step.activation) {
    case Activation::relu:
      return {std::max(0.0, x), x > 0 ? 1.0 : 0.0};
    case Activation::leaky_relu:
      return {x > 0 ? x : step.slope * x, x > 0 ? 1.0 : step.slope};
    case Activation::gelu:
      return {x / 2 * (1 + t),
              (1 + t) / 2 + x / 2 * (1 - t * t) * kGelu * (1 + 3 * 0.044715 * x * x)};
    case Activation::silu:
      return {x * s, s + x * s * (1 - s)};
    case Activation::tanh:
      return {std::tanh(x), 1 - std::tanh(x) * std::tanh(x)};
    case Activation::none:
      break;
  }
  return {x, 1.0};
}

}  // namespace

std::vector<double> made_up(std::size_t count, std::uint64_t seed, double scale) {
  Rng rng(seed, 0, Purpose::synthetic);
  std::vector<double> out(count);
  // Rounded to single precision, so that both sides start from the same numbers.
  for (double& value : out) value = static_cast<float>(scale * (2 * rng.uniform() - 1));
  return out;
}

Reference::Reference(const Plan& network) : plan(network) {
  for (const Parameter& p : plan.parameters) parameters.emplace_back(z(p.inputs * p.columns), 0.0);
  for (std::size_t i = 0; i < plan.states.size(); ++i)
    states.emplace_back(z(plan.states[i].columns), i % 2 == 0 ? 0.0 : 1.0);
}

double Reference::forward(const std::vector<double>& images, const std::vector<int>& answers,
                          bool train, std::uint64_t dropout_key, std::uint64_t batch_index) {
  labels = answers;
  train_ = train;
  const int batch = static_cast<int>(labels.size());
  values.assign(plan.tensors.size(), {});
  values[0] = images;
  saved_.assign(plan.steps.size(), {});
  for (std::size_t s = 0; s < plan.steps.size(); ++s) {
    const Shape& in = plan.tensors[z(plan.steps[s].inputs.front())];
    const Shape& out = plan.tensors[z(plan.steps[s].output)];
    const Step step = whole_image(plan.steps[s], in);
    const std::vector<double>& x = values[z(step.inputs.front())];
    std::vector<double>& y = values[z(step.output)];
    y.assign(z(batch * out.count()), 0.0);
    switch (step.op) {
      case Step::Op::conv:
        slide(step, batch, in, out, [&](int n, int oy, int ox, int i, int j, int iy, int ix) {
          for (int c = 0; c < in.channels; ++c)
            for (int o = 0; o < out.channels; ++o)
              y[at(out, n, oy, ox, o)] +=
                  x[at(in, n, iy, ix, c)] *
                  parameters[z(step.weight)][z(
                      ((std::int64_t{i} * step.kernel_width + j) * in.channels + c) * out.channels +
                      o)];
        });
        break;
      case Step::Op::dense:
        for (int n = 0; n < batch; ++n)
          for (std::int64_t k = 0; k < in.count(); ++k)
            for (int o = 0; o < out.channels; ++o)
              y[z(n * out.channels + o)] +=
                  x[z(n * in.count() + k)] * parameters[z(step.weight)][z(k * out.channels + o)];
        break;
      case Step::Op::max_pool:
        std::fill(y.begin(), y.end(), -INFINITY);
        slide(step, batch, in, out, [&](int n, int oy, int ox, int, int, int iy, int ix) {
          for (int c = 0; c < in.channels; ++c)
            y[at(out, n, oy, ox, c)] = std::max(y[at(out, n, oy, ox, c)], x[at(in, n, iy, ix, c)]);
        });
        break;
      case Step::Op::avg_pool:
      case Step::Op::global_avg_pool:
        slide(step, batch, in, out, [&](int n, int oy, int ox, int, int, int iy, int ix) {
          for (int c = 0; c < in.channels; ++c)
            y[at(out, n, oy, ox, c)] += x[at(in, n, iy, ix, c)] / places_inside(step, in, oy, ox);
        });
        break;
      case Step::Op::batch_norm: {
        const std::size_t channels = z(out.channels);
        const double count = static_cast<double>(x.size() / channels);
        Saved& saved = saved_[s];
        saved.mean.assign(channels, 0.0);
        std::vector<double> variance(channels, 0.0);
        for (std::size_t i = 0; i < x.size(); ++i) saved.mean[i % channels] += x[i] / count;
        for (std::size_t i = 0; i < x.size(); ++i)
          variance[i % channels] += std::pow(x[i] - saved.mean[i % channels], 2) / count;
        for (std::size_t c = 0; c < channels; ++c) {
          double& mean = states[z(step.state)][c];
          double& running = states[z(step.state + 1)][c];
          if (train) {
            mean = 0.9 * mean + 0.1 * saved.mean[c];
            running = 0.9 * running + 0.1 * variance[c] * (count > 1 ? count / (count - 1) : 1);
          } else {
            saved.mean[c] = mean;
            variance[c] = running;
          }
          saved.inverse.push_back(1 / std::sqrt(variance[c] + 1e-5));
        }
        for (std::size_t i = 0; i < x.size(); ++i) {
          const std::size_t c = i % channels;
          y[i] = parameters[z(step.weight)][c] * (x[i] - saved.mean[c]) * saved.inverse[c] +
                 parameters[z(step.bias)][c];
        }
        break;
      }
      case Step::Op::dropout: {
        const int stored = (out.channels + 7) / 8 * 8;
        for (std::size_t i = 0; i < x.size(); ++i) {
          const std::size_t e = i / z(out.channels) * z(stored) + i % z(out.channels);
          const bool keep = !train || survives(dropout_key, batch_index, step.stream, e, step.rate);
          saved_[s].keep.push_back(keep);
          y[i] = keep ? x[i] / (train ? 1 - step.rate : 1) : 0.0;
        }
        break;
      }
      default:
        forward_more(step);
    }
    const bool biased = step.op != Step::Op::batch_norm && step.bias >= 0;
    for (std::size_t i = 0; i < y.size(); ++i) {
      if (biased) y[i] += parameters[z(step.bias)][i % z(out.channels)];
      if (step.relu) y[i] = std::max(0.0, y[i]);
    }
  }
  double loss = 0.0;
  const std::size_t classes = z(plan.data.classes);
  for (std::size_t n = 0; n < labels.size(); ++n) {
    const double* row = values.back().data() + n * classes;
    const double most = *std::max_element(row, row + classes);
    double sum = 0.0;
    for (std::size_t c = 0; c < classes; ++c) sum += std::exp(row[c] - most);
    loss += std::log(sum) + most - row[labels[n]];
  }
  return loss / batch;
}

void Reference::backward() {
  const int batch = static_cast<int>(labels.size());
  gradients.clear();
  for (const auto& p : parameters) gradients.emplace_back(p.size(), 0.0);
  slopes.assign(values.size(), {});
  for (std::size_t t = 0; t < values.size(); ++t) slopes[t].assign(values[t].size(), 0.0);
  const std::size_t classes = z(plan.data.classes);
  for (std::size_t n = 0; n < labels.size(); ++n) {
    const double* row = values.back().data() + n * classes;
    double sum = 0.0;
    for (std::size_t c = 0; c < classes; ++c) sum += std::exp(row[c] - row[0]);
    for (std::size_t c = 0; c < classes; ++c)
      slopes.back()[n * classes + c] =
          (std::exp(row[c] - row[0]) / sum - (static_cast<int>(c) == labels[n] ? 1.0 : 0.0)) /
          batch;
  }
  for (std::size_t s = plan.steps.size(); s-- > 0;) {
    const Shape& in = plan.tensors[z(plan.steps[s].inputs.front())];
    const Shape& out = plan.tensors[z(plan.steps[s].output)];
    const Step step = whole_image(plan.steps[s], in);
    const std::vector<double>& x = values[z(step.inputs.front())];
    const std::vector<double>& y = values[z(step.output)];
    std::vector<double>& dx = slopes[z(step.inputs.front())];
    std::vector<double>& dy = slopes[z(step.output)];
    if (step.relu)
      for (std::size_t i = 0; i < y.size(); ++i) dy[i] = y[i] > 0 ? dy[i] : 0.0;
    if (step.op != Step::Op::batch_norm && step.bias >= 0)
      for (std::size_t i = 0; i < dy.size(); ++i)
        gradients[z(step.bias)][i % z(out.channels)] += dy[i];
    switch (step.op) {
      case Step::Op::conv:
        slide(step, batch, in, out, [&](int n, int oy, int ox, int i, int j, int iy, int ix) {
          for (int c = 0; c < in.channels; ++c)
            for (int o = 0; o < out.channels; ++o) {
              const std::size_t w = z(
                  ((std::int64_t{i} * step.kernel_width + j) * in.channels + c) * out.channels + o);
              const double slope = dy[at(out, n, oy, ox, o)];
              gradients[z(step.weight)][w] += slope * x[at(in, n, iy, ix, c)];
              dx[at(in, n, iy, ix, c)] += slope * parameters[z(step.weight)][w];
            }
        });
        break;
      case Step::Op::dense:
        for (int n = 0; n < batch; ++n)
          for (std::int64_t k = 0; k < in.count(); ++k)
            for (int o = 0; o < out.channels; ++o) {
              const std::size_t w = z(k * out.channels + o);
              const double slope = dy[z(n * out.channels + o)];
              gradients[z(step.weight)][w] += slope * x[z(n * in.count() + k)];
              dx[z(n * in.count() + k)] += slope * parameters[z(step.weight)][w];
            }
        break;
      case Step::Op::max_pool: {
        std::vector<char> taken(y.size(), 0);  // the first of equal maxima
        slide(step, batch, in, out, [&](int n, int oy, int ox, int, int, int iy, int ix) {
          for (int c = 0; c < in.channels; ++c) {
            const std::size_t to = at(out, n, oy, ox, c);
            if (taken[to] || x[at(in, n, iy, ix, c)] != y[to]) continue;
            taken[to] = 1;
            dx[at(in, n, iy, ix, c)] += dy[to];
          }
        });
        break;
      }
      case Step::Op::avg_pool:
      case Step::Op::global_avg_pool:
        slide(step, batch, in, out, [&](int n, int oy, int ox, int, int, int iy, int ix) {
          for (int c = 0; c < in.channels; ++c)
            dx[at(in, n, iy, ix, c)] += dy[at(out, n, oy, ox, c)] / places_inside(step, in, oy, ox);
        });
        break;
      case Step::Op::batch_norm: {
        const std::size_t channels = z(out.channels);
        const double count = static_cast<double>(x.size() / channels);
        const Saved& saved = saved_[s];
        std::vector<double>& scale = gradients[z(step.weight)];
        std::vector<double>& shift = gradients[z(step.bias)];
        const auto normal = [&](std::size_t i) {
          return (x[i] - saved.mean[i % channels]) * saved.inverse[i % channels];
        };
        for (std::size_t i = 0; i < x.size(); ++i) {
          scale[i % channels] += dy[i] * normal(i);
          shift[i % channels] += dy[i];
        }
        for (std::size_t i = 0; i < x.size(); ++i) {
          const std::size_t c = i % channels;
          dx[i] += parameters[z(step.weight)][c] * saved.inverse[c] *
                   (dy[i] - shift[c] / count - normal(i) * scale[c] / count);
        }
        break;
      }
      case Step::Op::dropout:
        for (std::size_t i = 0; i < x.size(); ++i)
          dx[i] += saved_[s].keep[i] ? dy[i] / (1 - step.rate) : 0.0;
        break;
      default:
        backward_more(step);
    }
  }
}

void Reference::forward_more(const Step& step) {
  const Shape& in = plan.tensors[z(step.inputs.front())];
  const Shape& out = plan.tensors[z(step.output)];
  const std::vector<double>& x = values[z(step.inputs.front())];
  const std::vector<double>& second = values[z(step.inputs.back())];
  std::vector<double>& y = values[z(step.output)];
  const int batch = static_cast<int>(labels.size());
  switch (step.op) {
    case Step::Op::activation:
      for (std::size_t i = 0; i < x.size(); ++i) y[i] = activated(step, x[i]).first;
      break;
    case Step::Op::depthwise_conv:
      slide(step, batch, in, out, [&](int n, int oy, int ox, int i, int j, int iy, int ix) {
        for (int c = 0; c < in.channels; ++c)
          y[at(out, n, oy, ox, c)] +=
              x[at(in, n, iy, ix, c)] *
              parameters[z(step.weight)][z((i * step.kernel_width + j) * in.channels + c)];
      });
      break;
    case Step::Op::add:
      for (std::size_t i = 0; i < x.size(); ++i) y[i] = x[i] + second[i];
      break;
    case Step::Op::concat:
      each_part(step, [&](std::size_t from, std::size_t to, int input) {
        y[to] = values[z(input)][from];
      });
      break;
    case Step::Op::gate:
      for (std::size_t i = 0; i < x.size(); ++i)
        y[i] =
            x[i] / (1 + std::exp(-second[i / z(in.count()) * z(in.channels) + i % z(in.channels)]));
      break;
    default:
      CHECK(false, "no such step");
  }
}

void Reference::backward_more(const Step& step) {
  const Shape& in = plan.tensors[z(step.inputs.front())];
  const Shape& out = plan.tensors[z(step.output)];
  const std::vector<double>& x = values[z(step.inputs.front())];
  const std::vector<double>& second = values[z(step.inputs.back())];
  std::vector<double>& dx = slopes[z(step.inputs.front())];
  std::vector<double>& dsecond = slopes[z(step.inputs.back())];
  const std::vector<double>& dy = slopes[z(step.output)];
  const int batch = static_cast<int>(labels.size());
  switch (step.op) {
    case Step::Op::activation:
      for (std::size_t i = 0; i < x.size(); ++i) dx[i] += dy[i] * activated(step, x[i]).second;
      break;
    case Step::Op::depthwise_conv:
      slide(step, batch, in, out, [&](int n, int oy, int ox, int i, int j, int iy, int ix) {
        for (int c = 0; c < in.channels; ++c) {
          const std::size_t w = z((i * step.kernel_width + j) * in.channels + c);
          gradients[z(step.weight)][w] += x[at(in, n, iy, ix, c)] * dy[at(out, n, oy, ox, c)];
          dx[at(in, n, iy, ix, c)] += parameters[z(step.weight)][w] * dy[at(out, n, oy, ox, c)];
        }
      });
      break;
    case Step::Op::add:
      for (std::size_t i = 0; i < x.size(); ++i) {
        dx[i] += dy[i];
        dsecond[i] += dy[i];
      }
      break;
    case Step::Op::concat:
      each_part(step, [&](std::size_t from, std::size_t to, int input) {
        slopes[z(input)][from] += dy[to];
      });
      break;
    case Step::Op::gate:
      for (std::size_t i = 0; i < x.size(); ++i) {
        const std::size_t g = i / z(in.count()) * z(in.channels) + i % z(in.channels);
        const double pass = 1 / (1 + std::exp(-second[g]));
        dx[i] += dy[i] * pass;
        dsecond[g] += dy[i] * x[i] * pass * (1 - pass);
      }
      break;
    default:
      CHECK(false, "no such step");
  }
}

// Calls visit(element of the input, element of the output, input) for every element of the inputs.
void Reference::each_part(const Step& step,
                          const std::function<void(std::size_t, std::size_t, int)>& visit) const {
  const std::size_t channels = z(plan.tensors[z(step.output)].channels);
  std::size_t first = 0;
  for (const int input : step.inputs) {
    const std::size_t own = z(plan.tensors[z(input)].channels);
    for (std::size_t i = 0; i < values[z(input)].size(); ++i)
      visit(i, i / own * channels + first + i % own, input);
    first += own;
  }
}

void fill(Reference& reference, std::uint64_t seed) {
  for (std::size_t p = 0; p < reference.parameters.size(); ++p) {
    const Parameter& parameter = reference.plan.parameters[p];
    const double scale =
        parameter.weight ? 1.5 / std::sqrt(static_cast<double>(parameter.inputs)) : 0.3;
    reference.parameters[p] = made_up(reference.parameters[p].size(), seed * 100 + p, scale);
    if (parameter.start == Parameter::Start::one)
      for (double& value : reference.parameters[p]) value = static_cast<float>(value + 1.0);
  }
}

double norm_of(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum);
}

double distance(const std::vector<float>& got, const std::vector<double>& wanted, double floor) {
  double difference = 0.0;
  EXPECT_EQ(got.size(), wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    difference += std::pow(static_cast<double>(got[i]) - wanted[i], 2);
  }
  return std::sqrt(difference) / std::max(norm_of(wanted), floor);
}

}  // namespace brood::cnn
