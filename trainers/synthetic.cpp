// Functions of Surjanovic and Bingham, "Virtual library of simulation experiments", 2013. Only
// IEEE basic operations: the metrics have the same bits on every machine.
#include "trainers/synthetic.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <thread>
#include <utility>

#include "engine/json_library.h"
#include "engine/resolve.h"
#include "engine/rng.h"
#include "trainers/block.h"

namespace brood {

namespace {

constexpr const char* kNumericClass = "synthetic-1";
constexpr std::int64_t kSlotsMax = 1024;

struct Failure {
  std::string how;
  std::int64_t epoch = 1;
  std::vector<TrialId> trials;  // empty: all
  std::int64_t attempts = 0;    // 0: all
  std::vector<std::pair<std::string, std::vector<std::string>>> when;
};

struct Settings {
  std::string function;
  std::vector<double> point;  // empty: the parameters
  std::int64_t epochs = 1, epoch_ms = 0, parameters = 0, memory_bytes = 0;
  double noise = 0.0;
  std::vector<Failure> failures;
};

// A label becomes a number by the letters of it, so that functions of any point exist.
double coordinate(const std::string& name, const Value& value) {
  double real = 0.0;
  if (as_real(value, real)) return real;
  if (const bool* flag = std::get_if<bool>(&value)) return *flag ? 1.0 : 0.0;
  ParamSet one;
  one.set(name, value);
  return static_cast<double>(hash(one) >> 11) * 0x1p-53;
}

Failure read_failure(BlockReader& block) {
  Failure out;
  out.how =
      block.word("how", {"segfault", "abort", "exit", "hang", "allocate", "nan", "throw"}, "");
  out.epoch = block.whole("epoch", 1, std::numeric_limits<int>::max(), 1);
  out.attempts = block.whole("attempts", 1, 1000, 0);
  for (const std::string& id : block.texts("trials", 0)) {
    char* end = nullptr;
    const long long number = std::strtoll(id.c_str(), &end, 10);
    if (*end != '\0' || number < 0)
      block.problem("trials", "expected numbers of trials (has " + id + ")");
    out.trials.push_back(number);
  }
  if (const Json* const when = block.find("when")) {
    if (!when->is_object()) block.problem("when", "expected an object of parameters");
    for (const auto& [name, values] : when->items()) {
      std::vector<std::string> allowed;
      for (const Json& value : values.is_array() ? values : Json::array({values}))
        if (value.is_primitive() && !value.is_null())
          allowed.push_back(to_text(value_from_json(value)));
      out.when.emplace_back(name, std::move(allowed));
    }
  }
  return out;
}

Settings read_settings(BlockReader& block) {
  Settings out;
  block.find("name");
  out.function = block.word("function", {"sphere", "rastrigin", "branin"}, "sphere");
  if (const Json* const point = block.find("point")) {
    if (!point->is_array()) block.problem("point", "expected a list of coordinates");
    for (const Json& item : point->is_array() ? *point : Json::array()) {
      if (!item.is_primitive() || item.is_null()) {
        block.problem("point", "expected numbers, labels or switches (has " + item.dump() + ")");
        continue;
      }
      out.point.push_back(coordinate("", value_from_json(item)));
    }
  }
  out.epochs = block.whole("epochs", 1, 1'000'000, std::nullopt);
  out.epoch_ms = block.whole("epoch_ms", 0, 3'600'000, 0);
  out.parameters = block.whole("parameters", 0, std::int64_t{1} << 60, 0);
  out.memory_bytes = block.whole("memory_bytes", 0, std::int64_t{1} << 60, 0);
  out.noise = block.real("noise", 0.0, 0.0);
  block.whole("slots", 1, kSlotsMax, 1);  // see synthetic_slots()
  if (const Json* const fail = block.find("fail")) {
    if (!fail->is_array()) block.problem("fail", "expected a list of failures");
    for (std::size_t i = 0; fail->is_array() && i < fail->size(); ++i) {
      if (!(*fail)[i].is_object()) {
        block.problem("fail", "expected objects");
        continue;
      }
      BlockReader inner((*fail)[i], "/fail/" + std::to_string(i));
      out.failures.push_back(read_failure(inner));
      block.take_problems(inner);
    }
  }
  return out;
}

// cos(2 pi turns), error below 1e-13, from basic operations.
double cosine(double turns) {
  double x = turns - std::floor(turns);  // [0, 1)
  if (x > 0.5) x = 1.0 - x;              // [0, 1/2], even
  const bool negative = x > 0.25;
  if (negative) x = 0.5 - x;  // [0, 1/4]
  const double angle = 6.283185307179586 * x;
  const double square = angle * angle;
  double sum = 1.0, term = 1.0;
  for (int n = 1; n <= 9; ++n) {
    term *= -square / static_cast<double>((2 * n - 1) * (2 * n));
    sum += term;
  }
  return negative ? -sum : sum;
}

double value_at(const std::string& function, const std::vector<double>& x) {
  constexpr double kPi = 3.141592653589793;
  double sum = 0.0;
  if (function == "branin") {
    if (x.size() < 2)
      throw TrialFailure(Cause::trainer,
                         "branin needs two parameters; this trial has " + std::to_string(x.size()));
    const double bend = x[1] - 5.1 / (4 * kPi * kPi) * x[0] * x[0] + 5 / kPi * x[0] - 6;
    return bend * bend + 10 * (1 - 1 / (8 * kPi)) * cosine(x[0] / (2 * kPi)) + 10;
  }
  for (const double xi : x) sum += function == "sphere" ? xi * xi : xi * xi - 10 * cosine(xi) + 10;
  return sum;
}

bool matches(const Failure& failure, const Assignment& assignment) {
  const auto& trials = failure.trials;
  if (!trials.empty() && std::find(trials.begin(), trials.end(), assignment.trial) == trials.end())
    return false;
  if (failure.attempts > 0 && assignment.attempt > failure.attempts) return false;
  return std::all_of(failure.when.begin(), failure.when.end(), [&](const auto& condition) {
    const Value* const value = assignment.params.find(condition.first);
    const auto& allowed = condition.second;
    return value != nullptr &&
           std::find(allowed.begin(), allowed.end(), to_text(*value)) != allowed.end();
  });
}

[[noreturn]] void allocate_without_end() {
  constexpr std::size_t kBlock = std::size_t{16} << 20;
  std::vector<std::unique_ptr<char[]>> blocks;
  while (true) {  // at about 3 GB/s, as a program that fills its memory with data would
    blocks.push_back(std::make_unique<char[]>(kBlock));
    std::memset(blocks.back().get(), 1, kBlock);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

class SyntheticTraining final : public Training {
 public:
  SyntheticTraining(Settings settings, std::string objective, const Assignment& assignment)
      : settings_(std::move(settings)),
        objective_(std::move(objective)),
        assignment_(assignment),
        epoch_(assignment.first_epoch - 1) {
    std::vector<double> point = settings_.point;
    if (point.empty())
      for (const auto& [name, value] : assignment.params.entries())
        point.push_back(coordinate(name, value));
    target_ = value_at(settings_.function, point);
    gap_ = 1.0 + std::abs(target_);
    if (!assignment.resume_from.empty()) load(assignment.resume_from);
  }

  std::optional<Report> step() override {
    ++steps_;
    const auto now = std::chrono::steady_clock::now();
    if (!started_) started_ = now;
    const auto left = *started_ + Millis(settings_.epoch_ms) - now;
    if (left > left.zero()) {
      std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(left, Millis(10)));
      return std::nullopt;
    }
    ++epoch_;
    Rng rng(assignment_.seed, static_cast<std::uint64_t>(epoch_), Purpose::synthetic);
    gap_ = 0.6 * gap_ + settings_.noise * (rng.uniform() - 0.5);
    double loss = target_ + gap_;
    for (const Failure& failure : settings_.failures)
      if (failure.epoch == epoch_ && matches(failure, assignment_)) suffer(failure.how, loss);
    Report report;
    report.epoch = epoch_;
    report.metrics = {{"loss", loss, true}, {"val_accuracy", 1.0 / (1.0 + std::abs(loss)), true}};
    if (std::isnan(loss)) report.metrics[1].value = loss;
    if (report.find(objective_) == nullptr) report.metrics.push_back({objective_, loss, true});
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - *started_;
    report.metrics.push_back({"seconds", seconds.count(), false});
    started_.reset();
    return report;
  }

  void save(const std::string& path) const override {
    const std::string beside = path + "." + std::to_string(::getpid()) + ".tmp";
    std::ofstream file(beside, std::ios::trunc);
    file << "brood-synthetic-1 " << epoch_ << ' ' << std::bit_cast<std::uint64_t>(gap_)
         << " whole\n";
    file.close();
    if (!file) throw UserError("cannot write " + beside);
    std::filesystem::rename(beside, path);
  }

  std::int64_t steps() const override { return steps_; }

 private:
  void load(const std::string& path) {
    std::ifstream file(path);
    std::string tag, whole;
    int epoch = 0;
    std::uint64_t bits = 0;
    if (!(file >> tag >> epoch >> bits >> whole) || "whole" != whole ||
        tag != "brood-synthetic-1" || epoch != epoch_)
      throw TrialFailure(Cause::checkpoint, "cannot resume from " + path +
                                                ": not a checkpoint after epoch " +
                                                std::to_string(epoch_));
    gap_ = std::bit_cast<double>(bits);
  }

  void suffer(const std::string& how, double& loss) const {
    if (how == "segfault") {
      ::signal(SIGSEGV, SIG_DFL);  // a sanitizer would turn it into an exit
      ::raise(SIGSEGV);
    }
    if (how == "abort") std::abort();
    if (how == "exit") std::_Exit(3);
    if (how == "hang")
      while (true) std::this_thread::sleep_for(std::chrono::seconds(1));
    if (how == "allocate") allocate_without_end();
    if (how == "throw") throw UserError("a failure on request in epoch " + std::to_string(epoch_));
    if (how == "nan") loss = std::numeric_limits<double>::quiet_NaN();
  }

  Settings settings_;
  std::string objective_;
  Assignment assignment_;
  int epoch_;            // the last one done
  double target_ = 0.0;  // the loss after endless training
  double gap_ = 0.0;     // what training has not gained yet
  std::int64_t steps_ = 0;
  std::optional<std::chrono::steady_clock::time_point> started_;  // the epoch under way
};

class SyntheticPlanner final : public Planner {
 public:
  explicit SyntheticPlanner(const std::string& block) : block_(block) {}

  Estimate estimate(const ParamSet& params) const override {
    Estimate out;
    try {
      BlockReader reader(block_.resolve(params).json);
      const Settings settings = read_settings(reader);
      const auto problems = reader.finish();
      if (!problems.empty())
        out.infeasible = problems.front().pointer + ": " + problems.front().message;
      out.epochs = static_cast<int>(settings.epochs);
      out.parameters = settings.parameters;
      out.bytes = static_cast<std::uint64_t>(settings.memory_bytes);
    } catch (const ResolveError& error) {
      out.infeasible = error.what();
    }
    return out;
  }

 private:
  Template block_;
};

}  // namespace

std::unique_ptr<Trainer> make_synthetic(const TrainerSetup& setup) {
  Offer offer;
  offer.numeric_class = kNumericClass;
  auto block = std::make_shared<const Template>(setup.config);  // a std::function must be copyable
  const auto train = [block, objective = setup.objective](const Assignment& assignment) {
    BlockReader reader(block->resolve(assignment.params).json);
    Settings settings = read_settings(reader);
    const auto problems = reader.finish();
    if (!problems.empty())
      throw TrialFailure(Cause::trainer,
                         "trainer" + problems.front().pointer + ": " + problems.front().message);
    return std::make_unique<SyntheticTraining>(std::move(settings), objective, assignment);
  };
  if (setup.slots == 1) return one_slot(offer, setup.objective, train);
  std::vector<std::unique_ptr<Trainer>> slots;
  for (int i = 0; i < setup.slots; ++i) slots.push_back(one_slot(offer, setup.objective, train));
  return many_slots(std::move(slots));
}

int synthetic_slots(const TrainerSetup& setup) {
  const Json block = parse_json(setup.config);
  const auto slots = block.find("slots");
  if (slots == block.end()) return 1;
  if (!slots->is_number_integer())
    throw UserError("/trainer/slots: should be a number, the same for all trials (is " +
                    slots->dump() + ")");
  return static_cast<int>(std::clamp<std::int64_t>(slots->get<std::int64_t>(), 1, kSlotsMax));
}

std::unique_ptr<Planner> make_synthetic_planner(const TrainerSetup& setup) {
  return std::make_unique<SyntheticPlanner>(setup.config);
}

std::vector<Problem> check_synthetic(const std::string& resolved_json) {
  BlockReader reader(resolved_json);
  read_settings(reader);
  return reader.finish();
}

}  // namespace brood
