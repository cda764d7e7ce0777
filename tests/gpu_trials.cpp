#include "tests/gpu_trials.h"

#include <iterator>
#include <string>
#include <utility>

#include "engine/error.h"
#include "trainers/cnn/kernels.h"

namespace brood::cnn::cuda {

TrainingInput small_input(int trial) {
  const int filters = 2 + trial % 3;  // three shapes
  static const auto kData = load_dataset(
      [] {
        data::DatasetSpec spec;
        spec.format = "synthetic";
        spec.synthetic.size = 6;
        spec.synthetic.classes = 3;
        spec.synthetic.train = 31;
        spec.synthetic.test = 9;
        return spec;
      }(),
      std::string());
  std::vector<Problem> problems;
  TrainingInput out;
  out.spec = parse_network(R"({"name": "cnn", "epochs": 2, "batch_size": 8, "validation": 10,
      "dataset": {"synthetic": {"classes": 3, "size": 6, "train": 31, "test": 9}},
      "optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9},
      "layers": [{"conv": {"filters": )" +
                               std::to_string(filters) +
                               R"(, "kernel": 3, "batch_norm": true, "activation": "relu"}},
                 {"dropout": {"rate": 0.25}}, {"global_avg_pool": {}}]})",
                           problems);
  CHECK(problems.empty(), "the block is right");
  out.data = kData;
  out.kernels = available_kernels().back();
  out.objective = "val_loss";
  return out;
}

Reports train_small(const std::vector<int>& wanted, FusedOptions options,
                    std::unique_ptr<Runtime> runtime) {
  options.arena_bytes = std::int64_t{8} << 20;
  FusedEngine engine(std::move(runtime), options);
  Reports out;
  std::map<int, int> running;  // trial to the engine's number
  std::size_t next = 0;
  while (next < wanted.size() || !running.empty()) {
    while (next < wanted.size()) {
      Assignment assignment;
      assignment.trial = wanted[next];
      assignment.last_epoch = kSmallEpochs;
      assignment.seed = static_cast<std::uint64_t>(50 + wanted[next]);
      const auto admitted = engine.admit(small_input(wanted[next]), assignment);
      if (!admitted) break;
      running[wanted[next++]] = *admitted;
      engine.advance(Millis{0});  // so that they are at different steps
    }
    engine.advance(Millis{1});
    for (auto at = running.begin(); at != running.end();) {
      const auto report = engine.take_report(at->second);
      if (report)
        for (const Metric& metric : report->metrics)
          if (metric.exact) out[at->first].push_back(metric);
      const bool done = report && report->epoch == kSmallEpochs;
      if (done) engine.remove(at->second);
      at = done ? running.erase(at) : std::next(at);
    }
  }
  return out;
}

}  // namespace brood::cnn::cuda
