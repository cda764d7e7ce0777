// brood why: reasons, in sentences.
#include "cli/why.h"

#include <algorithm>
#include <cmath>

#include "engine/log_tail.h"

namespace brood {

namespace {

using Sentences = std::vector<std::string>;

// As a peer's score was seen, in the sense of the metric itself.
std::string score_text(const ExperimentRecord& experiment, double score) {
  if (std::isnan(score)) return "NaN";
  return shown_number(experiment.maximize ? score : -score);
}

std::string end_text(const AttemptRecord& attempt) {
  if (!attempt.end) return "has not ended";
  std::string out = attempt.end->empty() ? std::string("was cut off") : "ended: ";
  for (const char c : printable(*attempt.end)) out += c == '_' ? ' ' : c;
  if (attempt.ended_us)
    out.append(" after ").append(span_text(attempt.started_us, *attempt.ended_us));
  return attempt.charged ? out + ", charged" : out;
}

// A line each. told: a reason that has been said already.
void add_attempts(Asked& asked, TrialId trial, Sentences& out, const std::string& told = "") {
  bool charged = false;
  std::string before = told;
  for (const AttemptRecord& attempt : asked.reader.attempts(asked.experiment, trial)) {
    std::string text = "Attempt " + std::to_string(attempt.attempt) + " on " +
                       printable(attempt.executor) + " from epoch " +
                       std::to_string(attempt.from_epoch) + " " + end_text(attempt);
    const std::string why = short_reason(attempt.why);
    if (!why.empty() && why != before) text.append(": ").append(why);
    if (!why.empty()) before = why;
    out.push_back(text + ".");
    charged = charged || attempt.charged;
  }
  if (charged)
    out.emplace_back("(charged: it counts against fault_tolerance.max_retries_per_trial.)");
}

void add_events(Asked& asked, std::int64_t count, std::optional<TrialId> trial, Sentences& out) {
  for (const EventRecord& event : asked.reader.events(asked.experiment, count, trial)) {
    // Of a trial the attempts have told it.
    if (trial && event.kind == "charged_crash") continue;
    out.push_back("Event at " + time_text(event.at_us) + ": " + event_text(event));
  }
}

std::string go_on(const Asked& asked) {
  return "`brood continue " + shell_word(asked.reader.path()) + "`";
}

void why_waiting(Asked& asked, const Trial& trial, Sentences& out) {
  const std::string name = "Trial " + std::to_string(trial.id);
  const auto attempts = asked.reader.attempts(asked.experiment, trial.id);
  const bool trained = !trial.reports.empty() && trial.reports.back().epoch == trial.last_epoch;
  if (!alive(asked.reader, asked.experiment)) {
    out.push_back(name + " waits because no process runs the experiment: continue it with " +
                  resume_command(asked.reader, asked.experiment) + ".");
  } else if (asked.experiment.state == "paused") {
    out.push_back(name + " waits because the run is paused: " + go_on(asked) + " lets it go on.");
  } else if (!trial.why.empty()) {
    out.push_back(name + " waits: " + short_reason(trial.why) + ".");
  } else if (trained) {
    out.push_back(name + " is trained; it waits for trials before it to reach the same epoch, " +
                  "because a verdict on it has to see them.");
  } else if (trial.parent && !ended(asked.reader.trial(asked.experiment, *trial.parent).state)) {
    out.push_back(name + " waits for its parent, trial " + std::to_string(*trial.parent) +
                  ", whose checkpoint it starts from.");
  } else if (attempts.empty()) {
    out.push_back(name + " waits for an executor; none has been free since it was proposed.");
  } else {
    out.push_back(name + " waits for an executor to run again: attempt " +
                  std::to_string(attempts.back().attempt) + " came to nothing.");
  }
  add_attempts(asked, trial.id, out);
}

void why_running(Asked& asked, const Trial& trial, Sentences& out) {
  const std::string name = "Trial " + std::to_string(trial.id);
  if (!alive(asked.reader, asked.experiment)) {
    out.push_back(name + " was running when its run ended without saying so; " +
                  resume_command(asked.reader, asked.experiment) +
                  " runs it again from its last checkpoint.");
  } else {
    const int reached = trial.reports.empty() ? 0 : trial.reports.back().epoch;
    out.push_back(name + " is running; it has reported epoch " + std::to_string(reached) + " of " +
                  std::to_string(trial.last_epoch) + ".");
    if (reached > trial.judged_epoch && trial.judged_epoch > 0)
      out.push_back("Its epochs after " + std::to_string(trial.judged_epoch) +
                    " await a verdict: trials before it have not come that far.");
  }
  add_attempts(asked, trial.id, out);
}

void add_verdicts(Asked& asked, const Trial& trial, Sentences& out) {
  const ExperimentRecord& experiment = asked.experiment;
  for (const Judged& judged : asked.reader.verdicts(experiment, trial.id)) {
    if (judged.horizon < 0) continue;  // its own last epoch: nothing was asked
    const Standing standing = asked.reader.standing(experiment, judged);
    std::string text = "After epoch " + std::to_string(judged.epoch) + " it had " +
                       printable(experiment.objective) + " " +
                       score_text(experiment, judged.score) + ": ";
    if (standing.peers == 0)
      text += "it could not be compared, as a verdict sees only trials far before it (verdict_lag)";
    else
      text += std::to_string(standing.better) + " of the " + std::to_string(standing.peers) +
              " trials that it was compared with (those below number " +
              std::to_string(judged.horizon) + ") were better, rank " +
              std::to_string(standing.better + 1) + " of " + std::to_string(standing.peers + 1);
    out.push_back(text + (judged.verdict == Verdict::stop ? "; it was stopped." : "; it went on."));
  }
}

void why_stopped(Asked& asked, const Trial& trial, Sentences& out) {
  out.push_back("Trial " + std::to_string(trial.id) + " was stopped after epoch " +
                std::to_string(trial.judged_epoch) + " of " + std::to_string(trial.last_epoch) +
                ".");
  add_verdicts(asked, trial, out);
  const int reported = trial.reports.empty() ? 0 : trial.reports.back().epoch;
  if (reported > trial.judged_epoch)
    out.push_back("It had trained on to epoch " + std::to_string(reported) +
                  " before the verdict could be given; those epochs do not count.");
}

void why_failed(Asked& asked, const Trial& trial, Sentences& out) {
  const std::string why = short_reason(trial.why);
  std::string cause(to_text(trial.cause));
  std::replace(cause.begin(), cause.end(), '_', ' ');
  out.push_back("Trial " + std::to_string(trial.id) + " failed (" + cause + "): " + why);
  add_attempts(asked, trial.id, out, why);
  const auto attempts = asked.reader.attempts(asked.experiment, trial.id);
  const bool logged = !attempts.empty() && !attempts.back().log.empty();
  const std::string path =
      logged ? path_beside(asked.reader.path(), attempts.back().log) : std::string();
  const std::string tail = logged ? log_tail(path, 0, 10) : std::string();
  const std::size_t line_end = trial.why.find('\n');
  if (!tail.empty())
    out.push_back("The end of " + printable(path) + ":\n" + printable(tail, true));
  else if (line_end != std::string::npos)  // its log is gone, but the record holds some lines
    out.push_back(printable(trial.why.substr(line_end + 1), true));
}

void why_completed(Asked& asked, const Trial& trial, Sentences& out) {
  std::string text = "Trial " + std::to_string(trial.id) + " reached its last epoch, " +
                     std::to_string(trial.last_epoch);
  if (trial.objective)
    text +=
        ", with " + printable(asked.experiment.objective) + " " + shown_number(*trial.objective);
  if (const auto rank = asked.reader.rank(asked.experiment, trial))
    text += ", rank " + std::to_string(*rank);
  out.push_back(text + ".");
  add_verdicts(asked, trial, out);
}

void why_not_started(Asked& asked, Sentences& out) {
  const StateCounts counts = asked.reader.counts(asked.experiment);
  if (counts.running == 0 && counts.waiting == 0)
    out.push_back("No trial is open; the next proposal is being made, or the run is about to end.");
  add_events(asked, 3, std::nullopt, out);
}

}  // namespace

std::vector<std::string> why_trial(Asked& asked, const Trial& trial) {
  Sentences out;
  const std::string name = "Trial " + std::to_string(trial.id);
  switch (trial.state) {
    case TrialState::waiting:
      why_waiting(asked, trial, out);
      break;
    case TrialState::running:
      why_running(asked, trial, out);
      break;
    case TrialState::completed:
      why_completed(asked, trial, out);
      break;
    case TrialState::stopped:
      why_stopped(asked, trial, out);
      break;
    case TrialState::failed:
      why_failed(asked, trial, out);
      break;
    case TrialState::infeasible:
      out.push_back(name + " is infeasible: " + short_reason(trial.why) + ".");
      break;
    case TrialState::duplicate:
      out.push_back(name + " has the same parameters as trial " +
                    std::to_string(trial.same_as.value_or(-1)) +
                    " and shares its result; nothing was trained for it.");
      break;
    case TrialState::known:
      out.push_back(name + " was not trained here: it is " + short_reason(trial.why) +
                    ", told to the search before it began (warm_start).");
      break;
    case TrialState::cancelled:
      out.push_back(name + " was cancelled: " + short_reason(trial.why) + ".");
      add_attempts(asked, trial.id, out);
      break;
    case TrialState::surplus:
      out.push_back(name + " does not count: " + short_reason(trial.why) + ".");
      break;
  }
  add_events(asked, 20, trial.id, out);
  return out;
}

std::vector<std::string> why_experiment(Asked& asked) {
  const ExperimentRecord& experiment = asked.experiment;
  const std::string name = "Experiment \"" + printable(experiment.name) + "\"";
  const bool lives = alive(asked.reader, experiment);
  Sentences out;
  if (is_open(experiment) && !lives) {
    out.push_back(name + " stands still: its last process ended without saying so (killed, or a " +
                  "power cut). Continue it with " + resume_command(asked.reader, experiment) + ".");
  } else if (is_open(experiment)) {
    const auto running = asked.reader.running(experiment);
    const bool paused = experiment.state == "paused";
    if (paused)
      out.push_back(name + " is paused: no trial starts until " + go_on(asked) + "." +
                    (running.empty()
                         ? ""
                         : " " + count_text(static_cast<std::int64_t>(running.size()), "trial") +
                               " that had begun " + (running.size() == 1 ? "is" : "are") +
                               " still in training."));
    else
      out.push_back(name + " is running, with " +
                    count_text(static_cast<std::int64_t>(running.size()), "trial") +
                    " in training.");
    std::int64_t latest = 0;
    for (const RunningRecord& one : running)
      latest = std::max({latest, one.started_us, one.reported_us.value_or(0)});
    if (latest > 0)
      out.push_back("The last sign of life of one of them came " + span_text(latest, now_us()) +
                    " ago.");
    if (running.empty() && !paused) why_not_started(asked, out);
  } else {
    out.push_back(name + " is " + experiment.state +
                  (experiment.why.empty() ? std::string(": it came to its end.")
                                          : ": " + short_reason(experiment.why) + "."));
    if (experiment.state == "interrupted")
      out.push_back("Continue it with " + resume_command(asked.reader, experiment) + ".");
  }
  const StateCounts counts = asked.reader.counts(experiment);
  if (counts.failed > 0) {
    out.push_back(count_text(counts.failed, "trial") +
                  " failed; `brood why N` tells why one did. The numbers: `brood query " +
                  "\"state = 'failed'\"`.");
  }
  return out;
}

int why_command(const WhyOptions& options, std::ostream& out) {
  Asked asked = ask(options.where);
  const Sentences sentences =
      options.trial ? why_trial(asked, asked.reader.trial(asked.experiment, *options.trial))
                    : why_experiment(asked);
  for (const std::string& sentence : sentences) out << sentence << "\n";
  return 0;
}

}  // namespace brood
