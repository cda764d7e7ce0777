#include "engine/trial.h"

#include <array>

#include "engine/error.h"

namespace brood {

namespace {

constexpr std::array<std::string_view, 10> kStates = {
    "waiting",    "running",   "completed", "stopped",   "failed",
    "infeasible", "duplicate", "surplus",   "cancelled", "known"};
constexpr std::array<std::string_view, 4> kOrigins = {"strategy", "initial", "user", "warm"};
constexpr std::array<std::string_view, 14> kCauses = {
    "",         "stopper", "trainer",  "nan",        "exit_status", "signal",     "memory",
    "deadline", "silence", "protocol", "constraint", "lost",        "checkpoint", "command"};

template <class E, std::size_t N>
E parse(const std::array<std::string_view, N>& words, std::string_view text, const char* what) {
  for (std::size_t i = 0; i < N; ++i)
    if (words[i] == text) return static_cast<E>(i);
  throw UserError(std::string("unknown ") + what + " \"" + std::string(text) +
                  "\": the record was made by a newer version, or is damaged");
}

}  // namespace

std::string_view to_text(TrialState state) { return kStates[static_cast<std::size_t>(state)]; }
TrialState trial_state(std::string_view text) {
  return parse<TrialState>(kStates, text, "trial state");
}
std::string_view to_text(Origin origin) { return kOrigins[static_cast<std::size_t>(origin)]; }
Origin origin(std::string_view text) { return parse<Origin>(kOrigins, text, "origin"); }
std::string_view to_text(Cause cause) { return kCauses[static_cast<std::size_t>(cause)]; }
Cause cause(std::string_view text) { return parse<Cause>(kCauses, text, "cause"); }

const Metric* Report::find(std::string_view name) const {
  for (const Metric& metric : metrics)
    if (metric.name == name) return &metric;
  return nullptr;
}

}  // namespace brood
