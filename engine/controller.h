// The main loop: hear the workers, decide, record, answer. Start reading at run().
//
// One thread. Owns the history of one experiment, the proposals, the verdicts and who runs what.
// Everything it touches comes in by reference; everything it changes goes to the store, in the
// order of its effect. What makes the table the same for any number of executors:
//   - a proposal sees exactly what its strategy's horizon says (engine/strategy.h),
//   - a verdict sees exactly what its lag says (engine/verdicts.h),
//   - trials are settled (told, counted, compared with the target) in id order,
//   - only what the trainer says, or a charged crash, changes an entry; a lost worker never does.
// Tested by tests/simulation_test.cpp, which cuts the power at every event.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/clock.h"
#include "engine/command.h"
#include "engine/error.h"
#include "engine/executors.h"
#include "engine/experiment.h"
#include "engine/facts.h"
#include "engine/message.h"
#include "engine/progress.h"
#include "engine/stopper.h"
#include "engine/store.h"
#include "engine/strategy.h"
#include "engine/trainer.h"
#include "engine/transport.h"
#include "engine/verdicts.h"

namespace brood {

// Every executor was lost with its host: nothing is wrong with the experiment, it can go on.
class ExecutorsLost : public UserError {
 public:
  using UserError::UserError;
};

struct ControllerOptions {
  Session session;
  int nodes = 1;             // expected; each says hello
  int workers_per_node = 1;  // without devices
  // That the config names, or {"auto"}: all of a host that compute in the numeric class. Ranks of
  // one host divide them.
  std::vector<std::string> devices;
  int workers_per_device = 1;
  int slots = 1;              // trials in each worker
  bool choose_slots = false;  // which may train fewer at a time (TrainerSetup)
  Millis lease{0};            // 0: the only node lives in this process
  Millis node_wait{60000};    // how long to wait for all nodes before going on without some
  std::string numeric_class;  // of a trainer that computes elsewhere; empty: the nodes' best
  // Among the classes that nodes offer, those that the config allows; null: all.
  std::function<bool(const std::string&)> may_compute_in = nullptr;
  std::string files_dir;  // absolute: logs and checkpoints of this experiment
  std::string base_dir;   // absolute: the config file's folder
  std::function<void(bool created)>
      on_open;            // called once the store is ours, before anything starts
  int verify_every = 64;  // on resume, every n-th stored proposal is made again and compared
  // The event log of another run of this experiment: its facts take effect here, and nothing else
  // ends a trial early.
  std::optional<std::vector<EventLogged>> replay = std::nullopt;
  // What spec.warm_start names; asked for only while the record lacks it.
  std::function<std::vector<Trial>()> known_trials = nullptr;
  CommandDesk* desk = nullptr;  // where people ask for something; nullptr: nowhere
  Millis stop_time{0};          // what `brood stop` gives running trials to save
};

struct Ending {
  std::string state;  // completed, interrupted (resumable) or failed
  std::string why;    // one sentence; empty when the search simply reached its end
};

class Controller {
 public:
  // All references outlive the controller. stopper may be null.
  Controller(const ExperimentSpec& spec, Strategy& strategy, const Stopper* stopper,
             const Planner& planner, Store& store, Transport& transport, const Clock& clock,
             Observer& observer, ControllerOptions options);

  // Resumes the experiment if the store knows it, then runs it to its end. Throws UserError when
  // the store fails, when no executor can be had, or when the record contradicts the config.
  Ending run();

  // Ends the run as "interrupted" soon: nothing new starts, running trials get up to so long to
  // reach their next checkpoint, then go back to waiting. From any thread and from a signal
  // handler.
  void interrupt(Millis save_time = Millis{0}) noexcept;

  // Removes what stopped trials saved after their end. Once run() is over and the transport, with
  // its workers, is gone.
  void sweep_last_words();

  const std::vector<Trial>& trials() const { return trials_; }

  // Trials that ended in this session.
  std::int64_t settled_now() const { return settled_ - std::min(settled_, ended_before_); }

 private:
  static constexpr int kAnyCompany = std::numeric_limits<int>::max();

  // What a trial carries until it has ended.
  struct Live {
    std::vector<double> values;  // the objective after each epoch from first_epoch, oriented
    int official = 0;            // the last epoch that peers may see
    double score = 0.0;          // what they see there
    std::optional<Place> place;  // where the current attempt runs
    int attempt = 0, charged = 0;
    int losses = 0;                  // in a row, without a new epoch
    int shared_crashes = 0;          // in a row, without a checkpoint gained
    int company_max = kAnyCompany;   // trials that may be in its worker, itself included
    bool gained_checkpoint = false;  // in the current attempt
    int saves = 0;                   // in this session
    int reports = 0;                 // in this session, repeated ones too
    bool noted_difference = false;
    std::optional<Estimate> planned;
    bool parking = false;  // a pause asked it to save and stop
    std::optional<Millis> reported_while_parking;
    struct End {
      Cause cause = Cause::none;
      std::string why;
    };
    std::optional<End>
        end;  // what the trainer said; takes effect after the verdicts on its reports
  };

