// Images a second over the number of fused trials, as the trainer of a device trains them; or, with
// --same-bits, whether they have the bits that each has alone.
//
//   gpu_speed [--device emulated|cuda:0] [--net NAME] [--trials 1,2,4] [--batch 128]
//             [--precision bf16|fp32] [--seconds 1] [--rounds 3] [--samples 50000] [--size PIXELS]
//             [--overlap]
//   gpu_speed --choose 64 [the same without --trials]     as many as the trainer would choose
//   gpu_speed --same-bits [--trials 8] [--steps 50] [the others as above]
//   gpu_speed --same-bits --beside-emulated   alone on the device and in the emulator, whose fp32
//             has the bits of a GPU's; small shapes, as it is slow
//
// Prints a line of JSON for each number of trials; the rates are those of the rounds, each the sum
// over all trials, epochs' ends and the host's part among the seconds.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "bench/gpu/subject.h"
#include "engine/error.h"
#include "engine/json_library.h"
#include "trainers/cnn/checkpoint.h"

namespace brood::cnn::cuda {
namespace {

using Clock = std::chrono::steady_clock;
constexpr Millis kTurn{20};
constexpr int kEpochs = 1000000;  // no trial ends by itself

class Bench {
 public:
  // choose_up_to: as FusedOptions has it.
  Bench(const Subject& subject, int most, int choose_up_to = 0)
      : subject_(subject), engine_(subject.runtime(), options_of(subject, most, choose_up_to)) {}

  // As many as the engine takes, which asks for more after a while or not.
  int admit_what_it_takes(int most, double seconds) {
    const auto start = Clock::now();
    std::uint64_t changes = 0;
    while (std::chrono::duration<double>(Clock::now() - start).count() < seconds) {
      while (static_cast<int>(trials_.size()) < most && changes != engine_.changes()) {
        const auto number = static_cast<TrialId>(trials_.size()) + 1;
        const auto admitted =
            engine_.admit(subject_.input(number), subject_.assignment(number, kEpochs));
        if (admitted) trials_.push_back(*admitted);
        if (!admitted) changes = engine_.changes();
      }
      rate(0.0);
    }
    // It may have settled at fewer than it had tried.
    const auto wanted = static_cast<std::size_t>(engine_.wanted(trials_.front()));
    for (; trials_.size() > wanted; trials_.pop_back()) engine_.remove(trials_.back());
    return static_cast<int>(trials_.size());
  }

  void admit_until(int count) {
    while (static_cast<int>(trials_.size()) < count) {
      const auto number = static_cast<TrialId>(trials_.size()) + 1;
      const auto admitted =
          engine_.admit(subject_.input(number), subject_.assignment(number, kEpochs));
      CHECK(admitted.has_value(), "the arena is made for them");
      trials_.push_back(*admitted);
    }
  }

  // Images a second for about so long.
  double rate(double seconds) {
    const std::int64_t before = steps();
    const auto start = Clock::now();
    double passed = 0.0;
    do {
      engine_.advance(kTurn);
      for (const int trial : trials_) engine_.take_report(trial);
      passed = std::chrono::duration<double>(Clock::now() - start).count();
    } while (passed < seconds);
    return static_cast<double>((steps() - before) * subject_.batch) / passed;
  }

 private:
  static FusedOptions options_of(const Subject& subject, int most, int choose_up_to) {
    FusedOptions out = subject.fused_options(most);
    out.choose_up_to = choose_up_to;
    return out;
  }
  std::int64_t steps() const {
    std::int64_t out = 0;
    for (const int trial : trials_) out += engine_.steps(trial);
    return out;
  }

