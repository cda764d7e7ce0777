// Faults forced on the trainer of a device, each in a process of its own, as a worker would meet
// them: nothing of a trial may differ after them from what a quiet run has told.
//
//   gpu_faults [--device emulated|cuda:0] [--only NAME] [--net NAME] [the others as gpu_speed]
//
// illegal_address  a launch with addresses of no memory; the process is of no use afterwards
// hang             work that outlasts the watchdog
// kill             SIGKILL in the middle of an epoch
// nan              a trial that diverges beside the others
// memory           fewer places than trials, a trial that never fits, more than the device has
//
// After the first three another process takes the trials up from their last checkpoints. Prints a
// line for each, PASS or FAIL with the reason.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>

#include "bench/gpu/subject.h"
#include "bench/gpu/wrapped.h"
#include "engine/error.h"
#include "trainers/cnn/cuda/fused.h"

namespace brood::cnn::cuda {
namespace {

constexpr int kTrials = 3, kEpochs = 3;
constexpr int kLostStatus = 71;  // of a process that said DeviceLost; a hang ends CUDA's with 70
constexpr TrialId kDiverges = 99, kTooLarge = 98;

enum class Fault { none, illegal_address, hang, kill };

// Fails at a replay.
class Faulty final : public WrappedRuntime {
 public:
  Faulty(std::unique_ptr<Runtime> inner, Fault fault, std::int64_t at)
      : WrappedRuntime(std::move(inner)), fault_(fault), at_(at) {}

  void replay(int graph, int stream) override {
    inner_->replay(graph, stream);
    if (++replays_ != at_) return;
    if (fault_ == Fault::kill) std::raise(SIGKILL);
    if (fault_ == Fault::illegal_address) {
      for (Launch& launch : captured_) {
        Group group;
        std::memcpy(&group, launch.arguments.data(), sizeof group);
        group.base = nullptr;
        launch.bind(group, launch.z);
      }
      inner_->replay(inner_->capture(captured_), stream);
    }
    if (fault_ == Fault::hang) {
      for (int i = 0; i < 500; ++i) inner_->replay(graph, stream);
      inner_->wait(std::chrono::milliseconds(0));
    }
  }

 private:
  const Fault fault_;
  const std::int64_t at_;
  std::int64_t replays_ = 0;
};

// The emulator has its own failures: an address of no memory would end this process.
std::unique_ptr<Runtime> faulty_runtime(const Subject& subject, Fault fault, std::int64_t at) {
  if (fault == Fault::none) return subject.runtime();
  if (fault == Fault::kill || !subject.emulated())
    return std::make_unique<Faulty>(subject.runtime(), fault, at);
  EmulatedDevice device;
  (fault == Fault::hang ? device.launch_hangs : device.launch_fails) = at * subject.launches();
  return make_emulated_runtime(device);
}

// What a child tells: a line for each report and for each checkpoint, on the disk at once.
using Told = std::map<std::string, std::string>;

struct Job {
  std::vector<TrialId> trials;
  Fault fault = Fault::none;
  std::int64_t fault_at = 0;
  std::int64_t arena_bytes = 0;  // 0: enough
  Told from;                     // of a process before this one
};

class Child {
 public:
  Child(const Subject& subject, const Job& job, const std::string& folder)
      : subject_(subject), job_(job), folder_(folder), out_(folder + "/told", std::ios::app) {}

  int run() {
    try {
      train();
      return 0;
    } catch (const DeviceLost& lost) {
      std::fprintf(stderr, "  the child says: %s\n", lost.what());
      return kLostStatus;
    }
  }

 private:
  void tell(TrialId trial, const std::string& what, const std::string& value) {
    out_ << trial << ' ' << what << ' ' << value << std::endl;
  }

  TrainingInput input(const Assignment& assignment) const {
    TrainingInput out = subject_.input(assignment.trial);
    if (assignment.trial == kDiverges) out.spec.optimizer.learning_rate = 1e38;
    // As many elements as a launch can count, and far more than there is room for.
    if (assignment.trial == kTooLarge)
      out.spec.layers.front().columns = static_cast<int>(
          (1 << 30) / (std::int64_t{1} * subject_.batch * out.data->height * out.data->width));
    return out;
  }

