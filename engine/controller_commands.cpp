// What people ask of a running controller. What changes the table is written down with the trial at
// which it takes effect, then done; the answer goes out when that is durable.
#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/controller.h"
#include "engine/error.h"
#include "engine/json.h"
#include "engine/json_library.h"

namespace brood {

namespace {

// A trainer that was asked to save and has reported since then will not save any more.
constexpr Millis kParkGrace{5000};

CommandAnswer refused(std::string why) { return {false, std::move(why)}; }

std::string limit_text(const std::optional<double>& limit) {
  if (!limit) return "none";
  // Beyond that a double has no fraction, and soon no place in 64 bits.
  const auto whole = std::abs(*limit) < 9e15 ? static_cast<std::int64_t>(*limit) : 0;
  return static_cast<double>(whole) == *limit ? std::to_string(whole) : to_text(Value{*limit});
}

}  // namespace

void Controller::obey_commands() {
  if (options_.desk == nullptr) return;
  while (const auto command = options_.desk->next()) {
    CommandAnswer answer = obey(*command);
    if (answer.done) observer_.note("a command: " + answer.text);
    answers_.push_back({last_ticket_, command->id, std::move(answer)});
  }
  park_overdue();
}

void Controller::answer_durable() {
  const Ticket durable = answers_.empty() ? 0 : store_.durable();
  for (; !answers_.empty() && answers_.front().ticket <= durable; answers_.pop_front())
    options_.desk->answer(answers_.front().id, answers_.front().answer);
}

CommandAnswer Controller::obey(const Command& command) {
  if (closing_ || interrupted_) return refused("the run is about to end");
  const bool changes = command.kind == Command::Kind::cancel ||
                       command.kind == Command::Kind::add || command.kind == Command::Kind::set;
  if (changes && facts_.replays())
    return refused("this run repeats the event log of another, and would no longer");
  switch (command.kind) {
    case Command::Kind::pause:
      return pause(command.now);
    case Command::Kind::go_on:
      return go_on();
    case Command::Kind::stop:
      return stop();
    case Command::Kind::cancel:
      return cancel(command);
    case Command::Kind::add:
      return add(command);
    case Command::Kind::set:
      break;
  }
  return set(command);
}

CommandAnswer Controller::stop() {
  note("stop", "asked to stop");
  interrupt(options_.stop_time);
  const int running = executors_.busy();
  const std::string trials = std::to_string(running) + " running trial" + (running == 1 ? "" : "s");
  std::string text = "the run stops; what is recorded stays";
  if (running > 0)
    text += saves() ? ", " + trials + " may save first, for up to " +
                          std::to_string(options_.stop_time.count() / 1000) + " s"
                    : "; " + trials + " will start over, as the config keeps no checkpoints";
  return {true, text};
}

// For people: it changes no entry of the table.
void Controller::note(const std::string& kind, const std::string& text) {
  put(EventLogged{-1, clock_.wall_us(), kind,
                  Json(text).dump(-1, ' ', false, Json::error_handler_t::replace)});
}

void Controller::intervene(const Intervention& made) {
  EventLogged event = to_event(made, clock_.wall_us());
  CHECK(facts_.add(event), "a command that was obeyed before");
  put(std::move(event));
}

CommandAnswer Controller::pause(bool now) {
  const bool already = paused_;
  if (!paused_) {
    paused_ = true;
    note("pause", now ? "asked to pause now" : "asked to pause");
    put(StateChanged{"paused", ""});
  }
  std::vector<TrialId> running;
  for (const auto& [k, live] : live_)
    if (live.place && !live.parking) running.push_back(k);
  const std::string count =
      std::to_string(running.size()) + " running trial" + (running.size() == 1 ? "" : "s");
  if (now) {
    std::sort(running.begin(), running.end());
    for (const TrialId k : running) {
      Live& live = live_.at(k);
      live.parking = true;
      live.reported_while_parking.reset();
      if (saves())
        transport_.send(live.place->worker, encode(Save{live.place->slot, k, live.attempt}));
      else
        park(k, live);
    }
    return {true, !saves() ? "paused; " + count +
                                 " stopped, and will start over, as the config "
                                 "keeps no checkpoints"
                           : "paused; " + count +
                                 " will stop at the next checkpoint; one that makes none stops "
                                 "after its epoch, and will start over"};
  }
  return {true, (already ? "paused already; " : "paused; ") + count +
                    (running.size() == 1 ? " goes on to its end" : " go on to their ends")};
}

CommandAnswer Controller::go_on() {
  if (!paused_) return refused("the run is not paused");
  paused_ = false;
  for (auto& [k, live] : live_) live.parking = false;
  note("continue", "asked to go on");
  put(StateChanged{"running", ""});
  return {true, "the run goes on"};
}

// A paused trial leaves its executor; it waits for another, and for its checkpoint.
void Controller::park(TrialId k, Live& live) {
  const Place place = *live.place;
  transport_.send(place.worker, encode(Stop{place.slot, k, live.attempt}));
  end_attempt(k, live, "paused", false, "asked to pause");
  requeue(k, live);
  advance(k);
}

void Controller::park_overdue() {
  if (!paused_) return;
  std::vector<TrialId> overdue;
  for (const auto& [k, live] : live_)
    if (live.place && live.parking && live.reported_while_parking &&
        clock_.now() - *live.reported_while_parking > kParkGrace)
      overdue.push_back(k);
  std::sort(overdue.begin(), overdue.end());
  for (const TrialId k : overdue) park(k, live_.at(k));
}

CommandAnswer Controller::cancel(const Command& command) {
  const TrialId k = command.trial;
  const std::string name = "trial " + std::to_string(k);
  if (k < 0 || k >= static_cast<TrialId>(trials_.size()))
    return refused(
        "there is no " + name +
        (trials_.empty() ? "" : "; the latest is " + std::to_string(trials_.size() - 1)));
  const Trial& t = trial(k);
  if (ended(t.state))
    return refused(name + " has ended already (" + std::string(to_text(t.state)) + ")");
  Cancellation made;
  made.trial = k;
  made.judged_epoch = std::max(t.judged_epoch, t.first_epoch - 1);
  made.epoch = std::max(made.judged_epoch, live_.at(k).official);
  made.why = command.why.empty() ? "asked to cancel it" : command.why;
  intervene(made);
  advance(k);
  CHECK(t.state == TrialState::cancelled, "a cancelled trial that goes on");
  return {true,
          name + " is cancelled" +
              (made.epoch < t.first_epoch ? " before its first epoch"
                                          : " after epoch " + std::to_string(made.epoch)),
          k};
}

// Its reports up to the epoch that others may have seen stay official.
void Controller::end_cancelled(TrialId k, Live& live, const Cancellation& cancelled) {
  Trial& t = trial(k);
  if (cancelled.epoch > t.judged_epoch) {
    if (verdicts_.due(cancelled.epoch)) {
      const auto count = live.values.begin() + (cancelled.epoch - t.first_epoch + 1);
      const std::vector<double> values(live.values.begin(), count);
      if (live.official < cancelled.epoch) live.score = verdicts_.reach(k, cancelled.epoch, values);
      live.official = cancelled.epoch;
      put(Judged{k, cancelled.epoch, live.score, Verdict::proceed, -1});
    }
    if (cancelled.epoch >= t.first_epoch) t.judged_epoch = cancelled.epoch;
  }
  finish(k, TrialState::cancelled, Cause::command, cancelled.why);
}

// Trials that were added before a kill and not yet made.
void Controller::make_pending_additions() {
  while (const Addition* pending =
             facts_.interventions().addition(static_cast<TrialId>(trials_.size()))) {
    const auto k = static_cast<TrialId>(trials_.size());
    upcoming_.reset();
    Suggestion given;
    given.proposal.params = pending->params;
    if (add_trial(std::move(given), Origin::user)) retry_.insert(k);
  }
}

CommandAnswer Controller::add(const Command& command) {
  make_pending_additions();
  const auto same = points_.find(command.params);
  if (used_up() && !same)
    return refused("max_trials is used up (" + limit_text(limits_.max_trials) +
                   "): allow one more first, `brood set max_trials " +
                   std::to_string(counted_ + 1) + "`");
  const auto k = static_cast<TrialId>(trials_.size());
  intervene(Addition{k, command.params});
  // What was to be trial k is proposed anew as the next one.
  upcoming_.reset();
  proposing_done_ = false;
  Suggestion given;
  given.proposal.params = command.params;
  const bool trains = add_trial(std::move(given), Origin::user);
  if (trains) retry_.insert(k);
  settle();
  const Trial& t = trial(k);
  std::string text = "trial " + std::to_string(k) + " is added";
  if (t.same_as)
    text += "; it is equal to trial " + std::to_string(*t.same_as) +
            ", whose result serves it: nothing is trained";
  else if (t.state == TrialState::infeasible)
    text += ", but infeasible: " + t.why;
  return {true, text, k};
}

CommandAnswer Controller::set(const Command& command) {
  const std::string name = command.key;
  std::string before = "none";
  const auto key = limit_key(name);
  if (key) {
    before = limit_text(limits_[*key]);
    if (limits_[*key] == command.value) return refused(name + " is " + before + " already");
  }
  Json config = parse_json(config_);
  Json& block = config[name == "target" ? "objective" : "budget"];
  if (block.is_null()) block = Json::object();
  if (name == "max_wall_time" && block.contains(name)) before = block[name].dump();
  if (command.value)
    block[name] = parse_json(command.json);
  else
    block.erase(name);
  config_ = config.dump();
  if (key) {
    change_limit(*key, command.value);
  } else {
    max_wall_time_.reset();
    if (command.value) max_wall_time_ = Millis{static_cast<std::int64_t>(*command.value * 1000.0)};
    note("set", name + ": " + before + " -> " + command.json);
  }
  store_.set_config(config_);
  record_use();  // behind the config: a ticket for both
  settle();
  return {true, name + ": " + before + " -> " + (command.value ? command.json : "none")};
}

}  // namespace brood
