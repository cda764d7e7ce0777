// Goal: the controller can rely on the same things of every transport.
// Method: the contract over real processes, whose workers are this very program. The transport of
// MPI runs the same contract in mpi_test.
#include "tests/transports_contract.h"

#include <gtest/gtest.h>

#include "engine/local.h"
#include "engine/node.h"

namespace brood {
namespace {

class LocalTransport : public testing::Test {
 protected:
  std::unique_ptr<Transport> transport_ = make_local_transport(
      {describe_node({"synthetic-1"}), {{"/proc/self/exe", "worker"}, child_environment()}});
  TransportContract contract_{*transport_, 1, 2};

  void SetUp() override {
    contract_.nodes_introduce_themselves();
    contract_.workers_say_hello_and_are_idle();
  }
};

TEST_F(LocalTransport, ATrialRunsOnEveryWorkerInOrder) {
  contract_.a_trial_runs_on_every_worker_in_order();
}
TEST_F(LocalTransport, AStoppedTrialGivesItsSlotBack) {
  contract_.a_stopped_trial_gives_its_slot_back();
}
TEST_F(LocalTransport, ACheckpointIsResumedByAnotherWorker) {
  contract_.a_checkpoint_is_resumed_by_another_worker();
}
TEST_F(LocalTransport, LargeFramesArriveWhole) { contract_.large_frames_arrive_whole(); }
TEST_F(LocalTransport, ACrashedWorkerIsReplaced) { contract_.a_crashed_worker_is_replaced(); }
TEST_F(LocalTransport, AKilledWorkerIsReplaced) { contract_.a_killed_worker_is_replaced(); }
TEST_F(LocalTransport, AGoneAddressIsNoError) { contract_.a_gone_address_is_no_error(); }
TEST_F(LocalTransport, BeatsComeByThemselves) { contract_.beats_come_by_themselves(); }
TEST_F(LocalTransport, WakeEndsAWait) { contract_.wake_ends_a_wait(); }
TEST_F(LocalTransport, ShutdownEndsEveryWorker) { contract_.shutdown_ends_every_worker(); }

}  // namespace
}  // namespace brood

int main(int argc, char** argv) {
  if (const auto status = brood::worker_of_contract(argc, argv)) return *status;
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