  std::vector<Assignment> assignments() const {
    std::vector<Assignment> out;
    for (const TrialId trial : job_.trials) {
      Assignment assignment = subject_.assignment(trial, kEpochs);
      assignment.save_dir = folder_ + "/" + std::to_string(trial);
      assignment.save_every_epochs = 1;
      for (int epoch = 1; epoch <= kEpochs; ++epoch) {
        const auto saved = job_.from.find(std::to_string(trial) + " saved" + std::to_string(epoch));
        if (saved == job_.from.end()) break;
        assignment.first_epoch = epoch + 1;
        assignment.resume_from = saved->second;
      }
      if (assignment.first_epoch <= kEpochs) out.push_back(assignment);
    }
    return out;
  }

  void train() {
    Offer offer;
    offer.slots = static_cast<int>(job_.trials.size());
    FusedOptions options = subject_.fused_options(offer.slots);
    options.batches_max = 1;  // a fault comes at the same step in every run
    if (job_.arena_bytes > 0) options.arena_bytes = job_.arena_bytes;
    const auto trainer = make_fused(
        offer, "train_loss", [this](const Assignment& a) { return input(a); },
        faulty_runtime(subject_, job_.fault, job_.fault_at), options);
    std::map<int, TrialId> running;
    for (const Assignment& assignment : assignments()) {
      const int slot = static_cast<int>(running.size());
      running[slot] = assignment.trial;
      trainer->start(slot, assignment);
    }
    while (!running.empty())
      for (const Event& event : trainer->advance(Millis{20})) take(event, running);
  }

  void take(const Event& event, std::map<int, TrialId>& running) {
    const TrialId trial = running.at(event.slot);
    if (event.kind == Event::Kind::saved)
      tell(trial, "saved" + std::to_string(event.epoch), event.path);
    if (event.kind == Event::Kind::report) {
      std::ostringstream value;
      value << std::hexfloat;
      for (const Metric& metric : event.report.metrics)
        if (metric.exact) value << metric.name << '=' << metric.value << ';';
      tell(trial, "report" + std::to_string(event.report.epoch), value.str());
    }
    if (event.kind == Event::Kind::failed) tell(trial, "failed", std::string(to_text(event.cause)));
    if (event.kind == Event::Kind::ended) tell(trial, "ended", "-");
    if (event.kind == Event::Kind::failed || event.kind == Event::Kind::ended)
      running.erase(event.slot);
  }

  const Subject& subject_;
  const Job& job_;
  const std::string folder_;
  std::ofstream out_;
};

class Faults {
 public:
  Faults(const Subject& subject, std::string folder)
      : subject_(subject), folder_(std::move(folder)) {}

  // Empty: as it should be.
  std::string prepare() {
    Job job;
    job.trials = {1, 2, 3};
    const auto [status, told] = child(job, "quiet");
    quiet_ = told;
    if (status != 0) return "the quiet run ended with " + std::to_string(status);
    return count(told, " report") == kTrials * kEpochs ? "" : "the quiet run reported too little";
  }

  std::string interrupted(Fault fault, const std::string& name) {
    Job job;
    job.trials = {1, 2, 3};
    job.fault = fault;
    // In the second epoch.
    job.fault_at = steps_per_epoch() + (steps_per_epoch() + 1) / 2 + 1;
    const auto [status, first] = child(job, name);
    if (status == 0) return "the process ended as if nothing had happened";
    if (fault == Fault::kill ? status != -SIGKILL : status != kLostStatus && status != 70)
      return "the process ended with " + std::to_string(status);
    const int told = count(first, " report");
    if (told < kTrials || told == kTrials * kEpochs)
      return std::to_string(told) + " epochs were reported before it";
    Job again;
    again.trials = job.trials;
    again.from = first;
    const auto [second_status, second] = child(again, name);
    if (second_status != 0) return "the next process ended with " + std::to_string(second_status);
    return differences(second, {1, 2, 3});
  }

  std::string diverging() {
    Job job;
    job.trials = {1, kDiverges, 2, 3};
    const auto [status, told] = child(job, "nan");
    if (status != 0) return "the process ended with " + std::to_string(status);
    const auto failed = told.find(std::to_string(kDiverges) + " failed");
    if (failed == told.end() || failed->second != "nan")
      return "the trial that diverges did not fail as nan";
    return differences(told, {1, 2, 3});
  }