  // controller_resume.cpp
  void resume();
  Ending serve();
  void import_known(History& history);  // controller_warm.cpp
  void load(History history);
  void load_live(Trial& trial, int attempts, int charged, const AttemptEnded& last);
  void verify_proposals();

  // controller_facts.cpp
  void load_facts(const History& history);
  void end_early(TrialId k, Live& live, Cause cause, const std::string& why);
  void obey_facts(TrialId k, Live& live);

  // controller_commands.cpp
  void obey_commands();
  CommandAnswer obey(const Command& command);
  CommandAnswer pause(bool now);
  CommandAnswer stop();
  CommandAnswer go_on();
  CommandAnswer cancel(const Command& command);
  CommandAnswer add(const Command& command);
  void make_pending_additions();
  CommandAnswer set(const Command& command);
  void answer_durable();
  void note(const std::string& kind, const std::string& text);
  void intervene(const Intervention& made);
  void end_cancelled(TrialId k, Live& live, const Cancellation& cancelled);
  void park(TrialId k, Live& live);
  void park_overdue();

  // controller_workers.cpp
  void lose_worker(Address address, const Lost& lost);
  void suspect(Live& live, std::size_t company);
  std::string short_of_room(TrialId k, Place place);
  std::vector<std::string> devices_for(int node);
  std::vector<Device> usable_devices(int node);

  // controller_memory.cpp
  void note_short_device(const Node& node, const Offer& offer, bool before);
  bool workers_come(Millis asked_at);
  std::optional<Place> place_for(TrialId k);
  const Estimate& planned_for(TrialId k);
  std::string short_of_memory(TrialId k, Place place);
  bool larger_device_has(std::uint64_t bytes, Address worker, const std::string& device);
  std::string short_of_device(TrialId k, Address address, const WorkerRecord& worker);

  // controller_settle.cpp
  void settle();
  void serve_duplicate(Trial& trial);
  void count_settled(const Trial& trial);
  void close_after(TrialId last, TrialId winner);

  // controller_limits.cpp
  void load_limits(const History& history);
  void follow_config();
  void change_limit(Limits::Key key, std::optional<double> to);
  void apply_limits();
  void check_failures();
  void check_target();
  void count_failure(const Trial& trial);
  bool meets(const Trial& trial, const std::optional<double>& target) const;

  // controller.cpp: frames
  void take(const Envelope& envelope);
  void on_node(int node, const NodeHello& hello);
  void on_hello(Address from, const Hello& hello);
  void on_told(Address from, const Told& told);
  void on_lost(int node, const Lost& lost);
  std::string common_numeric_class();
  bool on_gpus() const { return are_gpus(options_.devices); }
  void start_nodes();
  void lose_node(int node, const std::string& why);
  void refuse_node(int node, const std::string& why);

  // controller.cpp: one turn of the loop
  void turn();
  void watch_nodes();
  void acknowledge();
  void show_progress();
  Millis wait_max() const;
  bool over() const;

  // controller_end.cpp
  void drain();
  Millis save_time() const;
  Ending close();

  // controller_trials.cpp: a trial's life; controller_checkpoints.cpp: its checkpoints
  bool used_up() const;  // max_trials
  bool waits_for_horizon() const;
  void record_use();
  void prepare_next();
  std::optional<TrialId> next_trial();
  bool add_trial(Suggestion suggestion, Origin origin);
  void dispatch();
  void assign(TrialId k, Place place);
  std::string usable_checkpoint(TrialId k, int& epoch);
  void take_event(TrialId k, Live& live, const Event& event);
  void take_report(TrialId k, Live& live, const Report& report);
  void take_saved(TrialId k, Live& live, const Event& event);
  void end_attempt(TrialId k, Live& live, const std::string& end, bool charged,
                   const std::string& why, std::uint64_t max_rss = 0);
  void crash(TrialId k, Live& live, Cause cause, const std::string& why, std::uint64_t max_rss);
  void requeue(TrialId k, Live& live);
  void advance(TrialId k);
  bool judge(TrialId k, Live& live);
  void finish(TrialId k, TrialState state, Cause cause, std::string why);
  void reduce(Trial& trial, const Live& live) const;
  std::string broken_constraint(const Trial& trial, int epoch) const;
  void retain_checkpoints(const Trial& trial);
  void drop_checkpoints(TrialId k, int keep_from_epoch);
  std::optional<Assignment::Worth> worth_keeping(bool resumed) const;
  void sweep_checkpoints(TrialId k);
  void remove_empty_dir(TrialId k);
  void sweep_all_checkpoints();
  bool saves() const;
  void delete_dropped();
  void change(Trial& trial);
  Live::End nan_end(int epoch, double value) const;
  std::string from_database(const std::string& path) const;
  std::string trial_dir(TrialId k) const;

