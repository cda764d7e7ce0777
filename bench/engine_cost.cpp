// What the engine itself costs: trials that train nothing, with all frames encoded and decoded and
// every change committed to SQLite, and its memory. No process, no training and no waiting is in
// the figures; but the executors' half of the frames is.
//
//   engine_cost SEARCH TRIALS [FOLDER [EXECUTORS]]
//
// SEARCH: random, genetic, grid, asha, median. The last two train up to 27 epochs a trial. Prints
// a line at 1,000, 10,000, ... trials and at the end; the figures are of the trials since the line
// before. Then the experiment is resumed with a few trials more. "controller" is CPU time of the
// controller's thread without the executors' half of the frames, "process" is CPU time of all
// threads: the store's too. Both a trial, in microseconds. The resume is timed from the start to
// where the first trial could be assigned.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "bench/empty_search.h"
#include "bench/model_cluster.h"
#include "engine/controller.h"
#include "store/sqlite_store.h"
#include "strategies/strategies.h"

namespace {

using namespace brood;

double resident_mib() {
  std::ifstream file("/proc/self/statm");
  double size = 0.0, resident = 0.0;
  file >> size >> resident;
  return resident * 4096.0 / (1024.0 * 1024.0);
}

double wall_us() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::micro>(now).count();
}

class Marks final : public Observer {
 public:
  Marks(std::string search, const ModelCluster& cluster)
      : search_(std::move(search)), cluster_(cluster) {}

  void trial_ended(const Trial& trial) override {
    if (trial.id + 1 != next_) return;
    mark(trial.id + 1);
    next_ *= 10;
  }

  void begin() {
    std::printf("%-8s %9s %12s %12s %10s %12s\n", "search", "trials", "controller", "process",
                "wall us", "memory MiB");
    last_ = now();
  }

  void mark(std::int64_t trials) {
    const Sample here = now();
    const auto count = static_cast<double>(std::max<std::int64_t>(1, trials - at_));
    std::printf("%-8s %9lld %12.1f %12.1f %10.1f %12.1f\n", search_.c_str(),
                static_cast<long long>(trials), (here.controller - last_.controller) / count,
                (here.process - last_.process) / count, (here.wall - last_.wall) / count,
                resident_mib());
    std::fflush(stdout);
    last_ = here;
    at_ = trials;
  }
  std::int64_t at() const { return at_; }

 private:
  struct Sample {
    double controller = 0.0, process = 0.0, wall = 0.0;
  };
  Sample now() const { return {cluster_.controller_us(), process_cpu_us(), wall_us()}; }

  std::string search_;
  const ModelCluster& cluster_;
  Sample last_;
  std::int64_t at_ = 0, next_ = 1000;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "engine_cost SEARCH TRIALS [FOLDER [EXECUTORS]]\n");
    return 2;
  }
  const std::string search = argv[1];
  const std::int64_t trials = std::atoll(argv[2]);
  const auto folder =
      std::filesystem::path(argc > 3 ? argv[3] : std::filesystem::temp_directory_path().string());
  const std::string database = (folder / "brood-engine-cost.db").string();
  const auto remove = [&database] {
    for (const char* end : {"", "-wal", "-shm", ".lock"}) std::filesystem::remove(database + end);
  };
  remove();
  ModelOptions model;
  model.workers_per_node = argc > 4 ? std::atoi(argv[4]) : 16;
  const auto run = [&](std::int64_t until, bool again) {
    const ExperimentSpec spec = empty_search(search, until, database);
    const auto strategy = make_strategy(spec);
    const auto stopper = make_stopper(spec);
    const auto store = open_sqlite_store(database);
    ModelCluster cluster(model);
    Marks marks(search, cluster);
    const EmptyPlanner planner(stopper ? 27 : 1);
    const double began_us = wall_us(), began_cpu_us = process_cpu_us();
    ControllerOptions options;
    options.workers_per_node = model.workers_per_node;
    if (again)
      options.on_open = [&](bool) {
        std::printf("%-8s resumed in %.2f s (%.2f s of CPU)\n", search.c_str(),
                    (wall_us() - began_us) * 1e-6, (process_cpu_us() - began_cpu_us) * 1e-6);
      };
    Observer quiet;
    Controller controller(spec, *strategy, stopper.get(), planner, *store, cluster, cluster.clock(),
                          again ? quiet : marks, options);
    if (!again) marks.begin();
    const Ending ending = controller.run();
    const auto count = static_cast<std::int64_t>(controller.trials().size());
    if (!again && count > marks.at()) marks.mark(count);
    return ending.state == "completed";
  };
  const bool completed = run(trials, false);
  std::printf("%-8s the database has %.1f MiB\n", search.c_str(),
              static_cast<double>(std::filesystem::file_size(database)) / (1024.0 * 1024.0));
  // A genetic search goes on by whole generations, a grid only as far as it goes.
  const bool resumed = completed && run(trials + 50, true);
  remove();
  return resumed ? 0 : 1;
}
