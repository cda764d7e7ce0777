#include "trainers/cnn/progress.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>

#include "trainers/cnn/model.h"

namespace brood::cnn {

namespace {

std::uint64_t bits_of(const Checkpoint& checkpoint, const std::string& key) {
  const std::string& text = checkpoint.text(key);
  std::uint64_t bits = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bits);
  if (error != std::errc() || end != text.data() + text.size())
    throw UserError("its entry \"" + key + "\" is \"" + text + "\", not a whole number");
  return bits;
}

}  // namespace

void Tally::clear() {
  samples = correct = 0;
  loss = 0.0;
  std::fill(classes.begin(), classes.end(), Class{});
}

void TrialProgress::count_classes(const NetworkSpec& spec, int classes) {
  if (!spec.report_classes) return;
  for (std::size_t i = 1; i < kParts; ++i)
    parts[i].classes.resize(static_cast<std::size_t>(classes));
}

void TrialProgress::next_phase(const std::int64_t (&samples)[kParts]) {
  position = 0;
  do {
    phase = static_cast<Phase>(static_cast<std::uint8_t>(phase) + 1);
  } while (phase != Phase::done && samples[static_cast<std::size_t>(phase)] == 0);
}

void TrialProgress::next_epoch() {
  ++epoch;
  phase = Phase::train;
  for (Tally& part : parts) part.clear();
}

void write_progress(const TrialProgress& progress, const std::string& description, Checkpoint& to) {
  const auto add = [&to](const std::string& key, std::uint64_t bits) {
    to.metadata.emplace_back(key, std::to_string(bits));
  };
  to.metadata.emplace_back("format", kCheckpointFormat);
  to.metadata.emplace_back("model", description);
  add("epoch", static_cast<std::uint64_t>(progress.epoch));
  add("batch", static_cast<std::uint64_t>(progress.batch));
  add("phase", static_cast<std::uint64_t>(progress.phase));
  add("position", static_cast<std::uint64_t>(progress.position));
  for (std::size_t i = 0; i < TrialProgress::kParts; ++i) {
    const std::string prefix = TrialProgress::kPartNames[i];
    const Tally& part = progress.parts[i];
    add(prefix + "_samples", static_cast<std::uint64_t>(part.samples));
    add(prefix + "_correct", static_cast<std::uint64_t>(part.correct));
    add(prefix + "_loss", std::bit_cast<std::uint64_t>(part.loss));
    for (std::size_t c = 0; c < part.classes.size(); ++c) {
      const std::string name = prefix + "_class_" + std::to_string(c);
      add(name + "_samples", static_cast<std::uint64_t>(part.classes[c].samples));
      add(name + "_correct", static_cast<std::uint64_t>(part.classes[c].correct));
    }
  }
}

void read_progress(const Checkpoint& from, TrialProgress& progress) {
  if (from.text("format") != kCheckpointFormat)
    throw UserError("its format is \"" + from.text("format") + "\", expected \"" +
                    kCheckpointFormat + "\"");
  const auto number = [&from](const std::string& key) {
    return static_cast<std::int64_t>(bits_of(from, key) & 0x7fff'ffff'ffffU);
  };
  if (number("epoch") != progress.epoch)
    throw UserError("it continues at epoch " + std::to_string(number("epoch")) +
                    ", the trial at epoch " + std::to_string(progress.epoch));
  progress.batch = number("batch");
  if (number("phase") >= static_cast<std::int64_t>(TrialProgress::Phase::done))
    throw UserError("its phase is " + std::to_string(number("phase")));
  progress.phase = static_cast<TrialProgress::Phase>(number("phase"));
  progress.position = number("position");
  for (std::size_t i = 0; i < TrialProgress::kParts; ++i) {
    const std::string prefix = TrialProgress::kPartNames[i];
    Tally& part = progress.parts[i];
    part.samples = number(prefix + "_samples");
    part.correct = number(prefix + "_correct");
    part.loss = std::bit_cast<double>(bits_of(from, prefix + "_loss"));
    for (std::size_t c = 0; c < part.classes.size(); ++c) {
      const std::string name = prefix + "_class_" + std::to_string(c);
      part.classes[c] = {number(name + "_samples"), number(name + "_correct")};
    }
  }
}

Report report_of(const TrialProgress& progress) {
  Report report;
  report.epoch = progress.epoch;
  for (std::size_t i = 0; i < TrialProgress::kParts; ++i) {
    const Tally& tally = progress.parts[i];
    if (tally.samples == 0) continue;
    const auto samples = static_cast<double>(tally.samples);
    const std::string prefix = TrialProgress::kPartNames[i];
    report.metrics.push_back({prefix + "_loss", tally.loss / samples});
    report.metrics.push_back({prefix + "_accuracy", static_cast<double>(tally.correct) / samples});
    for (std::size_t c = 0; c < tally.classes.size(); ++c)
      if (tally.classes[c].samples > 0)
        report.metrics.push_back({prefix + "_accuracy_class_" + std::to_string(c),
                                  static_cast<double>(tally.classes[c].correct) /
                                      static_cast<double>(tally.classes[c].samples)});
  }
  return report;
}

void require_finite(const Report& report, const std::string& objective) {
  const Metric* wanted = report.find(objective);
  const bool told = wanted != nullptr && !std::isfinite(wanted->value);
  if (objective.empty() || told) return;
  for (const char* part : TrialProgress::kPartNames) {
    const Metric* loss = report.find(std::string(part) + "_loss");
    if (loss != nullptr && !std::isfinite(loss->value))
      throw TrialFailure(Cause::nan, loss->name + " became " +
                                         (std::isnan(loss->value) ? "NaN" : "infinite") +
                                         " in epoch " + std::to_string(report.epoch));
  }
}

}  // namespace brood::cnn
