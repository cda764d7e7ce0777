#include "trainers/cnn/schedule.h"

#include <algorithm>

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

double learning_rate(const NetworkSpec& spec, std::int64_t steps_per_epoch, std::int64_t step) {
  const double rate = spec.optimizer.learning_rate;
  const double now = static_cast<double>(step);
  const double warmup = spec.schedule.warmup_epochs * static_cast<double>(steps_per_epoch);
  const double end = static_cast<double>(spec.epochs) * static_cast<double>(steps_per_epoch);
  if (now < warmup) return rate * std::min(1.0, (now + 1.0) / warmup);
  if (spec.schedule.kind == ScheduleSpec::Kind::constant) return rate;
  const double progress = end > warmup ? (now - warmup) / (end - warmup) : 1.0;
  return rate * 0.5 * (1.0 + cosine_of_half_turns(std::clamp(progress, 0.0, 1.0)));
}

}  // namespace brood::cnn
