// What `brood doctor` looks at: the limits of control groups, from made-up trees of both versions;
// the cores that ranks of one host divide; the storage of a folder; and a database, sound, tampered
// with, and short of a checkpoint.
#include "cli/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/config.h"
#include "cli/storage_check.h"
#include "engine/cgroup.h"
#include "engine/cores.h"
#include "store/sqlite.h"
#include "strategies/strategies.h"
#include "tests/store_fixture.h"

namespace brood {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

TEST(ControlGroups, OfVersion2LimitByTheSmallestOnTheWayToTheRoot) {
  TestFolder folder;
  const fs::path mount = folder / "cgroup";
  write(mount / "job/memory.max", "4294967296\n");
  write(mount / "job/cpu.max", "max 100000\n");
  write(mount / "job/step/memory.max", "max\n");
  write(mount / "job/step/cpu.max", "250000 100000\n");
  const CgroupLimits limits = cgroup_limits("0::/job/step\n", mount.string());
  EXPECT_EQ(limits.bytes, 4294967296U);
  EXPECT_EQ(limits.cores, 2.5);
}

TEST(ControlGroups, LeaveFreeWhatNobodyUsesAndWhatCachesGiveBack) {
  TestFolder folder;
  const fs::path mount = folder / "cgroup";
  write(mount / "job/memory.max", "1000000\n");
  write(mount / "job/memory.current", "700000\n");
  write(mount / "job/memory.stat", "anon 400000\nfile 300000\ninactive_file 250000\n");
  write(mount / "job/step/memory.max", "900000\n");
  write(mount / "job/step/memory.current", "950000\n");
  EXPECT_EQ(cgroup_limits("0::/job\n", mount.string()).free, 550000U);
  EXPECT_EQ(cgroup_limits("0::/job/step\n", mount.string()).free, 0U);
  EXPECT_FALSE(cgroup_limits("0::/\n", mount.string()).free);
}

TEST(ControlGroups, OfVersion1AreReadPerController) {
  TestFolder folder;
  const fs::path mount = folder / "cgroup";
  write(mount / "memory/docker/a/memory.limit_in_bytes", "1073741824\n");
  write(mount / "memory/memory.limit_in_bytes", "9223372036854771712\n");
  write(mount / "cpu/docker/a/cpu.cfs_quota_us", "-1\n");
  write(mount / "cpu/cpu.cfs_quota_us", "300000\n");
  write(mount / "cpu/cpu.cfs_period_us", "100000\n");
  const CgroupLimits limits = cgroup_limits(
      "5:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n3:cpuset:/docker/a\n", mount.string());
  EXPECT_EQ(limits.bytes, 1073741824U);
  EXPECT_EQ(limits.cores, 3.0);
}

TEST(ControlGroups, ThatAContainerCannotSeeAreItsOwnRoot) {
  TestFolder folder;
  const fs::path mount = folder / "cgroup";
  write(mount / "memory.max", "2147483648\n");
  EXPECT_EQ(cgroup_limits("0::/../../elsewhere\n", mount.string()).bytes, 2147483648U);
}

TEST(ControlGroups, WithoutLimitsOrWithNonsenseLimitNothing) {
  TestFolder folder;
  const fs::path mount = folder / "cgroup";
  write(mount / "a/memory.max", "plenty\n");
  write(mount / "a/cpu.max", "-5 0\n");
  for (const char* membership : {"0::/a\n", "", "no colons", "0::"}) {
    const CgroupLimits limits = cgroup_limits(membership, mount.string());
    EXPECT_FALSE(limits.bytes) << membership;
    EXPECT_FALSE(limits.cores) << membership;
  }
}

TEST(SharedCores, AreDividedAmongThoseWhoMayUseTheSame) {
  const Cores all = {0, 1, 2, 3, 8, 9, 10};
  const std::vector<Cores> three(3, all);
  EXPECT_EQ(core_share(three, 0), (Cores{0, 1}));
  EXPECT_EQ(core_share(three, 1), (Cores{2, 3}));
  EXPECT_EQ(core_share(three, 2), (Cores{8, 9, 10}));
  EXPECT_EQ(core_share({all}, 0), all);
}

TEST(SharedCores, ThatALauncherHasBoundAlreadyAreLeftAlone) {
  const std::vector<Cores> two_sockets = {{0, 1}, {2, 3}, {0, 1}, {2, 3}, {4}};
  EXPECT_EQ(core_share(two_sockets, 0), Cores{0});
  EXPECT_EQ(core_share(two_sockets, 2), Cores{1});
  EXPECT_EQ(core_share(two_sockets, 3), Cores{3});
  EXPECT_EQ(core_share(two_sockets, 4), Cores{4});
}

TEST(SharedCores, AreNotDividedAmongMoreThanThereAre) {
  const std::vector<Cores> crowd(3, Cores{4, 5});
  for (std::size_t i = 0; i < crowd.size(); ++i) EXPECT_EQ(core_share(crowd, i), (Cores{4, 5}));
  EXPECT_EQ(core_share({{}, {}}, 1), Cores{});
}

TEST(SharedCores, AreNamedInRuns) {
  EXPECT_EQ(to_text(Cores{0, 1, 2, 5, 7, 8}), "0-2,5,7-8");
  EXPECT_EQ(to_text(Cores{}), "");
  EXPECT_EQ(to_text(Cores{63}), "63");
}

TEST(Storage, OfAUsableFolderHasNoTroubleAndIsLeftAsItWas) {
  TestFolder folder;
  const std::string place = fs::path(folder / "x").parent_path().string();
  const StorageCheck check = check_storage(place);
  EXPECT_EQ(check.trouble, "");
  EXPECT_NE(check.file_system, "");
  EXPECT_GT(check.free_bytes, 0U);
  EXPECT_GT(check.sync_ms, 0);
  EXPECT_TRUE(fs::is_empty(place));
}

TEST(Storage, SaysWhatDoesNotWork) {
  EXPECT_THAT(check_storage("/nowhere/at/all").trouble, HasSubstr("cannot be made"));
  EXPECT_THAT(check_storage("/proc").trouble, HasSubstr("cannot be made"));
}

// A genetic search of two generations, as a run would have recorded it.
std::string recorded(const TestFolder& folder) {
  const std::string config = folder / "x.json";
  write(config, R"({"version": 1, "experiment": {"name": "small"},
    "objective": {"metric": "value", "goal": "minimize"},
    "search_space": {"x": {"type": "float", "min": 0.0, "max": 1.0}},
    "search": {"algorithm": "genetic", "settings": {"population_size": 4, "generations": 2}},
    "trainer": {"name": "synthetic", "epochs": 1}, "output": {"database": "x.db"}})");
  const ExperimentSpec spec = read_config(config, {});
  const auto strategy = make_strategy(spec);
  const auto store = open_sqlite_store(folder / "x.db", {});
  store->open(spec, small_session());
  PointIndex points;
  TrialId told = 0;
  std::vector<Trial> trials;
  for (TrialId k = 0; k < 8; ++k) {
    for (; told < strategy->horizon(k); ++told)
      strategy->tell(trials[static_cast<std::size_t>(told)]);
    const auto made = strategy->propose(
        k, Rng(spec.seed, static_cast<std::uint64_t>(k), Purpose::propose), points);
    Trial trial;
    trial.id = k;
    trial.params = made->proposal.params;
    trial.state = TrialState::completed;
    trial.objective = static_cast<double>((k * 5) % 8);
    store->put(TrialAdded{trial});
    points.add(trial.params);
    trials.push_back(trial);
  }
  store->put(CheckpointSaved{3, 1, "x.db.files/gone.ckpt", 100});
  store->flush();
  return folder / "x.db";
}

