// The engine's own cost of a trial: propose, assign, one report, the end, with all frames encoded
// and decoded and every change committed to SQLite. The worker answers at once from within the
// transport, so no process, no training and no waiting is in the figure.
#include <benchmark/benchmark.h>

#include <filesystem>
#include <queue>
#include <string>

#include "bench/empty_search.h"
#include "engine/controller.h"
#include "store/sqlite_store.h"
#include "strategies/strategies.h"

namespace brood {
namespace {

// One node with one worker of many slots; each assigned trial reports and ends in the same breath.
class Echo final : public Transport {
 public:
  explicit Echo(int slots) : slots_(slots) {
    NodeHello hello;
    hello.host = "echo";
    hello.build = build_id();
    push(0, hello);
  }
  std::optional<Envelope> receive(Millis) override {
    if (frames_.empty()) return std::nullopt;
    Envelope out = std::move(frames_.front());
    frames_.pop();
    return out;
  }
  void send(Address, std::string_view frame) override {
    const Message message = decode(frame);
    if (std::get_if<Setup>(&message) != nullptr) {
      Hello hello;
      hello.build = build_id();
      hello.host = "echo";
      hello.offer.numeric_class = "any";
      hello.offer.slots = slots_;
      push(1, hello);
      for (int slot = 0; slot < slots_; ++slot) push(1, Idle{slot});
    } else if (const auto* assign = std::get_if<Assign>(&message)) {
      Told told;
      told.trial = assign->assignment.trial;
      told.attempt = assign->assignment.attempt;
      told.event.slot = assign->slot;
      told.sequence = ++sequence_;
      told.event.kind = Event::Kind::report;
      told.event.report = {1, {{"loss", 0.5, true}}};
      push(1, told);
      told.sequence = ++sequence_;
      told.event.kind = Event::Kind::ended;
      told.event.epoch = 1;
      push(1, told);
      push(1, Idle{assign->slot});
    }
  }
  void wake() noexcept override {}

 private:
  void push(int worker, const Message& message) { frames_.push({{0, worker}, encode(message)}); }
  int slots_;
  std::int64_t sequence_ = 0;
  std::queue<Envelope> frames_;
};

void trials(benchmark::State& state, const std::string& search) {
  const auto count = state.range(0);
  const auto folder = std::filesystem::temp_directory_path() / "brood-bench-controller";
  for (auto _ : state) {
    state.PauseTiming();
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    const std::string database = (folder / "bench.db").string();
    const ExperimentSpec spec = empty_search(search, count, database);
    state.ResumeTiming();
    const auto strategy = make_strategy(spec);
    const auto store = open_sqlite_store(database);
    Echo transport(16);
    SystemClock clock;
    Observer observer;
    EmptyPlanner planner(1);
    Controller controller(spec, *strategy, nullptr, planner, *store, transport, clock, observer,
                          ControllerOptions{});
    const Ending ending = controller.run();
    if (ending.state != "completed") state.SkipWithError("the run did not complete");
  }
  std::filesystem::remove_all(folder);
  state.SetItemsProcessed(state.iterations() * count);
  state.counters["us_per_trial"] =
      benchmark::Counter(static_cast<double>(state.iterations() * count) / 1e6,
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

BENCHMARK_CAPTURE(trials, random, "random")
    ->Arg(1000)
    ->Arg(20000)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(trials, genetic, "genetic")
    ->Arg(1000)
    ->Arg(20000)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
}  // namespace brood
