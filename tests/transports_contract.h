// What every transport with real worker processes must do. Each check leaves the transport as it
// found it, so that those that can be made only once a process (MPI) run all of them in turn.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/message.h"
#include "engine/transport.h"

namespace brood {

// Runs this program as a worker or a rank when it was started as one; else nullopt.
std::optional<int> worker_of_contract(int argc, char** argv);

// The controller's end under test, with what was heard from each worker.
class TransportContract {
 public:
  // nodes: how many introduce themselves; workers: how many each is told to start.
  TransportContract(Transport& transport, int nodes, int workers);

  void set_lease(Millis lease) { lease_ = lease; }
  void lose_node(int node, int signal);  // sends it to its process, on this host; it ends of it

  void nodes_introduce_themselves();
  void workers_say_hello_and_are_idle();
  void a_trial_runs_on_every_worker_in_order();
  void a_stopped_trial_gives_its_slot_back();
  void a_checkpoint_is_resumed_by_another_worker();
  void large_frames_arrive_whole();
  void a_crashed_worker_is_replaced();
  void a_killed_worker_is_replaced();
  void a_gone_address_is_no_error();
  void beats_come_by_themselves();
  void wake_ends_a_wait();
  void shutdown_ends_every_worker();

 private:
  // Passes messages to `see` until it returns true; also keeps the lists below.
  void until(const std::function<bool(Address, const Message&)>& see);
  void note(Address from, const Message& message);
  void a_trial_runs_on_every_worker_again();
  Address some_worker();
  void assign(Address to, Assignment assignment);

  Transport& transport_;
  int nodes_, workers_;
  std::map<int, NodeHello> introduced_;
  std::map<Address, Hello> alive_;
  std::set<Address> idle_;
  Millis lease_{60000};
  int beats_ = 0;
  TrialId next_trial_ = 0;
  std::string folder_;
};

}  // namespace brood
