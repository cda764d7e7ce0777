// Goal: the relay between ranks is a transport like any other.
// Method: tests/mpi_test.sh runs this program under mpirun; rank 0 holds the contract, the others
// are its nodes. One job a process, so the checks follow one another.
#include "engine/mpi.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <ctime>

#include "engine/node.h"
#include "tests/transports_contract.h"

namespace brood {
namespace {

LocalOptions options() {
  return {describe_node({"synthetic-1"}), {{"/proc/self/exe", "worker"}, child_environment()}};
}

double processor_seconds() {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
}

TEST(Mpi, TheRelayKeepsTheContractOfATransport) {
  ASSERT_TRUE(launched_under_mpi());
  const auto transport = make_mpi_transport(options());
  TransportContract contract(*transport, mpi_size() - 1, 1);
  contract.nodes_introduce_themselves();
  contract.workers_say_hello_and_are_idle();
  contract.a_trial_runs_on_every_worker_in_order();
  contract.a_stopped_trial_gives_its_slot_back();
  contract.a_checkpoint_is_resumed_by_another_worker();
  contract.large_frames_arrive_whole();
  contract.a_crashed_worker_is_replaced();
  contract.a_killed_worker_is_replaced();
  contract.a_gone_address_is_no_error();
  contract.beats_come_by_themselves();
  contract.wake_ends_a_wait();
  const double before = processor_seconds();
  contract.beats_come_by_themselves();  // about a second in which nothing happens
  EXPECT_LT(processor_seconds() - before, 0.5) << "waiting burns a core";
  contract.shutdown_ends_every_worker();
}

// Needs mpirun --enable-recovery: else the launcher ends the job with the rank.
TEST(Mpi, RanksAreLostInEveryWayAndTheOthersGoOn) {
  ASSERT_GE(mpi_size(), 5);
  const auto transport = make_mpi_transport(options());
  TransportContract contract(*transport, mpi_size() - 1, 1);
  contract.nodes_introduce_themselves();
  contract.workers_say_hello_and_are_idle();
  contract.lose_node(1, SIGKILL);
  contract.lose_node(2, SIGSEGV);
  contract.lose_node(3, SIGHUP);  // which is _exit(3) here
  contract.a_trial_runs_on_every_worker_in_order();
  contract.large_frames_arrive_whole();
  contract.a_gone_address_is_no_error();
  contract.shutdown_ends_every_worker();
}

// The other ranks must end by themselves: the script sees whether mpirun returns.
TEST(Mpi, RanksEndThemselvesWhenRank0IsGone) {
  const auto transport = make_mpi_transport(options());
  TransportContract contract(*transport, mpi_size() - 1, 1);
  contract.set_lease(Millis(500));
  contract.nodes_introduce_themselves();
  contract.workers_say_hello_and_are_idle();
  ::raise(SIGKILL);
}

}  // namespace
}  // namespace brood

int main(int argc, char** argv) {
  std::signal(SIGHUP, [](int) { ::_exit(3); });
  if (const auto status = brood::worker_of_contract(argc, argv)) return *status;
  if (brood::launched_under_mpi() && brood::mpi_rank() > 0) {
    std::signal(SIGSEGV, SIG_DFL);  // no report of Open MPI's or a sanitizer's, which takes a while
    return brood::serve_rank(brood::options());
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
