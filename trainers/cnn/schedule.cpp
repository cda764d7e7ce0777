#include "trainers/cnn/schedule.h"

#include <algorithm>
#include <cmath>

#include "engine/exact_math.h"

namespace brood::cnn {

double cosine_of_half_turns(double x) {
  if (x > 0.5) return -cosine_of_half_turns(1.0 - x);
  constexpr double kPi = 3.141592653589793;
  const double square = kPi * x * (kPi * x);
  double term = 1.0, sum = 1.0;
  for (int n = 1; n <= 14; ++n) {
    term *= -square / (2.0 * n * (2.0 * n - 1.0));
    sum += term;
  }
  return x == 0.5 ? 0.0 : sum;
}

namespace {

// Half a turn of a cosine from `first` to `last`.
double between(double first, double last, double progress) {
  return last + (first - last) * 0.5 * (1.0 + cosine_of_half_turns(std::clamp(progress, 0.0, 1.0)));
}

}  // namespace

double learning_rate(const NetworkSpec& spec, std::int64_t steps_per_epoch, std::int64_t step) {
  const double rate = spec.optimizer.learning_rate;
  const double now = static_cast<double>(step);
  const double warmup = spec.schedule.warmup_epochs * static_cast<double>(steps_per_epoch);
  const double end = static_cast<double>(spec.epochs) * static_cast<double>(steps_per_epoch);
  if (now < warmup) return rate * std::min(1.0, (now + 1.0) / warmup);
  switch (spec.schedule.kind) {
    case ScheduleSpec::Kind::constant:
      break;
    case ScheduleSpec::Kind::cosine:
      return between(rate, 0.0, end > warmup ? (now - warmup) / (end - warmup) : 1.0);
    case ScheduleSpec::Kind::step: {
      const double every = spec.schedule.every_epochs * static_cast<double>(steps_per_epoch);
      return rate * exact::pow(spec.schedule.factor, std::floor(now / every));
    }
    case ScheduleSpec::Kind::one_cycle: {
      // The last of the rising steps has the learning rate itself, the last of all the end.
      const double top = std::max(spec.schedule.rise * end - 1.0, 0.0);
      if (now < top) return between(rate * spec.schedule.start_factor, rate, now / top);
      return between(rate, rate * spec.schedule.end_factor,
                     end - 1.0 > top ? (now - top) / (end - 1.0 - top) : 0.0);
    }
  }
  return rate;
}

}  // namespace brood::cnn
