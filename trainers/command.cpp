#include "trainers/command.h"

#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <utility>

#include "engine/device.h"
#include "engine/process_tree.h"
#include "engine/resolve.h"
#include "engine/spawn.h"
#include "engine/suggest.h"
#include "trainers/block.h"
#include "trainers/command_line.h"
#include "trainers/program.h"

namespace brood {

namespace {

namespace fs = std::filesystem;
using SteadyClock = std::chrono::steady_clock;

constexpr int kTailLines = 10;
// What is quoted of a broken line may be as long as the line.
constexpr std::size_t kWhyMax = 500;

struct Settings {
  std::vector<std::string> argv;
  std::vector<std::pair<std::string, std::string>> environment;
  std::int64_t epochs = 1;
  bool persistent = false;
  Millis stop_grace{5000};
};

Settings read_settings(BlockReader& block) {
  Settings out;
  block.find("name");
  out.argv = block.texts("argv", 1);
  out.environment = block.named_texts("environment");
  for (const auto& [name, value] : out.environment)
    if (name.empty() || name.find('=') != std::string::npos || name == "BROOD_FD")
      block.problem("environment", "cannot set a variable named \"" + name + "\"");
  out.epochs = block.whole("epochs", 1, std::numeric_limits<int>::max(), std::nullopt);
  out.persistent = block.flag("persistent", false);
  out.stop_grace = block.duration("stop_grace", out.stop_grace);
  return out;
}

Settings resolved(const Template& block, const ParamSet& params) {
  BlockReader reader(block.resolve(params).json);
  Settings settings = read_settings(reader);
  const auto problems = reader.finish();
  if (!problems.empty())
    throw TrialFailure(Cause::trainer,
                       "trainer" + problems.front().pointer + ": " + problems.front().message);
  return settings;
}

class Command final : public Trainer {
 public:
  explicit Command(const TrainerSetup& setup)
      : block_(setup.config),
        base_dir_(setup.base_dir),
        objective_(setup.objective),
        device_(setup.device),
        share_(std::to_string(setup.share) + "/" + std::to_string(setup.shares)),
        epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (!epoll_) throw UserError("cannot watch programs: too many open files");
  }

  Offer offer() const override {
    Offer offer;
    offer.numeric_class = "command";
    if (!device_.empty()) offer.device = device_;
    return offer;
  }
  int wait_on() const override { return epoll_.get(); }
  void start(int slot, const Assignment& assignment) override;
  void stop(int slot) override;
  void save(int slot) override;
  std::vector<Event> advance(Millis slice) override;

 private:
  void launch();
  void name_device(Environment& environment) const;
  void leave();
  bool still_leaving();
  void read_program(std::vector<Event>& events);
  void obey(const ProgramLine& line, std::vector<Event>& events);
  void take_report(const Report& report, std::vector<Event>& events);
  void program_ended(int status, std::vector<Event>& events);
  void end_trial(std::vector<Event>& events);
  void fail(Cause cause, const std::string& why, std::vector<Event>& events);
  void release();
  std::string program_log() const;

  Template block_;
  std::string base_dir_;
  std::string objective_;
  std::string device_, share_;
  Descriptor epoll_;  // of the program's own

  std::optional<Assignment> trial_;
  Settings settings_;  // of the trial
  bool launched_ = false;
  std::uint64_t memory_kills_ = 0;  // of the kernel, at the launch
  int reported_epoch_ = 0;

