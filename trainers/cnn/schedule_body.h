// The source of schedule.h: included by schedule.cpp, and by device code inside a namespace of its
// own, so that both compute the same bits.
//
// Whoever includes it defines BROOD_EXACT, what stands before a function, and has the functions of
// engine/exact_math.h at hand as exact::. Nothing here may be compiled with contraction.

BROOD_EXACT double cosine_of_half_turns(double x) {
  double sign = 1.0;
  if (x > 0.5) {
    x = 1.0 - x;
    sign = -1.0;
  }
  constexpr double kPi = 3.141592653589793;
  const double square = kPi * x * (kPi * x);
  double term = 1.0, sum = 1.0;
  for (int n = 1; n <= 14; ++n) {
    term *= -square / (2.0 * n * (2.0 * n - 1.0));
    sum += term;
  }
  return x == 0.5 ? 0.0 : sign * sum;
}

// Half a turn of a cosine from `first` to `last`.
BROOD_EXACT double between(double first, double last, double progress) {
  const double within = progress < 0.0 ? 0.0 : progress > 1.0 ? 1.0 : progress;
  return last + (first - last) * 0.5 * (1.0 + cosine_of_half_turns(within));
}

// Values: of a type with the schedule's numbers, whose `schedule` is a ScheduleSpec::Kind.
template <class Values>
BROOD_EXACT double scheduled_rate(const Values& v, std::int64_t step) {
  const double rate = v.learning_rate;
  const double now = static_cast<double>(step);
  const double warmup = v.warmup_epochs * static_cast<double>(v.steps_per_epoch);
  const double end = static_cast<double>(v.epochs) * static_cast<double>(v.steps_per_epoch);
  if (now < warmup) {
    const double share = (now + 1.0) / warmup;
    return rate * (share < 1.0 ? share : 1.0);
  }
  switch (static_cast<ScheduleSpec::Kind>(v.schedule)) {
    case ScheduleSpec::Kind::constant:
      break;
    case ScheduleSpec::Kind::cosine:
      return between(rate, 0.0, end > warmup ? (now - warmup) / (end - warmup) : 1.0);
    case ScheduleSpec::Kind::step: {
      const double every = v.every_epochs * static_cast<double>(v.steps_per_epoch);
      return rate * exact::pow(v.factor, std::floor(now / every));
    }
    case ScheduleSpec::Kind::one_cycle: {
      // The last of the rising steps has the learning rate itself, the last of all the end.
      const double all = v.rise * end - 1.0, top = all > 0.0 ? all : 0.0;
      if (now < top) return between(rate * v.start_factor, rate, now / top);
      return between(rate, rate * v.end_factor,
                     end - 1.0 > top ? (now - top) / (end - 1.0 - top) : 0.0);
    }
  }
  return rate;
}
