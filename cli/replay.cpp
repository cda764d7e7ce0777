#include "cli/replay.h"

#include <poll.h>

#include <cmath>
#include <filesystem>

#include "cli/asked.h"
#include "cli/same_data.h"
#include "engine/error.h"
#include "engine/trainer.h"
#include "trainers/trainers.h"

namespace brood {

namespace {

// The exact metrics that differ, as text; empty: none.
std::string differences(const Report& known, const Report& again) {
  std::string text;
  for (const Metric& metric : known.metrics) {
    if (!metric.exact) continue;
    const Metric* now = again.find(metric.name);
    if (now != nullptr &&
        (now->value == metric.value || (std::isnan(now->value) && std::isnan(metric.value))))
      continue;
    text += "  " + metric.name + " was " + to_text(Value{metric.value}) + ", is " +
            (now == nullptr ? std::string("missing") : to_text(Value{now->value}));
  }
  return text;
}

// Trains the trial up to its last recorded epoch. Returns the number of epochs that differ.
int train_again(const TrainerSetup& setup, const Trial& trial, int attempt, bool each_epoch,
                std::ostream& out) {
  const auto made = make_trainer(setup);
  Trainer& trainer = *made;
  Assignment assignment;
  assignment.trial = trial.id;
  assignment.attempt = attempt;
  assignment.params = trial.params;
  assignment.first_epoch = trial.first_epoch;
  assignment.last_epoch = trial.last_epoch;
  assignment.seed = trial.seed;
  assignment.log = (std::filesystem::temp_directory_path() / "brood-replay.log").string();
  trainer.start(0, assignment);
  std::size_t at = 0;
  int different = 0;
  while (at < trial.reports.size()) {
    if (const int descriptor = trainer.wait_on(); descriptor >= 0) {
      pollfd ready{descriptor, POLLIN, 0};
      poll(&ready, 1, 100);
    }
    for (const Event& event : trainer.advance(Millis{100})) {
      if (event.kind == Event::Kind::failed && at < trial.reports.size())
        throw UserError("trial " + std::to_string(trial.id) + " failed this time after epoch " +
                        std::to_string(at) + ": " + event.why);
      if (event.kind == Event::Kind::ended && at < trial.reports.size())
        throw UserError("trial " + std::to_string(trial.id) + " ended after epoch " +
                        std::to_string(at) + " this time; the record has " +
                        std::to_string(trial.reports.size()));
      if (event.kind != Event::Kind::report || at == trial.reports.size()) continue;
      const Report& known = trial.reports[at++];
      const std::string text = differences(known, event.report);
      different += text.empty() ? 0 : 1;
      if (each_epoch || !text.empty())
        out << "epoch " << known.epoch << ": " << (text.empty() ? "every bit the same" : text)
            << std::endl;
    }
  }
  return different;
}

// Says whether every bit is the same.
bool replay_one(Asked& asked, const TrainerSetup& setup, const Trial& trial, bool each_epoch,
                std::ostream& out) {
  // A program may go by the attempt, and the last one is that which came to the end.
  const auto attempts = asked.reader.attempts(asked.experiment, trial.id);
  const int attempt = attempts.empty() ? 1 : attempts.back().attempt;
  const int different = train_again(setup, trial, attempt, each_epoch, out);
  out << "trial " << trial.id << ": ";
  if (different == 0)
    out << trial.reports.size() << " epochs, all bits the same" << std::endl;
  else
    out << different << " of " << trial.reports.size()
        << " epochs differ: its trainer is not deterministic, or is not the one of the record"
        << std::endl;
  return different == 0;
}

TrainerSetup setup_of(Asked& asked) {
  TrainerSetup setup = recorded_setup(asked);
  require_same_data(asked.reader, asked.experiment, data_identity(setup));
  return setup;
}

int replay_all(Asked& asked, std::ostream& out) {
  const TrainerSetup setup = setup_of(asked);
  const std::int64_t count = asked.reader.counts(asked.experiment).all();
  std::int64_t trained = 0, different = 0, epochs = 0;
  for (TrialId k = 0; k < count; ++k) {
    const Trial trial = asked.reader.trial(asked.experiment, k);
    const bool well = trial.state == TrialState::completed || trial.state == TrialState::stopped;
    if (!well || trial.same_as || trial.origin == Origin::warm || trial.reports.empty()) continue;
    ++trained;
    epochs += static_cast<std::int64_t>(trial.reports.size());
    try {
      if (!replay_one(asked, setup, trial, false, out)) ++different;
    } catch (const UserError& error) {  // the others are still worth a look
      out << error.what() << std::endl;
      ++different;
    }
  }
  out << count_text(trained, "trial") << " of " << count << " trained again, "
      << count_text(epochs, "epoch") << ": "
      << (different == 0 ? "all bits the same" : std::to_string(different) + " differ") << "\n";
  return trained > 0 && different == 0 ? 0 : 1;
}

}  // namespace

int replay_command(const ReplayOptions& options, std::ostream& out) {
  Asked asked = ask(options.where);
  if (!options.trial) return replay_all(asked, out);
  Trial trial = asked.reader.trial(asked.experiment, *options.trial);
  if (trial.same_as) {
    out << "trial " << trial.id << " is a duplicate of trial " << *trial.same_as << "\n";
    trial = asked.reader.trial(asked.experiment, *trial.same_as);
  }
  if (trial.origin == Origin::warm)
    throw UserError("trial " + std::to_string(trial.id) +
                    " was not trained here: its result came with warm_start; replay it in the "
                    "database that it came from");
  if (trial.reports.empty()) {
    out << "trial " << trial.id << " has no reports to compare with\n";
    return 1;
  }
  return replay_one(asked, setup_of(asked), trial, true, out) ? 0 : 1;
}

}  // namespace brood
