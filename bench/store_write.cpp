// What the store costs: reports and whole trials from put() to the disk, and the first questions
// asked of many trials. The database lies under $BROOD_BENCH_DIR, or else in the temporary folder.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "store/query.h"
#include "store/sqlite_store.h"

namespace brood {
namespace {

constexpr int kReportsPerTrial = 10;

std::string folder() {
  const char* given = std::getenv("BROOD_BENCH_DIR");
  return given != nullptr ? given : std::filesystem::temp_directory_path().string();
}

class Scratch {
 public:
  Scratch() : path_(folder() + "/brood-bench-" + std::to_string(getpid()) + ".db") { remove(); }
  ~Scratch() { remove(); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const std::string& path() const { return path_; }

 private:
  void remove() const {
    for (const char* end : {"", "-wal", "-shm", ".lock"}) std::filesystem::remove(path_ + end);
  }
  std::string path_;
};

Field real_field(const std::string& name) {
  Field field;
  field.name = name;
  field.kind = FieldKind::real;
  field.max = 1.0;
  return field;
}

ExperimentSpec spec() {
  ExperimentSpec out;
  out.name = "bench";
  out.config = "{}";
  out.space = SearchSpace({real_field("learning_rate"), real_field("dropout"),
                           real_field("momentum"), real_field("weight_decay")});
  return out;
}

// A cheap scatter of values in [0, 1): what they are does not matter, only that they differ.
double scattered(std::int64_t n) {
  return static_cast<double>(static_cast<std::uint64_t>(n) * 0x9e3779b97f4a7c15u >> 11) * 0x1p-53;
}

Trial trial_of(TrialId id) {
  Trial trial;
  trial.id = id;
  trial.last_epoch = kReportsPerTrial;
  trial.params.set("learning_rate", scattered(4 * id));
  trial.params.set("dropout", scattered(4 * id + 1));
  trial.params.set("momentum", scattered(4 * id + 2));
  trial.params.set("weight_decay", scattered(4 * id + 3));
  return trial;
}

Report report_of(TrialId id, int epoch) {
  const double value = scattered(id) * 0.9 + 0.001 * epoch;
  return {epoch,
          {{"val_accuracy", value, true},
           {"val_loss", 1 - value, true},
           {"train_loss", 0.5 - 0.5 * value, true},
           {"seconds", 0.01, false}}};
}

void put_trial(Store& store, TrialId id) {
  Trial trial = trial_of(id);
  store.put(TrialAdded{trial});
  store.put(AttemptStarted{id, 1, "here/1.0", "here", "cpu", "avx2-1", 1, 1, ""});
  for (int epoch = 1; epoch <= kReportsPerTrial; ++epoch)
    store.put(Reported{id, report_of(id, epoch), epoch});
  store.put(AttemptEnded{id, 1, 2, "completed", false, "", 0});
  trial.state = TrialState::completed;
  trial.judged_epoch = kReportsPerTrial;
  trial.objective = report_of(id, kReportsPerTrial).metrics[0].value;
  trial.best_epoch = kReportsPerTrial;
  store.put(TrialChanged{trial});
}

// 100,000 reports at a time, from put() until they are all durable.
void Reports(benchmark::State& state) {
  constexpr int kBatch = 100'000, kEpochs = 100;
  const Scratch scratch;
  const auto store = open_sqlite_store(scratch.path());
  store->open(spec(), {});
  TrialId id = 0;
  for (auto _ : state) {
    for (int i = 0; i < kBatch / kEpochs; ++i, ++id) {
      store->put(TrialAdded{trial_of(id)});
      for (int epoch = 1; epoch <= kEpochs; ++epoch)
        store->put(Reported{id, report_of(id, epoch), epoch});
    }
    store->flush();
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}
BENCHMARK(Reports)->UseRealTime()->Unit(benchmark::kMillisecond);

// 10,000 whole trials at a time: 4 parameters, an attempt, 10 reports of 4 metrics, its end.
void Trials(benchmark::State& state) {
  constexpr int kBatch = 10'000;
  const Scratch scratch;
  const auto store = open_sqlite_store(scratch.path());
  store->open(spec(), {});
  TrialId id = 0;
  for (auto _ : state) {
    for (int i = 0; i < kBatch; ++i) put_trial(*store, id++);
    store->flush();
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}
BENCHMARK(Trials)->UseRealTime()->Unit(benchmark::kMillisecond);

// Questions of 100,000 trials with 10 reports each.
class ManyTrials : public benchmark::Fixture {
 public:
  void SetUp(benchmark::State&) override {
    if (scratch_) return;
    scratch_ = std::make_unique<Scratch>();
    const auto store = open_sqlite_store(scratch_->path());
    store->open(spec(), {});
    for (TrialId id = 0; id < 100'000; ++id) put_trial(*store, id);
    store->flush();
  }
  static std::string path() { return scratch_->path(); }

 private:
  static std::unique_ptr<Scratch> scratch_;
};
std::unique_ptr<Scratch> ManyTrials::scratch_;

BENCHMARK_DEFINE_F(ManyTrials, Best10)(benchmark::State& state) {
  for (auto _ : state) {
    Reader reader(path());
    benchmark::DoNotOptimize(reader.best(reader.experiment(""), 10));
  }
}
BENCHMARK_REGISTER_F(ManyTrials, Best10)->Unit(benchmark::kMillisecond);

void query(benchmark::State& state, const std::string& text, const std::string& sort) {
  for (auto _ : state) {
    Reader reader(ManyTrials::path());
    const ExperimentRecord experiment = reader.experiment("");
    const std::vector<KnownColumn> known = reader.columns(experiment);
    benchmark::DoNotOptimize(reader.query(experiment, known, parse_filter(text, known),
                                          {{find_column(sort, known), true}}, 20));
  }
}

BENCHMARK_DEFINE_F(ManyTrials, FilteredTop20ByObjective)(benchmark::State& state) {
  query(state, "dropout < 0.1 and learning_rate > 0.5 and state = 'completed'", "objective");
}
BENCHMARK_REGISTER_F(ManyTrials, FilteredTop20ByObjective)->Unit(benchmark::kMillisecond);

BENCHMARK_DEFINE_F(ManyTrials, FilteredTop20ByMetric)(benchmark::State& state) {
  query(state, "dropout < 0.1 and val_loss < 0.5", "val_accuracy");
}
BENCHMARK_REGISTER_F(ManyTrials, FilteredTop20ByMetric)->Unit(benchmark::kMillisecond);

BENCHMARK_DEFINE_F(ManyTrials, Resume)(benchmark::State& state) {
  for (auto _ : state) {
    const auto store = open_sqlite_store(path());
    benchmark::DoNotOptimize(store->open(spec(), {}).trials.size());
  }
}
BENCHMARK_REGISTER_F(ManyTrials, Resume)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace brood
