#include "engine/controller.h"

#include <algorithm>
#include <utility>

#include "engine/error.h"

namespace brood {

namespace {

constexpr Millis kShow{200};
constexpr Millis kLeaseEvery{1000};
constexpr Millis kUseEvery{5000};
// Frames taken before the loop looks at everything else again.
constexpr int kFramesPerTurn = 1024;

bool offers(const Node& node, const std::string& wanted) {
  const auto& classes = node.hello.numeric_classes;
  return classes.empty() || std::find(classes.begin(), classes.end(), wanted) != classes.end();
}

}  // namespace

Controller::Controller(const ExperimentSpec& spec, Strategy& strategy, const Stopper* stopper,
                       const Planner& planner, Store& store, Transport& transport,
                       const Clock& clock, Observer& observer, ControllerOptions options)
    : spec_(spec),
      strategy_(strategy),
      planner_(planner),
      store_(store),
      transport_(transport),
      clock_(clock),
      observer_(observer),
      options_(std::move(options)),
      verdicts_(stopper, spec.verdict_lag) {}

Ending Controller::run() {
  started_ = turned_ = clock_.now();
  resume();
  try {
    return serve();
  } catch (const UserError& error) {
    // The record should say that nobody runs it, if it still can.
    try {
      put(StateChanged{"interrupted", error.what()});
      store_.flush();
    } catch (const UserError&) {
    }
    throw;
  }
}

Ending Controller::serve() {
  prepare_next();
  settle();
  if (!over()) put(StateChanged{"running", ""});
  while (!over()) {
    auto envelope = transport_.receive(wait_max());
    more_to_do_ = false;
    for (int taken = 0; envelope; envelope = transport_.receive(Millis{0})) {
      take(*envelope);
      if (++taken == kFramesPerTurn) {
        more_to_do_ = true;
        break;
      }
    }
    turn();
  }
  return close();
}

// Nothing is left to start, to wait for or to settle.
bool Controller::over() const {
  if (closing_) return true;
  return proposing_done_ && settled_ == static_cast<TrialId>(trials_.size());
}

void Controller::turn() {
  const Millis now = clock_.now();
  const auto span = static_cast<double>((now - turned_).count());
  turned_ = now;
  busy_time_ms_ += span * executors_.busy();
  executor_time_ms_ += span * executors_.total();
  if (waits_for_horizon_) horizon_time_ms_ += span * (executors_.total() - executors_.busy());

  watch_nodes();
  obey_commands();
  for (auto ready = verdicts_.take_ready(); !ready.empty(); ready = verdicts_.take_ready())
    for (const TrialId k : ready) advance(k);
  settle();
  if (!closing_ && interrupted_) closing_ = Ending{"interrupted", "asked to stop"};
  if (!closing_ && max_wall_time_ && now - started_ >= *max_wall_time_)
    closing_ = Ending{"interrupted", "max_wall_time is used up"};
  if (!closing_) dispatch();
  waits_for_horizon_ = waits_for_horizon();
  if (now - used_ >= kUseEvery) record_use();
  acknowledge();
  if (now - shown_ >= kShow) show_progress();
}

// Idle executors have nothing to do until smaller trials have ended.
bool Controller::waits_for_horizon() const {
  return !closing_ && !paused_ && !proposing_done_ && !upcoming_ && retry_.empty() &&
         !executors_.idle().empty() &&
         strategy_.horizon(static_cast<TrialId>(trials_.size())) > settled_;
}

void Controller::record_use() {
  used_ = clock_.now();
  SessionUsed used;
  used.horizon_seconds = horizon_time_ms_ / 1000.0;
  used.expected = strategy_.total();
  if (limits_.max_trials) {
    const auto limit = static_cast<std::int64_t>(*limits_.max_trials);
    used.expected = std::min(used.expected.value_or(limit), limit);
  }
  put(used);
}

Millis Controller::wait_max() const { return more_to_do_ ? Millis{0} : kShow; }

void Controller::take(const Envelope& envelope) {
  const int node = envelope.from.node;
  if (Node* known = executors_.node(node)) {
    if (known->gone) {
      // A node that was given up speaks again: its trials run elsewhere by now.
      transport_.send({node, 0}, encode(Shutdown{}));
      return;
    }
    known->heard = clock_.now();
  }
  try {
    const Message message = decode(envelope.frame);
    if (const auto* told = std::get_if<Told>(&message)) return on_told(envelope.from, *told);
    if (const auto* idle = std::get_if<Idle>(&message))
      return executors_.set_idle({envelope.from, idle->slot});
    if (const auto* hello = std::get_if<NodeHello>(&message)) return on_node(node, *hello);
    if (const auto* hello = std::get_if<Hello>(&message)) return on_hello(envelope.from, *hello);
    if (const auto* lost = std::get_if<Lost>(&message)) return on_lost(node, *lost);
    if (const auto* beat = std::get_if<Beat>(&message)) executors_.take_beat(node, *beat);
  } catch (const UserError& error) {
    observer_.note(std::string("a frame was not understood: ") + error.what());
    if (envelope.from.worker > 0)
      transport_.send({node, 0}, encode(Kill{envelope.from.worker, "it sent a broken frame"}));
  }
}

void Controller::on_node(int node, const NodeHello& hello) {
  executors_.add_node(node, hello, clock_.now());
  if (hello.build != build_id())
    refuse_node(node, "it runs another build of brood (" + hello.build + ", the controller is " +
                          build_id() + "): install the same program on every host");
  if (nodes_started_ || static_cast<int>(executors_.nodes().size()) == options_.nodes)
    start_nodes();
}

void Controller::refuse_node(int node, const std::string& why) {
  Node& refused = executors_.nodes().at(node);
  refused.gone = true;
  // Under MPI a host has several.
  const std::string rank = options_.nodes > 1 ? "rank " + std::to_string(node) + " on " : "";
  last_loss_ = rank + refused.hello.host + " is not used: " + why;
  observer_.note(last_loss_);
  transport_.send({node, 0}, encode(Shutdown{}));
}

// The best that all nodes offer; "any" when none of them computes anything itself. Where GPUs
// train, nodes without one of that kind are not asked: they will not be used.
std::string Controller::common_numeric_class() {
  std::vector<std::string> common;
  std::string offered;
  bool first = true;
  const auto allowed = [this](const std::string& c) {
    return !options_.may_compute_in || options_.may_compute_in(c);
  };
  for (const auto& [number, node] : executors_.nodes()) {
    const auto& classes = node.hello.numeric_classes;
    if (node.gone || classes.empty()) continue;
    if (on_gpus() && std::none_of(classes.begin(), classes.end(), allowed)) continue;
    if (first) common = node.hello.numeric_classes;
    first = false;
    std::erase_if(common,
                  [&, &here = node](const auto& c) { return !offers(here, c) || !allowed(c); });
    offered += "\n  " + node.hello.host + ":";
    for (const std::string& c : node.hello.numeric_classes) offered += " " + c;
  }
  if (first) return "any";
  if (common.empty())
    throw UserError(std::string("the hosts have no numeric class in common") +
                    (options_.may_compute_in ? " that the config allows" : "") +
                    ", so they would not compute the same bits:" + offered +
                    "\nRun the experiment on hosts that share one");
  return common.front();
}

// The numeric class of a new experiment is the best that all nodes offer; of an old one, the one it
// was made with.
void Controller::start_nodes() {
  auto& nodes = executors_.nodes();
  if (numeric_class_.empty()) {
    numeric_class_ =
        !options_.numeric_class.empty() ? options_.numeric_class : common_numeric_class();
    store_.set_numeric_class(numeric_class_);
  }
  for (auto& [number, node] : nodes) {
    if (node.gone || node.set_up) continue;
    if (numeric_class_ != "any" && !offers(node, numeric_class_)) {
      const std::string& no_gpu = node.hello.no_gpu;
      refuse_node(number, architecture_of(numeric_class_).empty()
                              ? "it cannot compute in the experiment's numeric class " +
                                    numeric_class_ +
                                    "; run it on a machine that can, or start a new experiment"
                              : "it has no GPU that computes in " + numeric_class_ +
                                    (no_gpu.empty() ? "" : ": " + no_gpu));
      continue;
    }
    if (!options_.devices.empty()) {
      node.devices = devices_for(number);
      if (node.devices.empty()) continue;  // refused
    }
    node.set_up = true;
    Setup setup;
    setup.trainer = trainer_setup(spec_, options_.base_dir, numeric_class_);
    setup.trainer.slots = options_.slots;
    setup.trainer.choose_slots = options_.choose_slots;
    setup.workers = options_.workers_per_node;
    if (!options_.devices.empty()) {
      setup.devices = node.devices;
      setup.workers = static_cast<int>(node.devices.size()) * options_.workers_per_device;
    }
    if (!facts_.replays()) {
      setup.report_timeout_ms = spec_.fault_tolerance.report_timeout.value_or(Millis{0}).count();
      setup.max_trial_ms = spec_.budget.max_trial_time.value_or(Millis{0}).count();
    }
    setup.lease_ms = options_.lease.count();
    setup.log_dir = options_.files_dir.empty() ? "" : options_.files_dir + "/workers";
    transport_.send({number, 0}, encode(setup));
    node.workers = setup.workers;
    workers_asked_at_ = clock_.now();
  }
  nodes_started_ = true;
}

void Controller::on_hello(Address from, const Hello& hello) {
  if (hello.build != build_id()) {
    transport_.send({from.node, 0}, encode(Kill{from.worker, "it is another build of brood"}));
    return;
  }
  const WorkerRecord* known = executors_.worker(from);
  const std::uint64_t before = known != nullptr ? known->hello.offer.bytes : 0;
  executors_.add_worker(from, hello);
  const Node* node = executors_.node(from.node);
  if (node != nullptr && before != hello.offer.bytes)
    note_short_device(*node, hello.offer, before > 0);
}

void Controller::on_told(Address from, const Told& told) {
  WorkerRecord* worker = executors_.worker(from);
  if (worker == nullptr) return;
  if (told.sequence > worker->sequence + 1) return;  // a gap: the missing one will be resent first
  if (told.sequence == worker->sequence + 1) {
    worker->sequence = told.sequence;
    const auto live = live_.find(told.trial);
    const Place place{from, told.event.slot};
    // The fence: anything else is a late word of an attempt that is over.
    if (live != live_.end() && live->second.place == place && live->second.attempt == told.attempt)
      take_event(told.trial, live->second, told.event);
    else if (told.event.kind == Event::Kind::saved && live == live_.end())
      sweep_checkpoints(told.trial);
  }
  acks_.push_back({last_ticket_, from, told.sequence});
}

void Controller::on_lost(int node, const Lost& lost) {
  const Address address{node, lost.worker};
  last_loss_ = lost.why;
  if (!lost.log_tail.empty()) last_loss_ += "; its last words:\n" + lost.log_tail;
  std::string why = lost.why;
  if (!lost.log_tail.empty()) why += "\n" + lost.log_tail;
  // Words of it that never arrived may hold what the trial came to: then nothing can be charged.
  const WorkerRecord* worker = executors_.worker(address);
  const bool heard_all = worker != nullptr && worker->sequence >= lost.sequence;
  Lost known = lost;
  known.why = why;
  if (!heard_all) known.cause = Cause::lost;
  lose_worker(address, known);
  if (!lost.last) return;
  const bool from_outside = lost.cause == Cause::lost;  // it ended, or its lease did
  hosts_lost_ = hosts_lost_ || from_outside;
  lose_node(node, from_outside ? lost.why : "its workers do not start: " + last_loss_);
}

void Controller::lose_node(int number, const std::string& why) {
  Node* const known = executors_.node(number);
  if (known == nullptr || known->gone) return;
  Node& node = *known;
  node.gone = true;
  last_loss_ = node.hello.host + " is lost: " + why;
  observer_.note(last_loss_);
  put(EventLogged{-1, clock_.wall_us(), "node_lost", "\"" + node.hello.host + "\""});
  // Until its lease ends it may go on saving.
  for (const auto& [k, live] : live_)
    if (saves() && live.place && live.place->worker.node == number) stopped_now_.push_back(k);
  std::vector<Address> workers;
  for (const auto& [address, record] : executors_.workers())
    if (address.node == number) workers.push_back(address);
  Lost lost;
  lost.why = "its host was lost: " + why;
  for (const Address address : workers) lose_worker(address, lost);
}

void Controller::watch_nodes() {
  const Millis now = clock_.now();
  auto& nodes = executors_.nodes();
  if (!nodes_started_ && !nodes.empty() && now - started_ > options_.node_wait) {
    const auto here = std::count_if(nodes.begin(), nodes.end(),
                                    [](const auto& entry) { return !entry.second.gone; });
    observer_.note("only " + std::to_string(here) + " of " + std::to_string(options_.nodes) +
                   " nodes came; going on without the rest");
    start_nodes();
  }
  if (options_.lease > Millis{0}) {
    // Silence that falls into a time in which this process itself stood still (the whole job was
    // stopped and continued) is nobody's: they get a lease to be heard.
    if (now - watched_ > options_.lease / 2)
      for (auto& [number, node] : nodes) node.heard = now;
    watched_ = now;
    // The supervisor kills its workers when a lease ends; only some time after that may its trials
    // run elsewhere.
    for (auto& [number, node] : nodes) {
      if (node.gone || now - node.heard <= options_.lease + options_.lease / 2) continue;
      hosts_lost_ = true;
      lose_node(number,
                "it was silent for " + std::to_string((now - node.heard).count() / 1000) + " s");
    }
    if (now - leased_ >= kLeaseEvery) {
      leased_ = now;
      // Also to those that were given up: a rank that hears nothing any more ends itself.
      for (auto& [number, node] : nodes) transport_.send({number, 0}, encode(Lease{}));
    }
  }
  const bool all_gone =
      std::all_of(nodes.begin(), nodes.end(), [](const auto& entry) { return entry.second.gone; });
  if (all_gone && !closing_ &&
      (nodes_started_ || !nodes.empty() || now - started_ > options_.node_wait)) {
    const std::string why =
        "no executor is left: " + (last_loss_.empty() ? "no node came" : last_loss_);
    if (hosts_lost_) throw ExecutorsLost(why);
    throw UserError(why);
  }
}

void Controller::acknowledge() {
  const Ticket durable = store_.durable();
  std::map<Address, std::int64_t> newest;
  while (!acks_.empty() && acks_.front().ticket <= durable) {
    auto& sequence = newest[acks_.front().worker];
    sequence = std::max(sequence, acks_.front().sequence);
    acks_.pop_front();
  }
  delete_dropped();
  answer_durable();
  for (const auto& [worker, sequence] : newest)
    if (executors_.worker(worker) != nullptr) transport_.send(worker, encode(Ack{sequence}));
}

void Controller::show_progress() {
  const Millis now = clock_.now();
  shown_ = now;
  progress_.proposed = static_cast<std::int64_t>(trials_.size());
  progress_.expected = strategy_.total();
  if (limits_.max_trials) {
    const auto limit = static_cast<std::int64_t>(*limits_.max_trials) + progress_.known;
    progress_.expected = std::min(progress_.expected.value_or(limit), limit);
  }
  progress_.executors = executors_.total();
  progress_.busy = executors_.busy();
  progress_.busy_share = executor_time_ms_ > 0 ? busy_time_ms_ / executor_time_ms_ : 0.0;
  progress_.elapsed = now - started_;
  progress_.trouble = store_.trouble();
  if (paused_ && progress_.trouble.empty())
    progress_.trouble = "the run is paused; `brood continue` lets it go on";
  if (!best_.empty()) {
    progress_.best = best_.front();
    progress_.best_objective = trial(best_.front()).objective;
  }
  // Nothing here looks at all running trials: with ten thousand of them idle executors would wait.
  progress_.running_count = static_cast<std::int64_t>(placed_.size());
  progress_.running.clear();
  for (const TrialId k : placed_) {
    if (progress_.running.size() == kRunningListed) break;
    const Live& live = live_.at(k);
    progress_.running.push_back({k, live.attempt, static_cast<int>(live.values.size()),
                                 trial(k).last_epoch, executors_.name(*live.place)});
  }
  CHECK(!live_.empty() || (placed_.empty() && open_epochs_ == 0), "trials without a trace");
  progress_.remaining.reset();
  if (progress_.expected && progress_.epochs > 0 && !trials_.empty()) {
    // Epochs to come, as if every coming trial trained as long as its plan says.
    std::int64_t open = open_epochs_;
    open += std::max<std::int64_t>(0, *progress_.expected - counted_) * trials_.back().last_epoch;
    const auto per_epoch =
        static_cast<double>(progress_.elapsed.count()) / static_cast<double>(progress_.epochs);
    if (open > 0)
      progress_.remaining =
          Millis{static_cast<std::int64_t>(per_epoch * static_cast<double>(open))};
  }
  observer_.progress(progress_);
}

}  // namespace brood