  std::string no_memory() {
    Job job;
    job.trials = {1, kTooLarge, 2, 3};
    job.arena_bytes = subject_.fused_options(1).arena_bytes + subject_.trial_bytes() / 2;
    const auto [status, told] = child(job, "memory");
    if (status != 0) return "the process ended with " + std::to_string(status);
    const auto failed = told.find(std::to_string(kTooLarge) + " failed");
    if (failed == told.end() || failed->second != "memory")
      return "the trial that never fits did not fail for memory";
    return differences(told, {1, 2, 3});
  }

 private:
  std::int64_t steps_per_epoch() const {
    const TrainingInput input = subject_.input(1);
    const DataShape shape = divided(input.spec, shape_of(*input.data));
    const auto batches = [&](std::int64_t n) { return (n + subject_.batch - 1) / subject_.batch; };
    return batches(shape.train) + batches(shape.validation);
  }

  static int count(const Told& told, const std::string& what) {
    int out = 0;
    for (const auto& [key, value] : told) out += key.find(what) != std::string::npos ? 1 : 0;
    return out;
  }

  std::string differences(const Told& told, const std::vector<TrialId>& trials) const {
    for (const TrialId trial : trials)
      for (int epoch = 1; epoch <= kEpochs; ++epoch) {
        const std::string key = std::to_string(trial) + " report" + std::to_string(epoch);
        const auto found = told.find(key);
        if (found == told.end()) return "there is no " + key;
        if (found->second != quiet_.at(key))
          return key + " is " + found->second + ", in the quiet run " + quiet_.at(key);
      }
    return "";
  }

  // Its status, negative for a signal, and all that was told in its folder, also before it.
  std::pair<int, Told> child(const Job& job, const std::string& name) const {
    const std::string folder = folder_ + "/" + name;
    std::filesystem::create_directories(folder);
    std::fflush(stdout);
    const pid_t pid = ::fork();
    if (pid == 0) {
      int status = 72;
      try {
        status = Child(subject_, job, folder).run();
      } catch (const std::exception& error) {
        std::fprintf(stderr, "  the child says: %s\n", error.what());
      }
      std::fflush(stderr);
      ::_exit(status);
    }
    int status = 0;
    CHECK(pid > 0 && ::waitpid(pid, &status, 0) == pid, "a child can be made and waited for");
    Told told;
    std::ifstream file(folder + "/told");
    std::string trial, what, value;
    while (file >> trial >> what >> value) told[trial + " " + what] = value;
    return {WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status), told};
  }

  const Subject& subject_;
  const std::string folder_;
  Told quiet_;
};

int run(int argc, char** argv) {
  std::vector<std::string> known = Subject::options();
  known.emplace_back("--only");
  const Options options(argc, argv, known);
  const Subject subject(options);
  const auto folder =
      std::filesystem::temp_directory_path() / ("brood-gpu-faults-" + std::to_string(::getpid()));
  Faults faults(subject, folder.string());
  const std::vector<std::pair<std::string, std::function<std::string()>>> all = {
      {"quiet", [&] { return faults.prepare(); }},
      {"illegal_address",
       [&] { return faults.interrupted(Fault::illegal_address, "illegal_address"); }},
      {"hang", [&] { return faults.interrupted(Fault::hang, "hang"); }},
      {"kill", [&] { return faults.interrupted(Fault::kill, "kill"); }},
      {"nan", [&] { return faults.diverging(); }},
      {"memory", [&] { return faults.no_memory(); }}};
  int failed = 0;
  for (const auto& [name, check] : all) {
    if (name != "quiet" && options.text("--only", name) != name) continue;
    const std::string why = check();
    std::printf("%s %s%s%s\n", why.empty() ? "PASS" : "FAIL", name.c_str(), why.empty() ? "" : ": ",
                why.c_str());
    std::fflush(stdout);
    failed += why.empty() ? 0 : 1;
    if (name == "quiet" && failed > 0) break;
  }
  std::filesystem::remove_all(folder);
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace brood::cnn::cuda

int main(int argc, char** argv) {
  return brood::cnn::cuda::run_bench("gpu_faults", brood::cnn::cuda::run, argc, argv);
}