  std::unique_ptr<Program> program_;
  Settings program_settings_;  // what it was started with
  // A program that was asked to stop, until it has; a new trial waits for it, so that two never
  // share the memory of one.
  std::optional<SteadyClock::time_point> leaving_until_;
  std::optional<Assignment> left_;  // the trial it was stopped in
};

// A program that serves many trials writes into a log of its own, of which each trial gets its part
// when it ends.
std::string Command::program_log() const {
  if (!settings_.persistent || trial_->log.empty()) return trial_->log;
  const fs::path folder = fs::path(trial_->log).parent_path();
  return (folder / ("program_" + std::to_string(::getpid()) + ".log")).string();
}

void Command::start(int slot, const Assignment& assignment) {
  CHECK(slot == 0 && !trial_, "slot " + std::to_string(slot) + " is taken");
  settings_ = resolved(block_, assignment.params);
  if (!assignment.resume_from.empty() && !fs::exists(assignment.resume_from))
    throw TrialFailure(Cause::checkpoint,
                       "the checkpoint " + assignment.resume_from + " is not there");
  std::error_code ignored;  // the program will say that it cannot save
  if (!assignment.save_dir.empty()) fs::create_directories(assignment.save_dir, ignored);
  trial_ = assignment;
  launched_ = false;
  reported_epoch_ = assignment.first_epoch - 1;
}

// The program sees its device alone, as the first; none where it is to compute on the CPU.
void Command::name_device(Environment& environment) const {
  if (device_.empty()) return;
  set_variable(environment, "CUDA_VISIBLE_DEVICES",
               visible_alone(device_, std::getenv("CUDA_VISIBLE_DEVICES")));
  // Numbers mean what `brood doctor` and nvidia-smi mean by them.
  if (std::getenv("CUDA_DEVICE_ORDER") == nullptr)
    set_variable(environment, "CUDA_DEVICE_ORDER", "PCI_BUS_ID");
  set_variable(environment, "BROOD_DEVICE", device_);
  set_variable(environment, "BROOD_DEVICE_SHARE", share_);
}

void Command::launch() {
  const bool same = program_ && settings_.persistent && program_settings_.persistent &&
                    program_settings_.argv == settings_.argv &&
                    program_settings_.environment == settings_.environment;
  if (!same) {
    program_.reset();
    ProgramRequest request;
    request.argv = settings_.argv;
    request.environment = child_environment();
    set_variable(request.environment, "BROOD_FD", "3");
    set_variable(request.environment, "PYTHONUNBUFFERED", "1");  // logs that a crash cannot eat
    name_device(request.environment);
    for (const auto& [name, value] : settings_.environment)
      set_variable(request.environment, name, value);
    request.directory = base_dir_;
    request.log = program_log();
    program_ = std::make_unique<Program>(request);
    program_settings_ = settings_;
    epoll_event event{};
    event.events = EPOLLIN;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, program_->descriptor(), &event);
  }
  program_->write_line(assignment_line(*trial_));
  launched_ = true;
  memory_kills_ = out_of_memory_kills();
}

void Command::save(int) {
  if (trial_ && launched_ && !trial_->save_dir.empty())
    program_->write_line(request_line("save", *trial_));
}

void Command::stop(int) {
  if (!trial_) return;
  if (launched_) leave();
  release();
}

// Asks the program to end its trial, and gives it a while to do so.
void Command::leave() {
  program_->write_line(request_line("stop", *trial_));
  if (!settings_.persistent) program_->close_input();
  leaving_until_ = SteadyClock::now() + settings_.stop_grace;
  left_ = trial_;
}

bool Command::still_leaving() {
  if (!leaving_until_) return false;
  program_->pump();
  bool ended = false, broken = false;
  while (const auto line = program_->next_line()) {
    try {
      const ProgramLine parsed = parse_line(*line);
      const bool last = parsed.report && parsed.report->epoch == left_->last_epoch;
      if (parsed.trial == left_->trial && parsed.attempt == left_->attempt)
        ended = ended || parsed.ended || last;
    } catch (const UserError&) {
      broken = true;
    }
  }
  const bool gone = program_->exit_status() || program_->line_too_long() || broken;
  if (!gone && !(ended && program_settings_.persistent) && SteadyClock::now() < *leaving_until_)
    return true;
  if (gone || !ended) program_.reset();
  leaving_until_.reset();
  return false;
}

std::vector<Event> Command::advance(Millis) {
  std::vector<Event> events;
  if (still_leaving()) return events;
  if (!trial_) {
    // A persistent program that ends between two trials is started again when it is needed.
    if (program_) program_->pump();
    if (program_ && program_->exit_status()) program_.reset();
    return events;
  }
  try {
    if (!launched_) {
      if (program_) program_->pump();
      if (program_ && program_->exit_status()) program_.reset();
      launch();
    }
  } catch (const UserError& error) {
    fail(Cause::trainer, error.what(), events);
    return events;
  }
  read_program(events);
  return events;
}

void Command::read_program(std::vector<Event>& events) {
  program_->pump();
  while (trial_) {
    const std::optional<std::string> line = program_->next_line();
    if (!line) break;
    ProgramLine parsed;
    try {
      parsed = parse_line(*line);
    } catch (const UserError& error) {
      const std::string shown = line->size() > 100 ? line->substr(0, 97) + "..." : *line;
      fail(Cause::protocol, "the program wrote a broken line: " + shown + ": " + error.what(),
           events);
      return;
    }
    obey(parsed, events);
  }
  if (!trial_) return;
  if (program_->line_too_long())
    fail(Cause::protocol, "the program wrote a line of more than 1 MiB", events);
  else if (const std::optional<int> status = program_->exit_status())
    program_ended(*status, events);
}

void Command::obey(const ProgramLine& line, std::vector<Event>& events) {
  const bool named = line.trial && line.attempt;
  if (settings_.persistent && !named) {
    fail(Cause::protocol, "a persistent program must name \"trial\" and \"attempt\" in every line",
         events);
  } else if (line.trial.value_or(trial_->trial) != trial_->trial ||
             line.attempt.value_or(trial_->attempt) != trial_->attempt) {
    fail(Cause::protocol, "the program reported for a trial that it does not run", events);
  } else if (line.ended) {
    if (settings_.persistent) end_trial(events);  // else its exit says so
  } else {
    take_report(*line.report, events);
  }
}

