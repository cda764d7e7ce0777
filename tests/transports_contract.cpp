#include "tests/transports_contract.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <thread>

#include "engine/error.h"
#include "engine/worker_main.h"
#include "trainers/trainers.h"

namespace brood {

namespace fs = std::filesystem;

namespace {

// Epochs of 5 ms; trials from 1000 on crash in epoch 2.
Setup setup(int workers, Millis lease, const std::string& folder) {
  std::string crashing;
  for (int i = 1000; i < 1010; ++i) crashing.append(i > 1000 ? "," : "").append(std::to_string(i));
  Setup out;
  out.trainer.name = "synthetic";
  out.trainer.config = R"({"name": "synthetic", "epochs": 3, "epoch_ms": 5,
    "fail": [{"how": "exit", "epoch": 2, "trials": [)" +
                       crashing + "]}]}";
  out.trainer.objective = "loss";
  out.workers = workers;
  out.lease_ms = lease.count();
  out.log_dir = folder + "/logs";
  return out;
}

Assignment trial(TrialId id, int epochs) {
  Assignment out;
  out.trial = id;
  out.params.set("x", 0.5);
  out.last_epoch = epochs;
  out.seed = 17;
  return out;
}

}  // namespace

std::optional<int> worker_of_contract(int argc, char** argv) {
  if (argc != 2 || std::string(argv[1]) != "worker") return std::nullopt;
  return worker_main(Descriptor(kControlDescriptor), make_trainer);
}

TransportContract::TransportContract(Transport& transport, int nodes, int workers)
    : transport_(transport),
      nodes_(nodes),
      workers_(workers),
      folder_((fs::temp_directory_path() / ("brood_transport_" + std::to_string(::getpid())))
                  .string()) {}

void TransportContract::note(Address from, const Message& message) {
  if (const auto* node = std::get_if<NodeHello>(&message)) introduced_[from.node] = *node;
  if (const auto* hello = std::get_if<Hello>(&message)) alive_[from] = *hello;
  if (std::holds_alternative<Idle>(message)) idle_.insert(from);
  if (std::holds_alternative<Beat>(message)) ++beats_;
  if (const auto* lost = std::get_if<Lost>(&message)) {
    alive_.erase({from.node, lost->worker});
    idle_.erase({from.node, lost->worker});
  }
  if (const auto* told = std::get_if<Told>(&message))
    if (told->sequence > 0) transport_.send(from, encode(Ack{told->sequence}));
}

void TransportContract::until(const std::function<bool(Address, const Message&)>& see) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (std::chrono::steady_clock::now() < end) {
    const auto envelope = transport_.receive(Millis(200));
    if (!envelope) continue;
    const Message message = decode(envelope->frame);
    note(envelope->from, message);
    if (see(envelope->from, message)) return;
  }
  FAIL() << "nothing more comes";
}

Address TransportContract::some_worker() {
  if (idle_.empty()) until([&](Address, const Message&) { return !idle_.empty(); });
  CHECK(!idle_.empty(), "no worker is idle");
  return *idle_.begin();
}

void TransportContract::assign(Address to, Assignment assignment) {
  idle_.erase(to);
  transport_.send(to, encode(Assign{1, 0, std::move(assignment)}));
}

void TransportContract::lose_node(int node, int signal) {
  ASSERT_TRUE(introduced_.contains(node));
  ASSERT_EQ(::kill(static_cast<pid_t>(introduced_[node].pid), signal), 0);
  // Of this host: nobody has to wait for its silence.
  until([&](Address from, const Message& message) {
    const auto* lost = std::get_if<Lost>(&message);
    return from == Address{node, 0} && lost != nullptr && lost->worker == 0 && lost->last;
  });
  introduced_.erase(node);
  std::erase_if(alive_, [&](const auto& entry) { return entry.first.node == node; });
  std::erase_if(idle_, [&](const Address& worker) { return worker.node == node; });
  --nodes_;
}

void TransportContract::nodes_introduce_themselves() {
  until([&](Address, const Message&) { return static_cast<int>(introduced_.size()) == nodes_; });
  for (const auto& [node, hello] : introduced_) {
    EXPECT_EQ(hello.build, build_id());
    EXPECT_GE(hello.cores, 1);
    EXPECT_FALSE(hello.host.empty());
    transport_.send({node, 0}, encode(setup(workers_, lease_, folder_)));
  }
}

void TransportContract::workers_say_hello_and_are_idle() {
  const auto expected = static_cast<std::size_t>(nodes_ * workers_);
  until([&](Address, const Message&) { return idle_.size() == expected; });
  EXPECT_EQ(alive_.size(), expected);
  for (const auto& [from, hello] : alive_) {
    EXPECT_TRUE(introduced_.contains(from.node));
    EXPECT_GT(from.worker, 0);
    EXPECT_EQ(hello.offer.numeric_class, "synthetic-1");
  }
}

void TransportContract::a_trial_runs_on_every_worker_in_order() {
  std::map<Address, std::vector<std::string>> story;
  const std::set<Address> workers = idle_;
  for (const Address& worker : workers) assign(worker, trial(next_trial_++, 3));
  until([&](Address from, const Message& message) {
    if (const auto* told = std::get_if<Told>(&message)) {
      EXPECT_EQ(told->sequence, static_cast<std::int64_t>(story[from].size()) + 1);
      const bool report = told->event.kind == Event::Kind::report;
      story[from].emplace_back(report ? "report " : "ended ");
      story[from].back() += std::to_string(report ? told->event.report.epoch : told->event.epoch);
    }
    return idle_ == workers;
  });
  for (const Address& worker : workers)
    EXPECT_EQ(story[worker],
              (std::vector<std::string>{"report 1", "report 2", "report 3", "ended 3"}));
}

void TransportContract::a_stopped_trial_gives_its_slot_back() {
  const Address worker = some_worker();
  const TrialId id = next_trial_++;
  assign(worker, trial(id, 1'000'000));
  until([&](Address, const Message& message) { return std::holds_alternative<Told>(message); });
  transport_.send(worker, encode(Stop{0, id, 1}));
  until([&](Address, const Message&) { return idle_.contains(worker); });
}

void TransportContract::a_checkpoint_is_resumed_by_another_worker() {
  Assignment first = trial(next_trial_++, 2);
  first.save_dir = folder_ + "/trial";
  first.save_every_epochs = 1;
  std::string path;
  double expected = 0.0, got = 0.0;
  const auto run = [&](const Assignment& assignment, double& last) {
    assign(some_worker(), assignment);
    until([&](Address, const Message& message) {
      const auto* told = std::get_if<Told>(&message);
      if (told == nullptr || told->trial != assignment.trial) return false;
      EXPECT_NE(told->event.kind, Event::Kind::failed) << told->event.why;
      if (told->event.kind == Event::Kind::saved && told->event.epoch == 2) path = told->event.path;
      if (const Metric* loss = told->event.report.find("loss")) last = loss->value;
      return told->event.kind == Event::Kind::ended;
    });
  };
  run(trial(next_trial_++, 4), expected);
  run(first, got);
  Assignment second = trial(next_trial_++, 4);
  second.first_epoch = 3;
  second.resume_from = path;
  run(second, got);
  EXPECT_EQ(got, expected);
  fs::remove_all(folder_ + "/trial");
}

void TransportContract::large_frames_arrive_whole() {
  const Address worker = some_worker();
  Assignment assignment = trial(next_trial_++, 1);
  // Comes back whole in the reason, since the checkpoint is not there.
  assignment.resume_from.assign(300'000, 'n');
  std::string why;
  assign(worker, assignment);
  until([&](Address, const Message& message) {
    const auto* told = std::get_if<Told>(&message);
    if (told != nullptr && told->event.kind == Event::Kind::failed) why = told->event.why;
    return idle_.contains(worker) && !why.empty();
  });
  EXPECT_NE(why.find(assignment.resume_from), std::string::npos);
}

void TransportContract::a_crashed_worker_is_replaced() {
  const Address worker = some_worker();
  const std::size_t count = alive_.size();
  assign(worker, trial(1000, 3));
  std::optional<Lost> lost;
  until([&](Address from, const Message& message) {
    if (const auto* found = std::get_if<Lost>(&message)) {
      lost = *found;
      EXPECT_EQ(from, (Address{worker.node, 0}));
    }
    return lost && alive_.size() == count && idle_.size() == count;
  });
  ASSERT_TRUE(lost);
  EXPECT_EQ(lost->worker, worker.worker);
  EXPECT_EQ(lost->cause, Cause::exit_status);
  EXPECT_FALSE(lost->last);
  EXPECT_FALSE(alive_.contains(worker));
}

void TransportContract::a_killed_worker_is_replaced() {
  const Address worker = some_worker();
  const std::size_t count = alive_.size();
  bool lost = false;
  transport_.send({worker.node, 0}, encode(Kill{worker.worker, "for the test"}));
  until([&](Address, const Message& message) {
    if (const auto* found = std::get_if<Lost>(&message)) {
      lost = found->worker == worker.worker;
      EXPECT_EQ(found->why, "for the test");
    }
    return lost && idle_.size() == count;
  });
  EXPECT_FALSE(alive_.contains(worker));
}

void TransportContract::a_gone_address_is_no_error() {
  const int node = introduced_.begin()->first;
  transport_.send({node, 4711}, encode(Stop{0, 1, 1}));
  transport_.send({4711, 0}, encode(Lease{}));
  transport_.send({4711, 1}, encode(Stop{0, 1, 1}));
  a_trial_runs_on_every_worker_again();
}

void TransportContract::a_trial_runs_on_every_worker_again() {
  const std::set<Address> workers = idle_;
  for (const Address& worker : workers) assign(worker, trial(next_trial_++, 1));
  until([&](Address, const Message&) { return idle_ == workers; });
}

void TransportContract::beats_come_by_themselves() {
  const int before = beats_;
  until([&](Address, const Message&) { return beats_ >= before + nodes_; });
}

void TransportContract::wake_ends_a_wait() {
  // A wake for each attempt, until one meets a wait without a frame.
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  bool woken = false;
  while (!woken && std::chrono::steady_clock::now() < end) {
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      transport_.wake();
    });
    const auto envelope = transport_.receive(std::chrono::minutes(1));
    other.join();
    if (envelope) {
      note(envelope->from, decode(envelope->frame));
      while (transport_.receive(Millis(0))) {  // beats; also takes the wake that is left
      }
    } else {
      woken = true;
    }
  }
  EXPECT_TRUE(woken);
  EXPECT_LT(std::chrono::steady_clock::now(), end);
}

void TransportContract::shutdown_ends_every_worker() {
  ASSERT_FALSE(alive_.empty());
  for (const auto& [node, hello] : introduced_) transport_.send({node, 0}, encode(Shutdown{}));
  until([&](Address, const Message&) { return alive_.empty(); });
  fs::remove_all(folder_);
}

}  // namespace brood
