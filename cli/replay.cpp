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
int train_again(Trainer& trainer, const Trial& trial, const std::string& log, std::ostream& out) {
  Assignment assignment;
  assignment.trial = trial.id;
  assignment.params = trial.params;
  assignment.first_epoch = trial.first_epoch;
  assignment.last_epoch = trial.last_epoch;
  assignment.seed = trial.seed;
  assignment.log = log;
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
      out << "epoch " << known.epoch << ": " << (text.empty() ? "every bit the same" : text)
          << std::endl;
    }
  }
  return different;
}

}  // namespace

int replay_command(const ReplayOptions& options, std::ostream& out) {
  Asked asked = ask(options.where);
  Trial trial = asked.reader.trial(asked.experiment, options.trial);
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
  const TrainerSetup setup = recorded_setup(asked);
  require_same_data(asked.reader, asked.experiment, data_identity(setup));
  const auto trainer = make_trainer(setup);
  const std::string log = (std::filesystem::temp_directory_path() / "brood-replay.log").string();
  const int different = train_again(*trainer, trial, log, out);
  if (different == 0)
    out << "trial " << trial.id << ": " << trial.reports.size() << " epochs, all bits the same\n";
  else
    out << "trial " << trial.id << ": " << different << " of " << trial.reports.size()
        << " epochs differ: its trainer is not deterministic, or is not the one of the record\n";
  return different == 0 ? 0 : 1;
}

}  // namespace brood
