// Goal: under mpirun the ranks train on the GPUs of their hosts, whatever each of them sees, say on
// which, and the table is that of a run without MPI. Method: the program itself under mpirun, each
// rank with emulated GPUs of its own (trainers/cnn/cuda/emulated_gpus.h).
#include "tests/gpu_run_fixture.h"

namespace brood {
namespace {

using testing::HasSubstr;
using testing::Not;

class OnGpusOfACluster : public OnGpus {
 protected:
  OnGpusOfACluster() {
    if (std::system("command -v mpirun > /dev/null") != 0)
      ADD_FAILURE() << "this build has MPI, and there is no mpirun: install openmpi-bin";
  }

  // Rank i sees what gpus[i] says of BROOD_EMULATED_GPUS; "": none.
  Result run_ranks(const std::vector<std::string>& gpus, const std::string& options = "") {
    std::string command =
        "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --enable-recovery "
        "--bind-to none --oversubscribe --mca pml ob1 --mca btl self,vader "
        "--mca mpi_yield_when_idle 1";
    for (std::size_t i = 0; i < gpus.size(); ++i)
      command +=
          std::string(i > 0 ? " : " : " ") + "-n 1 env " +
          (gpus[i].empty() ? "" : "BROOD_EMULATED_GPUS='{\"bytes\": 4000000, " + gpus[i] + "}' ") +
          "$BROOD run x.json -q " + options;
    return shell(command + " < /dev/null");
  }
  std::string log() const { return read("x.db.files/x/run.log"); }
  // The ranks that had workers, each of which has a log.
  std::string ranks_used() const {
    return shell(
               "ls x.db.files/x/workers | sed 's/worker_\\([0-9]*\\)_.*/\\1/' | sort -un | "
               "paste -sd' '")
        .output;
  }
};

const std::string kTwo = R"("gpus": 2)";
const std::string kOther =
    R"("gpus": 3, "architectures": ["emulated", "emulated", "other"], "visible": [2])";

TEST_F(OnGpusOfACluster, RanksOfAHostDivideItsGpus) {
  const std::string one = expected();
  const Result result = run_ranks({kTwo, kTwo, kTwo});
  EXPECT_THAT(log(), HasSubstr("trials train on cuda:0 of ")) << result.output;
  EXPECT_THAT(log(), HasSubstr(", cuda:1 of "));
  EXPECT_THAT(log(), Not(HasSubstr("is not used")));
  EXPECT_EQ(ranks_used(), "1 2\n");
  EXPECT_EQ(table(), one);

  // One rank for a host has all of them, and rank 0 needs none: it may be on a login node.
  run_ranks({"", kTwo});
  EXPECT_EQ(read("x.db.files/x/workers/worker_1_2.log"), "") << log();
  EXPECT_TRUE(std::filesystem::exists(path("x.db.files/x/workers/worker_1_2.log"))) << log();
  EXPECT_EQ(table(), one);

  // More ranks than GPUs.
  run_ranks({kTwo, kTwo, kTwo, kTwo});
  EXPECT_THAT(log(), HasSubstr("rank 3 on "));
  EXPECT_THAT(log(), HasSubstr("every GPU that it sees has a rank already"));
  EXPECT_EQ(ranks_used(), "1 2\n");
  EXPECT_EQ(table(), one);
}

// As a batch system does that binds each task to a GPU.
TEST_F(OnGpusOfACluster, RanksThatSeeOneGpuEachTrainOnIt) {
  const std::string one = expected(), bound = R"("gpus": 3, "visible": )";
  run_ranks({bound + "[0]", bound + "[1]", bound + "[2]"}, on("\"cuda:0\""));
  EXPECT_EQ(ranks_used(), "1 2\n") << log();
  EXPECT_THAT(log(), HasSubstr("lies idle: only rank 0 sees it"));
  EXPECT_EQ(table(), one);
}

TEST_F(OnGpusOfACluster, WhoHasNoneOrOthersIsLeftOutAndToldOf) {
  const std::string one = expected();
  run_ranks({kTwo, "", kTwo, kOther});
  EXPECT_EQ(ranks_used(), "2\n");
  EXPECT_THAT(log(), HasSubstr("it has no GPU that computes in cuda/emulated/bf16/"));
  EXPECT_THAT(log(), HasSubstr("(other) is not used: it would not compute the bits of emulated"));
  EXPECT_THAT(database().text("SELECT numeric_class FROM experiment"), HasSubstr("cuda/emulated/"));

  // It goes on where its bits are.
  const Result other = run_ranks({kTwo, kOther});
  EXPECT_THAT(other.output, HasSubstr("no rank that trains has such a GPU"));
  EXPECT_EQ(table(), one);

  // Rank 0 trains nothing: what it alone has changes nothing.
  run_ranks({kTwo, ""});
  EXPECT_THAT(database().text("SELECT numeric_class FROM experiment"), HasSubstr("cpu/"));
  EXPECT_THAT(log(), HasSubstr("lies idle: only rank 0 sees it"));
  table();

  run_ranks({"", kTwo, kOther, ""}, on("\"cuda:1\""));
  EXPECT_EQ(ranks_used(), "1\n") << log();
  EXPECT_EQ(table(), one);
  EXPECT_THAT(run_ranks({kTwo, ""}, on("\"cuda:0\"")).output,
              HasSubstr("no rank has what it names: rank 1 ("));
}

}  // namespace
}  // namespace brood