  const Subject& subject_;
  FusedEngine engine_;
  std::vector<int> trials_;
};

void print(const Subject& subject, int trials, std::vector<double> rates, bool chosen) {
  std::sort(rates.begin(), rates.end());
  const double median = rates[rates.size() / 2];
  const Json line = {{"net", subject.net},
                     {"precision", subject.precision_name},
                     {"batch", subject.batch},
                     {"trials", trials},
                     {"chosen", chosen},
                     {"images_per_second", median},
                     {"rounds", rates},
                     {"step_milliseconds", 1000.0 * trials * subject.batch / median},
                     {"launches", subject.launches()},
                     {"trial_bytes", subject.trial_bytes()}};
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

void measure(const Subject& subject, const Options& options) {
  const double seconds = options.number("--seconds", 1.0);
  const auto rates = [&](Bench& bench) {
    bench.rate(seconds / 2);  // graphs are made, clocks rise, turns find their length
    std::vector<double> out;
    for (std::int64_t round = options.whole("--rounds", 3); round > 0; --round)
      out.push_back(bench.rate(seconds));
    return out;
  };
  if (options.has("--choose")) {
    const auto most = static_cast<int>(options.whole("--choose", 64));
    Bench bench(subject, most, most);
    const int chosen = bench.admit_what_it_takes(most, 10.0 * seconds);
    print(subject, chosen, rates(bench), true);
    return;
  }
  std::vector<int> counts = options.list("--trials", {1, 2, 4, 8, 16});
  std::sort(counts.begin(), counts.end());
  Bench bench(subject, counts.back());
  for (const int count : counts) {
    bench.admit_until(count);
    print(subject, count, rates(bench), false);
  }
}

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The checkpoint of trial 1 after so many steps, in the company of others: some are there before
// it, some come and go while it trains.
std::string checkpoint(const Subject& subject, int trials, std::int64_t steps,
                       const std::string& path) {
  FusedOptions settings = subject.fused_options(trials);
  settings.batches_max = 1;  // so that it ends after exactly so many steps
  FusedEngine engine(subject.runtime(), settings);
  std::vector<int> others;
  TrialId next = 2;
  const auto admit = [&](TrialId trial) {
    const auto admitted = engine.admit(subject.input(trial), subject.assignment(trial, kEpochs));
    CHECK(admitted.has_value(), "the arena is made for them");
    return *admitted;
  };
  for (; next <= trials; ++next) others.push_back(admit(next));
  if (!others.empty()) engine.advance(Millis{0});
  const int subject_trial = admit(1);
  while (engine.steps(subject_trial) < steps) {
    engine.advance(Millis{0});
    engine.take_report(subject_trial);
    for (int& other : others) engine.take_report(other);
    if (others.empty()) continue;
    engine.remove(others.front());
    others.erase(others.begin());
    if (next % 2 == 0) others.push_back(admit(next));
    ++next;
  }
  engine.save(subject_trial, path);
  return std::to_string(engine.steps(subject_trial)) + " steps " + contents(path);
}

// What a checkpoint holds but for what it says of its device.
std::string arrays_of(const std::string& path) {
  std::string out;
  for (const NamedArray& array : read_checkpoint(path).arrays) {
    out += array.name;
    out.append(reinterpret_cast<const char*>(array.values.data()),
               array.values.size() * sizeof(float));
  }
  return out;
}

int compare_with_emulated(const Subject& subject, const Options& options) {
  const std::int64_t steps = options.whole("--steps", 50);
  const std::string path =
      std::filesystem::temp_directory_path() / ("brood-gpu-bits-" + std::to_string(::getpid()));
  checkpoint(subject, 1, steps, path);
  const std::string here = arrays_of(path);
  checkpoint(Subject(options, "", "emulated"), 1, steps, path);
  const std::string emulated = arrays_of(path);
  std::filesystem::remove(path);
  const Json line = {{"net", subject.net},   {"precision", subject.precision_name},
                     {"steps", steps},       {"beside", "emulated"},
                     {"bytes", here.size()}, {"same_bits", here == emulated}};
  std::printf("%s\n", line.dump().c_str());
  return here == emulated ? 0 : 1;
}

int compare_bits(const Subject& subject, const Options& options) {
  if (options.has("--beside-emulated")) return compare_with_emulated(subject, options);
  const int trials = options.list("--trials", {8}).back();
  const std::int64_t steps = options.whole("--steps", 50);
  const std::string path =
      std::filesystem::temp_directory_path() / ("brood-gpu-bits-" + std::to_string(::getpid()));
  const std::string alone = checkpoint(subject, 1, steps, path);
  const std::string fused = checkpoint(subject, trials, steps, path);
  std::filesystem::remove(path);
  const Json line = {{"net", subject.net},    {"precision", subject.precision_name},
                     {"trials", trials},      {"steps", steps},
                     {"bytes", alone.size()}, {"same_bits", alone == fused}};
  std::printf("%s\n", line.dump().c_str());
  return alone == fused ? 0 : 1;
}

int run(int argc, char** argv) {
  std::vector<std::string> known = Subject::options();
  for (const char* name : {"--trials", "--choose", "--seconds", "--rounds", "--same-bits",
                           "--beside-emulated", "--steps"})
    known.emplace_back(name);
  const Options options(argc, argv, known);
  const Subject subject(options);
  if (options.has("--same-bits")) return compare_bits(subject, options);
  measure(subject, options);
  return 0;
}

}  // namespace
}  // namespace brood::cnn::cuda

int main(int argc, char** argv) {
  return brood::cnn::cuda::run_bench("gpu_speed", brood::cnn::cuda::run, argc, argv);
}