void Command::take_report(const Report& report, std::vector<Event>& events) {
  const std::string epoch = std::to_string(report.epoch);
  if (report.epoch != reported_epoch_ + 1) {
    fail(Cause::protocol,
         "the program reported epoch " + epoch + " after epoch " + std::to_string(reported_epoch_) +
             "; epochs come one by one",
         events);
    return;
  }
  if (report.epoch > trial_->last_epoch) {
    fail(Cause::protocol,
         "the program reported epoch " + epoch + ", but the trial ends with epoch " +
             std::to_string(trial_->last_epoch),
         events);
    return;
  }
  const Metric* const objective = report.find(objective_);
  if (objective == nullptr && !objective_.empty()) {
    std::vector<std::string> names;
    for (const Metric& metric : report.metrics) names.push_back(metric.name);
    fail(Cause::protocol,
         "the report of epoch " + epoch + " lacks the objective \"" + objective_ + "\"" +
             did_you_mean(objective_, names),
         events);
    return;
  }
  reported_epoch_ = report.epoch;
  Event event;
  event.kind = Event::Kind::report;
  event.report = report;
  events.push_back(event);
  if (objective != nullptr && std::isnan(objective->value)) {
    fail(Cause::nan, objective_ + " became NaN in epoch " + epoch, events);
    return;
  }
  if (!trial_->save_dir.empty()) {
    const std::string path = checkpoint_path(*trial_, reported_epoch_);
    std::error_code ignored;
    if (fs::exists(path, ignored)) {
      Event saved;
      saved.kind = Event::Kind::saved;
      saved.epoch = reported_epoch_;
      saved.path = path;
      events.push_back(std::move(saved));
    }
  }
  if (settings_.persistent && reported_epoch_ == trial_->last_epoch) end_trial(events);
}

void Command::program_ended(int status, std::vector<Event>& events) {
  const std::string program = "\"" + settings_.argv.front() + "\" ";
  if (WIFSIGNALED(status)) {
    // Killed from outside says nothing about the trial, unless the kernel did it for memory.
    const bool memory = WTERMSIG(status) == SIGKILL && out_of_memory_kills() > memory_kills_;
    const Cause cause = memory                        ? Cause::memory
                        : own_fault(WTERMSIG(status)) ? Cause::signal
                                                      : Cause::lost;
    fail(cause, program + describe_status(status), events);
  } else if (WEXITSTATUS(status) != 0) {
    fail(Cause::exit_status, program + describe_status(status), events);
  } else if (settings_.persistent) {
    fail(Cause::exit_status,
         program + "ended with status 0 in the middle of a trial, though it is persistent", events);
  } else if (reported_epoch_ < trial_->first_epoch) {
    fail(Cause::protocol,
         program + "ended with status 0 without a report on the descriptor in BROOD_FD", events);
  } else {
    end_trial(events);
  }
}

void Command::end_trial(std::vector<Event>& events) {
  Event ended;
  ended.kind = Event::Kind::ended;
  ended.epoch = reported_epoch_;
  events.push_back(ended);
  release();
  if (!settings_.persistent) program_.reset();
}

void Command::fail(Cause cause, const std::string& why, std::vector<Event>& events) {
  Event failed;
  failed.kind = Event::Kind::failed;
  failed.cause = cause;
  failed.why = why.size() > kWhyMax ? why.substr(0, kWhyMax) + "..." : why;
  const std::string tail = program_ && launched_ ? program_->tail(kTailLines) : "";
  if (!tail.empty()) failed.why += "; the last lines of its log:\n" + tail;
  events.push_back(std::move(failed));
  release();
  program_.reset();
}

// Also hands a persistent program's output since the trial began to the trial's own log.
void Command::release() {
  if (program_ && settings_.persistent && !trial_->log.empty()) {
    std::ofstream(trial_->log, std::ios::app) << program_->output_since_mark();
    program_->mark_log();
  }
  trial_.reset();
}

class CommandPlanner final : public Planner {
 public:
  explicit CommandPlanner(const std::string& block) : block_(block) {}

  Estimate estimate(const ParamSet& params) const override {
    Estimate out;
    try {
      out.epochs = static_cast<int>(resolved(block_, params).epochs);
    } catch (const UserError& error) {
      out.infeasible = error.what();
    }
    return out;
  }

 private:
  Template block_;
};

}  // namespace

std::unique_ptr<Trainer> make_command(const TrainerSetup& setup) {
  return std::make_unique<Command>(setup);
}

std::unique_ptr<Planner> make_command_planner(const TrainerSetup& setup) {
  return std::make_unique<CommandPlanner>(setup.config);
}

std::vector<Problem> check_command(const std::string& resolved_json) {
  BlockReader reader(resolved_json);
  read_settings(reader);
  return reader.finish();
}

}  // namespace brood