TEST(Doctor, MissesADatabaseThatIsNotThere) {
  TestFolder folder;
  DoctorOptions options;
  options.where.database = folder / "nosuch.db";
  std::ostringstream out;
  EXPECT_EQ(doctor_command(options, out), 1);
  EXPECT_THAT(out.str(), HasSubstr("nosuch.db: there is none"));
}

TEST(Doctor, FindsASoundDatabaseSoundAndATamperedOneNot) {
  TestFolder folder;
  DoctorOptions options;
  options.where.database = recorded(folder);
  options.verify = true;
  options.format = Format::json;
  std::ostringstream sound;
  EXPECT_EQ(doctor_command(options, sound), 0) << sound.str();
  EXPECT_THAT(sound.str(), HasSubstr("sound, experiment \\\"small\\\", 8 trials"));
  EXPECT_THAT(sound.str(), HasSubstr("8 proposals made again, each is the recorded one"));
  EXPECT_THAT(sound.str(), HasSubstr("1 checkpoint known, 1 of them missing"));
  sqlite::Connection(options.where.database, sqlite::Access::write)
      .run("UPDATE point_1 SET x = 0.5 WHERE trial = (SELECT max(trial) FROM point_1)");
  std::ostringstream tampered;
  EXPECT_EQ(doctor_command(options, tampered), 1);
  EXPECT_THAT(tampered.str(), HasSubstr("1 of 8 would be others today, the first is trial 7"));
}

}  // namespace
}  // namespace brood
