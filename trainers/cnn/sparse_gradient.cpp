#include "trainers/cnn/sparse_gradient.h"

#include <algorithm>

namespace brood::cnn {

namespace {

// Above this share of entries the full products are faster (bench/peers).
constexpr double kShareMax = 0.5;
// Below this the lists cost more than they save.
constexpr int kUnitsMin = 64;

std::int64_t entries_max(std::int64_t samples, std::int64_t units) {
  return static_cast<std::int64_t>(kShareMax * static_cast<double>(samples * units));
}

std::size_t at(std::int64_t index) { return static_cast<std::size_t>(index); }

}  // namespace

bool may_be_sparse(const Shape& in, const Shape& out) {
  return in.channels % kLanes == 0 && in.count() >= kUnitsMin && out.channels >= kUnitsMin;
}

SparseGradient::SparseGradient(int samples, int units, std::int64_t row)
    : units_(units),
      chunks_((units + kUnits - 1) / kUnits),
      row_(static_cast<std::int32_t>(row)),
      // One more: an entry is written before it is known whether it counts.
      by_sample_(at(entries_max(samples, units) + 1)),
      by_unit_(at(entries_max(samples, units))),
      sample_begin_(at(std::int64_t{samples} * (chunks_ + 1))),
      unit_begin_(at(std::int64_t{panels(units)} * kPanel + 1)),
      next_(at(units)) {}

std::int64_t SparseGradient::bytes(std::int64_t samples, std::int64_t units) {
  constexpr std::int64_t kEntry = sizeof(SparseEntry);
  return 2 * kEntry * entries_max(samples, units) + 4 * samples * (units / kUnits + 2) +
         8 * (units + kPanel);
}

bool SparseGradient::read(const float* dy, std::int64_t stride, int samples) {
  samples_ = samples;
  if (!list_samples(dy, stride)) return false;
  list_units();
  return true;
}

bool SparseGradient::list_samples(const float* dy, std::int64_t stride) {
  const std::int64_t most = entries_max(samples_, units_);
  std::int32_t count = 0;
  std::fill(next_.begin(), next_.end(), 0);
  for (std::int32_t n = 0; n < samples_; ++n) {
    const float* row = dy + n * stride;
    std::int32_t* begin = &sample_begin_[at(n * (chunks_ + 1))];
    for (std::int32_t chunk = 0; chunk < chunks_; ++chunk) {
      begin[chunk] = count;
      const std::int32_t first = chunk * kUnits, end = std::min(units_, first + kUnits);
      for (std::int32_t unit = first; unit < end; ++unit) {
        // Without a jump that nobody could predict.
        by_sample_[at(count)] = {row[unit], (unit - first) * kPanel};
        const std::int32_t counts = row[unit] != 0.0F;
        count += counts;
        next_[at(unit)] += counts;
        if (count > most) return false;
      }
    }
    begin[chunks_] = count;
  }
  return true;
}

// The same entries by unit: how many each has is known.
void SparseGradient::list_units() {
  std::int32_t count = 0;
  for (std::int32_t unit = 0; unit < units_; ++unit) {
    unit_begin_[at(unit)] = count;
    count += next_[at(unit)];
    next_[at(unit)] = unit_begin_[at(unit)];
  }
  std::fill(unit_begin_.begin() + units_, unit_begin_.end(), count);
  for (std::int32_t n = 0; n < samples_; ++n)
    for (std::int32_t chunk = 0; chunk < chunks_; ++chunk) {
      const std::int32_t* begin = &sample_begin_[at(n * (chunks_ + 1) + chunk)];
      for (std::int32_t e = begin[0]; e < begin[1]; ++e) {
        const SparseEntry& entry = by_sample_[at(e)];
        std::int32_t& next = next_[at(chunk * kUnits + entry.offset / kPanel)];
        by_unit_[at(next++)] = {entry.value, n * row_};
      }
    }
}

SparseProduct SparseGradient::by_sample(int chunk) const {
  SparseProduct out{};
  out.entries = by_sample_.data();
  out.begin = sample_begin_.data() + chunk;
  out.step = chunks_ + 1;
  out.rows = samples_;
  return out;
}

SparseProduct SparseGradient::by_unit(int panel) const {
  SparseProduct out{};
  out.entries = by_unit_.data();
  out.begin = unit_begin_.data() + panel * kPanel;
  out.step = 1;
  out.rows = kPanel;
  return out;
}

}  // namespace brood::cnn
