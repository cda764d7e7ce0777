// Writes a large experiment through the store, as a run would: for bench/questions.py.
//
//   make_database FILE [TRIALS [EPOCHS]]      (100,000 and 100)
//
// Then opens it as a resume would and says how long that takes. Six parameters, four metrics, a
// lineage of two for most trials. The objective is a made-up function of learning_rate most of all,
// then of optimizer and dropout, hardly of the rest.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "engine/rng.h"
#include "engine/space.h"
#include "store/sqlite_store.h"

namespace {

using namespace brood;

Field real_field(const char* name, double min, double max, bool log) {
  Field field;
  field.name = name;
  field.kind = FieldKind::real;
  field.min = min;
  field.max = max;
  field.log = log;
  return field;
}

ExperimentSpec large_search() {
  Field optimizer;
  optimizer.name = "optimizer";
  optimizer.kind = FieldKind::categorical;
  optimizer.values = {std::string("adam"), std::string("sgd"), std::string("rmsprop")};
  Field momentum = real_field("momentum", 0.0, 0.99, false);
  Condition only_sgd;
  only_sgd.parent = "optimizer";
  only_sgd.values = {std::string("sgd")};
  momentum.when = {only_sgd};
  Field batch;
  batch.name = "batch_size";
  batch.kind = FieldKind::ordinal;
  batch.values = {std::int64_t{32}, std::int64_t{64}, std::int64_t{128}, std::int64_t{256}};
  ExperimentSpec spec;
  spec.name = "large";
  spec.objective.metric = "val_accuracy";
  spec.config = "{}";
  spec.space = SearchSpace({real_field("learning_rate", 1e-5, 1.0, true), optimizer,
                            real_field("dropout", 0.0, 0.9, false), batch, momentum,
                            real_field("weight_decay", 1e-6, 1e-2, true)});
  return spec;
}

double final_accuracy(const ExperimentSpec& spec, const Trial& trial, Rng& rng) {
  const double rate = spec.space.fields()[0].encode(*trial.params.find("learning_rate"));
  const double dropout = trial.params.real("dropout");
  const double from_optimizer = trial.params.label("optimizer") == "sgd" ? -0.06 : 0.0;
  return 0.9 - 1.2 * (rate - 0.45) * (rate - 0.45) - 0.15 * (dropout - 0.3) * (dropout - 0.3) +
         from_optimizer + 0.01 * (rng.uniform() - 0.5);
}

Report report_of(int epoch, int epochs, double accuracy, Rng& rng) {
  const double gone = static_cast<double>(epoch) / epochs;
  const double now = accuracy * (0.5 + 0.5 * gone * (2.0 - gone)) + 0.002 * rng.uniform();
  const double value = epoch == epochs ? accuracy : now;
  return {epoch,
          {{"val_accuracy", value, true},
           {"val_loss", 2.3 * (1.0 - value), true},
           {"train_loss", 2.2 * (1.0 - value), true},
           {"seconds", 0.01 + 0.001 * rng.uniform(), false}}};
}

void put_trial(Store& store, const ExperimentSpec& spec, TrialId id, int epochs) {
  Rng rng(11, static_cast<std::uint64_t>(id), Purpose::simulate);
  Trial trial;
  trial.id = id;
  trial.params = spec.space.mask(spec.space.sample(rng));
  trial.seed = rng.bits();
  trial.last_epoch = epochs;
  if (id >= 50) {
    const TrialId generation = id / 50 * 50 - 50;
    trial.lineage = {generation + static_cast<TrialId>(rng.below(50)),
                     generation + static_cast<TrialId>(rng.below(50))};
  }
  const double accuracy = final_accuracy(spec, trial, rng);
  const std::int64_t begun_us = 1'700'000'000'000'000 + id * 1'000'000;
  store.put(TrialAdded{trial});
  store.put(AttemptStarted{id, 1, "node0/0.1.0", "node0", "cpu", "avx2-1", begun_us, 1, ""});
  for (int epoch = 1; epoch <= epochs; ++epoch)
    store.put(Reported{id, report_of(epoch, epochs, accuracy, rng), begun_us + epoch * 10'000});
  store.put(AttemptEnded{id, 1, begun_us + epochs * 10'000, "completed", false, "", 1 << 28});
  trial.state = TrialState::completed;
  trial.judged_epoch = epochs;
  trial.objective = accuracy;
  trial.best_epoch = epochs;
  store.put(TrialChanged{trial});
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "make_database FILE [TRIALS [EPOCHS]]\n");
    return 2;
  }
  const std::int64_t trials = argc > 2 ? std::atoll(argv[2]) : 100'000;
  const int epochs = argc > 3 ? std::atoi(argv[3]) : 100;
  const ExperimentSpec spec = large_search();
  auto store = open_sqlite_store(argv[1]);
  Session session;
  session.host = "node0";
  session.launcher = "local";
  session.executors = 16;
  store->open(spec, session);
  store->put(StateChanged{"running", ""});
  for (TrialId id = 0; id < trials; ++id) put_trial(*store, spec, id, epochs);
  store->put(StateChanged{"completed", ""});
  store->flush();
  store.reset();
  const auto began = std::chrono::steady_clock::now();
  store = open_sqlite_store(argv[1]);
  const std::size_t loaded = store->open(spec, session).trials.size();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::printf("%zu trials are loaded for a resume in %.2f s\n", loaded, took.count());
  return 0;
}
