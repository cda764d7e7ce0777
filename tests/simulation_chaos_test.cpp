// Everything at once, in any order: an experiment is run in session after session, each on another
// number of nodes and workers with delays of its own; workers are killed, frames lost, nodes die,
// hang, are cut off and come back, checkpoints vanish, rot and turn up stale, and the power is cut.
// The table at the end is that of one quiet executor. Where crashes were charged, it is that of
// one quiet executor that repeats the event log. BROOD_CHAOS_SEEDS=n tries n sequences of each.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "strategies/strategies.h"
#include "tests/simulated_run.h"

namespace brood::simulation {
namespace {

constexpr int kSessions = 12;

// What was survived, over all tests of this program.
struct Tally {
  std::int64_t runs = 0, cuts = 0, stranded = 0, kills = 0, node_troubles = 0, file_troubles = 0;
  std::int64_t bytes = 0;  // of tables compared
};
Tally tally;

class PrintTally final : public testing::Environment {
 public:
  void TearDown() override {
    std::cout << "[  tally   ] " << tally.runs << " runs: " << tally.cuts << " power cuts, "
              << tally.stranded << " times no executor left, " << tally.kills << " workers killed, "
              << tally.node_troubles << " nodes lost, hung or cut off, " << tally.file_troubles
              << " checkpoints spoilt; " << tally.bytes << " bytes of tables compared\n";
  }
};
[[maybe_unused]] const auto* const kPrintTally = testing::AddGlobalTestEnvironment(new PrintTally);

struct Named {
  std::string name;
  Case experiment;
};

ParamSet point(double x, const std::string& kind) {
  ParamSet params;
  params.set("x", x);
  params.set("kind", kind);
  if (kind == "bent") params.set("depth", std::int64_t{1});
  return params;
}

Case hurt(const std::string& search, const std::string& stopper) {
  Case c;
  c.search = search;
  c.stopper = stopper;
  c.toy.nan_share = 0.1;
  c.toy.crash_share = 0.1;
  c.toy.throw_share = 0.1;
  return c;
}

// Every search with every stopper, in four tempers.
std::vector<Named> experiments() {
  std::vector<Named> out;
  std::vector<std::string> stoppers = stopper_names();
  stoppers.insert(stoppers.begin(), "");
  for (const std::string& search : strategy_names())
    for (const std::string& stopper : stoppers) {
      const std::string name = search + (stopper.empty() ? "" : "_" + stopper);
      const Case c = hurt(search, stopper);
      out.push_back({name, c});
      Case limits = c;
      limits.memory = std::uint64_t{64} << 20;
      limits.constraints = {{"size", std::nullopt, 3.0}, {"parameters", 1500.0, std::nullopt}};
      limits.initial_points = {point(0.2, "plain"), point(0.1, "bent")};
      out.push_back({name + "_limits", limits});
      Case target = c;
      target.target = -0.9;
      out.push_back({name + "_target", target});
      Case failures = c;
      failures.max_failed = 2;
      out.push_back({name + "_failures", failures});
    }
  return out;
}

Shape any_shape(Rng& rng) {
  constexpr std::pair<int, int> kShapes[] = {{1, 1}, {2, 1}, {1, 2}, {7, 1}, {2, 3},
                                             {1, 7}, {4, 4}, {2, 8}, {1, 16}};
  const auto& [nodes, workers] = kShapes[rng.below(std::size(kShapes))];
  Shape shape;
  shape.set_clock = true;
  shape.nodes = nodes;
  shape.workers_per_node = workers;
  shape.seed = rng.bits();
  shape.delay_max = Millis{1 + static_cast<std::int64_t>(rng.below(200))};
  shape.slice = Millis{1 + static_cast<std::int64_t>(rng.below(100))};
  return shape;
}

Faults any_faults(Rng& rng, bool spoil_files) {
  Faults faults;
  faults.kill_chance = 0.03 * rng.uniform();
  faults.drop_chance = 0.1 * rng.uniform();
  faults.node_chance = 0.02 * rng.uniform();
  if (spoil_files) faults.file_chance = 0.1 * rng.uniform();
  faults.cut_at_event = 1 + static_cast<std::int64_t>(rng.below(200));
  return faults;
}

// Sessions until one comes to the experiment's end; the last is quiet.
Outcome survive(const Case& c, const std::string& database, Rng rng, bool spoil_files,
                double crash_chance = 0.0, const std::string& events = "") {
  ++tally.runs;
  for (int session = 0; session < kSessions; ++session) {
    const Shape shape = any_shape(rng);
    Faults faults = any_faults(rng, spoil_files);
    faults.crash_chance = crash_chance;
    try {
      const Outcome outcome = run(c, database, shape, faults, events);
      tally.kills += outcome.kills;
      tally.node_troubles += outcome.node_troubles;
      tally.file_troubles += outcome.file_troubles;
      if (!outcome.cut) return outcome;
      ++tally.cuts;
    } catch (const UserError& error) {
      if (std::string(error.what()).find("no executor is left") == std::string::npos) throw;
      ++tally.stranded;
    }
  }
  return run(c, database, {}, {}, events);
}

void expect_same(const Outcome& is, const Outcome& expected) {
  tally.bytes += static_cast<std::int64_t>(expected.table.size());
  EXPECT_EQ(difference(is.table, expected.table), "");
}

std::uint64_t seeds() {
  const char* wanted = std::getenv("BROOD_CHAOS_SEEDS");
  return wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 1;
}

class Chaos : public testing::TestWithParam<Named> {};

INSTANTIATE_TEST_SUITE_P(Simulation, Chaos, testing::ValuesIn(experiments()),
                         [](const auto& made) { return made.param.name; });

TEST_P(Chaos, EndsInTheTableOfOneQuietExecutor) {
  const Case& quiet = GetParam().experiment;
  Scratch alone;
  const Outcome expected = run(quiet, alone.file("a.db"), {});
  for (std::uint64_t seed = 1; seed <= seeds(); ++seed) {
    Rng rng(seed, hash(point(0.5, GetParam().name)), Purpose::simulate);
    Case c = quiet;
    c.checkpoint_every = static_cast<int>(rng.below(4));
    const bool spoil_files = rng.chance(0.5);
    Scratch scratch;
    const Outcome outcome = survive(c, scratch.file("a.db"), rng, spoil_files);
    SCOPED_TRACE("sequence " + std::to_string(seed));
    expect_same(outcome, expected);
    if (!spoil_files) {
      EXPECT_THAT(outcome.strays, testing::IsEmpty());
    }
    if (testing::Test::HasFailure()) return;
  }
}

TEST_P(Chaos, EndsInTheTableThatItsEventLogGives) {
  for (std::uint64_t seed = 1; seed <= seeds(); ++seed) {
    Rng rng(seed, hash(point(0.6, GetParam().name)), Purpose::simulate);
    Case c = GetParam().experiment;
    c.max_retries = static_cast<int>(rng.below(2));
    c.checkpoint_every = static_cast<int>(rng.below(3));
    Scratch scratch;
    const std::string noisy = scratch.file("noisy.db");
    const Outcome outcome = survive(c, noisy, rng, false, 0.02);
    Case quiet = c;
    quiet.checkpoint_every = 0;
    const Outcome alone = run(quiet, scratch.file("alone.db"), {}, {}, noisy);
    SCOPED_TRACE("sequence " + std::to_string(seed));
    expect_same(outcome, alone);
    const Outcome again = survive(c, scratch.file("again.db"), rng.split(1), true, 0.01, noisy);
    expect_same(again, alone);
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace brood::simulation
