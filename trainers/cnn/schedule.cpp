#include "trainers/cnn/schedule.h"

#include <cmath>

#include "engine/exact_math.h"

namespace brood::cnn {

namespace body {
#define BROOD_EXACT
#include "trainers/cnn/schedule_body.h"
}  // namespace body

namespace {

struct Values {
  double learning_rate, warmup_epochs, every_epochs, factor, rise, start_factor, end_factor;
  std::int64_t epochs, steps_per_epoch;
  ScheduleSpec::Kind schedule;
};

}  // namespace

double cosine_of_half_turns(double x) { return body::cosine_of_half_turns(x); }

double learning_rate(const NetworkSpec& spec, std::int64_t steps_per_epoch, std::int64_t step) {
  const ScheduleSpec& s = spec.schedule;
  return body::scheduled_rate(
      Values{spec.optimizer.learning_rate, s.warmup_epochs, s.every_epochs, s.factor, s.rise,
             s.start_factor, s.end_factor, spec.epochs, steps_per_epoch, s.kind},
      step);
}

}  // namespace brood::cnn
