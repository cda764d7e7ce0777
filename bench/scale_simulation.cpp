// Thousands of executors in virtual time, with the real controller and the real store: how long an
// executor waits for its next trial, and what the first bottleneck is.
//
//   scale_simulation EXECUTORS SECONDS EPOCHS [TRIALS [FOLDER]]
//
// Nodes of 100 executors, 0.2 ms away; trials take from half to one and a half times SECONDS and
// report EPOCHS times; random search; a commit waits 5 ms for the disk. The CPU time that the
// controller and the store's thread take here passes in virtual time too, each on a core of its
// own. TRIALS: 20 for each executor. Those of the first two rounds are not counted.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "bench/empty_search.h"
#include "bench/model_cluster.h"
#include "bench/virtual_store.h"
#include "engine/controller.h"
#include "store/sqlite_store.h"
#include "strategies/strategies.h"

namespace {

using namespace brood;

double percentile(std::vector<std::int64_t> values, double share) {
  if (values.empty()) return 0.0;
  const auto at = static_cast<std::size_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return static_cast<double>(values[at]);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "scale_simulation EXECUTORS SECONDS EPOCHS [TRIALS [FOLDER]]\n");
    return 2;
  }
  const int executors = std::atoi(argv[1]);
  const double seconds = std::atof(argv[2]);
  const int epochs = std::atoi(argv[3]);
  const std::int64_t trials = argc > 4 ? std::atoll(argv[4]) : 20LL * executors;
  const auto folder =
      std::filesystem::path(argc > 5 ? argv[5] : std::filesystem::temp_directory_path().string());
  const std::string database = (folder / "brood-scale-simulation.db").string();
  const auto remove = [&database] {
    for (const char* end : {"", "-wal", "-shm", ".lock"}) std::filesystem::remove(database + end);
  };
  remove();
  ModelOptions model;
  model.workers_per_node = std::min(100, executors);
  model.nodes = executors / model.workers_per_node;
  model.trial_us = static_cast<std::int64_t>(seconds * 1e6);
  model.spread = 0.5;
  model.latency_us = 200;
  model.charge = true;
  model.free_bytes = std::uint64_t{1} << 42;
  ModelCluster cluster(model);
  SqliteStoreOptions manual;
  manual.durability = SqliteStoreOptions::Durability::manual;
  manual.commit_every = 100'000'000;
  manual.power_safe = false;  // the disk's part is said, not measured
  VirtualStore store(open_sqlite_store(database, manual), cluster, 5'000);
  const ExperimentSpec spec = empty_search("random", trials, database);
  const auto strategy = make_strategy(spec);
  const EmptyPlanner planner(epochs, std::uint64_t{1} << 30);
  ControllerOptions options;
  options.nodes = model.nodes;
  options.workers_per_node = model.workers_per_node;
  options.lease = Millis{30'000};
  Observer observer;
  Controller controller(spec, *strategy, nullptr, planner, store, cluster, cluster.clock(),
                        observer, options);
  const Ending ending = controller.run();
  const auto skip = static_cast<std::ptrdiff_t>(
      std::min<std::size_t>(static_cast<std::size_t>(executors), cluster.waits_us().size() / 2));
  const std::vector<std::int64_t> waits(cluster.waits_us().begin() + skip,
                                        cluster.waits_us().end());
  const double waited = std::accumulate(waits.begin(), waits.end(), 0.0);
  const double worked =
      std::accumulate(cluster.lengths_us().begin() + skip, cluster.lengths_us().end(), 0.0);
  const auto virtual_us = static_cast<double>(cluster.now_us());
  const auto count = static_cast<double>(trials);
  std::printf(
      "| executors | trial s | epochs | trials | trials/s | wait p50 ms | wait p99 ms | "
      "in use | controller us/trial | busy | store us/trial | busy | held up s | %s |\n",
      ending.state.c_str());
  std::printf(
      "| %d | %g | %d | %lld | %.0f | %.2f | %.2f | %.2f %% | %.1f | %.0f %% | %.1f | "
      "%.0f %% | %.1f |\n",
      executors, seconds, epochs, static_cast<long long>(trials), count / virtual_us * 1e6,
      percentile(waits, 0.5) * 1e-3, percentile(waits, 0.99) * 1e-3,
      100.0 * worked / (worked + waited), cluster.controller_us() / count,
      100.0 * cluster.controller_us() / virtual_us, store.busy_us() / count,
      100.0 * store.busy_us() / virtual_us, static_cast<double>(store.held_us()) * 1e-6);
  remove();
  return ending.state == "completed" ? 0 : 1;
}
