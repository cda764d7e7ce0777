// A disk that fails at every write the store makes: errors, short writes, no space, failed syncs
// and power cuts after which only synced bytes, and any sectors of the rest, are left. Whatever
// happened, nothing that was acknowledged is missing, SQLite finds its file whole, and the
// experiment goes on to the same table. Here every so many-th operation;
// BROOD_EVERY_WRITE=1 takes every one.
#include "tests/failing_disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <thread>

#include "store/query.h"
#include "store/sqlite.h"
#include "tests/simulated_run.h"
#include "tests/store_fixture.h"

namespace brood {
namespace {

using Durability = SqliteStoreOptions::Durability;

struct Named {
  std::string name;
  DiskFault fault;
  std::int64_t times = 1;
  Survivors survivors = Survivors::all;
};

const std::vector<Named> kFaults = {
    {"error", DiskFault::error},
    {"errors", DiskFault::error, 5},
    {"short_write", DiskFault::short_write},
    {"full", DiskFault::full},
    {"full_for_long", DiskFault::full, 40},
    {"sync_error", DiskFault::sync_error},
    {"cut_without_cache", DiskFault::power_cut, 1, Survivors::none},
    {"cut_with_cache", DiskFault::power_cut, 1, Survivors::all},
    {"cut_with_some_sectors", DiskFault::power_cut, 1, Survivors::some_sectors},
};

std::int64_t stride(std::int64_t operations, std::int64_t samples) {
  if (std::getenv("BROOD_EVERY_WRITE") != nullptr) return 1;
  return std::max<std::int64_t>(1, operations / samples);
}

void expect_whole(const std::string& path) {
  sqlite::Connection db(path, sqlite::Access::write);
  EXPECT_EQ(db.text("PRAGMA integrity_check"), "ok");
}

class FailingDiskTest : public testing::TestWithParam<Named> {
 protected:
  void restore(std::int64_t at) const {
    if (GetParam().fault == DiskFault::power_cut)
      FailingDisk::restore_power(GetParam().survivors,
                                 Rng(static_cast<std::uint64_t>(at), 0, Purpose::simulate));
    FailingDisk::arm(DiskFault::none, 0);
  }
};

INSTANTIATE_TEST_SUITE_P(Every, FailingDiskTest, testing::ValuesIn(kFaults),
                         [](const auto& made) { return made.param.name; });

TEST_P(FailingDiskTest, ChangesNoTable) {
  using namespace simulation;
  Case c;
  c.search = "genetic";
  c.stopper = "asha";
  c.toy.crash_share = 0.1;
  Shape shape;
  shape.workers_per_node = 3;
  Faults on_disk;
  on_disk.vfs = FailingDisk::name();
  if (GetParam().fault == DiskFault::power_cut) on_disk.power_is_off = FailingDisk::failed;
  Scratch quiet;
  FailingDisk::arm(DiskFault::none, 0);
  const std::string expected = run(c, quiet.file("a.db"), shape, on_disk).table;
  const std::int64_t operations = FailingDisk::operations();
  ASSERT_GT(operations, 100);
  Faults well;
  well.vfs = FailingDisk::name();
  int tried = 0, failed = 0;
  const std::int64_t step = stride(operations, 5);
  // Other operations for each fault.
  for (std::int64_t at = 1 + static_cast<std::int64_t>(GetParam().name.size()) * 7 % step;
       at <= operations; at += step) {
    Scratch scratch;
    const std::string path = scratch.file("a.db");
    FailingDisk::arm(GetParam().fault, at, GetParam().times);
    ++tried;
    try {
      const Outcome outcome = run(c, path, shape, on_disk);
      // It went on by itself, when the disk did.
      if (!outcome.cut) {
        EXPECT_EQ(difference(outcome.table, expected), "") << "operation " << at;
      }
    } catch (const UserError&) {
    }
    failed += FailingDisk::failed();
    restore(at);
    const Outcome outcome = run(c, path, {}, well);
    ASSERT_EQ(difference(outcome.table, expected), "") << "operation " << at;
    expect_whole(path);
  }
  EXPECT_GT(failed, tried / 2);
  std::cout << tried << " of " << operations << " operations failed in turn\n";
}

// One report a change: what is there afterwards must be a prefix, and hold all acknowledged ones.
class Acknowledged : public FailingDiskTest {
 protected:
  void fail_at(std::int64_t at, Durability durability) {
    TestFolder folder;
    const std::string path = folder / "x.db";
    SqliteStoreOptions options;
    options.vfs = FailingDisk::name();
    options.durability = durability;
    options.commit_every = 3;
    FailingDisk::arm(GetParam().fault, at, GetParam().times);
    Ticket acknowledged = 0;
    try {
      const auto store = open_sqlite_store(path, options);
      store->open(small_spec(), small_session());
      store->put(TrialAdded{small_trial(0)});
      for (int epoch = 1; epoch <= kEpochs; ++epoch) {
        const Ticket put = store->put(Reported{0, small_report(epoch, 1.0 / epoch), 0});
        acknowledged = store->durable();
        while (durability == Durability::group_commit && epoch % 10 == 0 &&
               store->trouble().empty() && store->durable() < put)
          std::this_thread::yield();
        if (!store->trouble().empty()) break;
      }
    } catch (const UserError&) {
    }
    restore(at);
    options.vfs.clear();
    options.power_safe = false;
    const auto store = open_sqlite_store(path, options);
    const History history = store->open(small_spec(), small_session());
    const std::size_t reports = history.trials.empty() ? 0 : history.trials.at(0).reports.size();
    // The first ticket is the trial's.
    EXPECT_GE(reports + 1, acknowledged) << "operation " << at;
    for (std::size_t i = 0; i < reports; ++i)
      EXPECT_EQ(history.trials[0].reports[i].epoch, static_cast<int>(i) + 1);
    expect_whole(path);
  }
  static constexpr int kEpochs = 60;
};

INSTANTIATE_TEST_SUITE_P(Every, Acknowledged, testing::ValuesIn(kFaults),
                         [](const auto& made) { return made.param.name; });

TEST_P(Acknowledged, ChangesAreThereAfterwards) {
  FailingDisk::arm(DiskFault::none, 0);
  const std::int64_t operations = 250;
  for (std::int64_t at = 1; at <= operations; at += stride(operations, 25))
    fail_at(at, Durability::manual);
}

TEST_P(Acknowledged, ChangesAreThereAfterwardsWithAThreadThatCommits) {
  for (std::int64_t at = 20; at <= 60; at += stride(40, 3)) fail_at(at, Durability::group_commit);
}

}  // namespace
}  // namespace brood