  double oriented(double value) const { return spec_.objective.maximize ? value : -value; }
  bool better(const Trial& a, const Trial& b) const;
  Trial& trial(TrialId k) { return trials_[static_cast<std::size_t>(k)]; }
  Ticket put(Change change) { return last_ticket_ = store_.put(std::move(change)); }

  const ExperimentSpec& spec_;
  Strategy& strategy_;
  const Planner& planner_;
  Store& store_;
  Transport& transport_;
  const Clock& clock_;
  Observer& observer_;
  const ControllerOptions options_;

  std::vector<Trial> trials_;  // by id
  std::unordered_map<TrialId, Live> live_;
  PointIndex points_;
  Facts facts_;
  Verdicts verdicts_;
  std::set<TrialId> placed_;      // live, and an attempt runs
  std::int64_t open_epochs_ = 0;  // that live trials have not reported yet
  std::set<TrialId> retry_;       // waiting for an executor again, smallest first
  static constexpr int kAllEpochs = std::numeric_limits<int>::max();
  struct Checkpoint {
    std::string path;  // absolute
    std::uint64_t bytes = 0;
  };
  std::map<TrialId, std::map<int, Checkpoint>> checkpoints_;  // by trial and epoch
  std::uint64_t checkpoint_bytes_ = 0;
  struct Dropped {
    Ticket ticket;  // what made the file needless; only once that is durable may it go
    TrialId trial;
    int epoch;
    std::string path;
  };
  std::deque<Dropped> dropped_;
  // In this session, by a verdict, with the run or with their node: they may have been saving.
  std::vector<TrialId>
      stopped_now_;  // in this session, while they trained, or lost with their node
  std::optional<Suggestion> upcoming_;  // proposal trials_.size(), made but not yet a trial
  Origin upcoming_origin_ = Origin::strategy;
  std::size_t initial_used_ = 0;  // of the config's initial points
  bool proposing_done_ = false;
  std::int64_t counted_ = 0;  // trials towards max_trials
  TrialId settled_ = 0;       // all below it have ended, in id order
  TrialId ended_before_ = 0;  // all below it had ended before this session
  TrialId told_ = 0;          // the strategy knows all below it
  std::int64_t failed_in_order_ = 0;
  std::string last_failure_;  // why the last of them failed
  struct FirstFailures {      // of the trials that were trained, in id order
    std::int64_t count = 0;
    std::string reason, why;
    TrialId first = 0;
    bool over = false;  // one went well, or failed for another reason
  } first_failures_;
  Limits limits_;
  // Changes that have not come into effect: the trial that they wait for, their number. The first
  // wait for trials to be made, the second for trials to be settled.
  std::set<std::pair<TrialId, std::size_t>> limits_for_made_, limits_for_settled_;
  std::size_t limits_seen_ = 0;  // changes that are, or were, in one of them
  // Completed trials that were better than all below them, ascending: who first met a target.
  std::vector<TrialId> records_;
  std::optional<Millis> max_wall_time_;
  std::optional<TrialId> met_target_;
  std::vector<TrialId> best_;  // of the settled, best first, at most keep_best or 1
  int duplicates_in_a_row_ = 0;
  std::optional<Ending> closing_;  // decided; nothing new starts
  bool closed_by_failures_ = false;
  bool paused_ = false;
  std::string config_;  // canonical, with what commands changed

  Executors executors_;
  bool nodes_started_ = false;
  Millis workers_asked_at_{0};
  Millis worker_lost_at_{0};  // another one comes in its place
  std::string numeric_class_;
  std::int64_t session_ = 0;
  std::string last_loss_;    // why the last worker was lost, for a final error
  bool hosts_lost_ = false;  // from outside: not refused, and not for workers that do not start

  struct PendingAck {
    Ticket ticket;
    Address worker;
    std::int64_t sequence;
  };
  std::deque<PendingAck> acks_;
  Ticket last_ticket_ = 0;
  struct PendingAnswer {
    Ticket ticket;
    std::uint64_t id;
    CommandAnswer answer;
  };
  std::deque<PendingAnswer> answers_;

  std::atomic<bool> interrupted_{false};
  std::atomic<std::int64_t> save_time_ms_{std::numeric_limits<std::int64_t>::max()};
  Progress progress_;
  Millis started_{0}, shown_{0}, leased_{0}, watched_{0}, turned_{0};
  double busy_time_ms_ = 0.0, executor_time_ms_ = 0.0;
  double horizon_time_ms_ = 0.0;  // executors idle although there is more to propose
  bool waits_for_horizon_ = false;
  Millis used_{0};           // when this was last recorded
  bool more_to_do_ = false;  // the next turn must not wait
};

}  // namespace brood
