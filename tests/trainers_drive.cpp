#include "tests/trainers_drive.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <iostream>
#include <thread>

#include "engine/json.h"
#include "engine/json_library.h"

namespace brood {

namespace fs = std::filesystem;

std::vector<Event> drive(Trainer& trainer,
                         const std::function<bool(const std::vector<Event>&)>& enough) {
  std::vector<Event> events;
  const auto until = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!enough(events)) {
    if (std::chrono::steady_clock::now() > until) {
      ADD_FAILURE() << "the trainer does not go on";
      break;
    }
    for (Event& event : trainer.advance(Millis(10)))
      if (event.kind != Event::Kind::progress) events.push_back(std::move(event));
    if (enough(events)) break;
    pollfd on{trainer.wait_on(), POLLIN, 0};
    ::poll(&on, 1, trainer.wait_on() < 0 ? 0 : 100);
  }
  return events;
}

std::vector<Event> drive_to_end(Trainer& trainer) {
  return drive(trainer, [](const std::vector<Event>& events) {
    return !events.empty() &&
           (events.back().kind == Event::Kind::ended || events.back().kind == Event::Kind::failed);
  });
}

std::vector<std::string> story(const std::vector<Event>& events) {
  std::vector<std::string> out;
  for (const Event& event : events) {
    if (event.kind == Event::Kind::report)
      out.push_back("report " + std::to_string(event.report.epoch));
    if (event.kind == Event::Kind::saved) out.push_back("saved " + std::to_string(event.epoch));
    if (event.kind == Event::Kind::ended) out.push_back("ended " + std::to_string(event.epoch));
    if (event.kind == Event::Kind::failed)
      out.push_back("failed " + std::string(to_text(event.cause)));
  }
  return out;
}

std::vector<Metric> exact_metrics(const std::vector<Event>& events) {
  std::vector<Metric> out;
  for (const Event& event : events)
    for (const Metric& metric : event.report.metrics)
      if (metric.exact) out.push_back(metric);
  return out;
}

Assignment trial_of(TrialId id, int epochs, double x) {
  Assignment out;
  out.trial = id;
  out.params.set("x", x);
  out.last_epoch = epochs;
  out.seed = 17;
  return out;
}

TestFolder::TestFolder() {
  static int made = 0;
  root_ = fs::temp_directory_path() /
          ("brood_trainers_" + std::to_string(::getpid()) + "_" + std::to_string(++made));
  fs::remove_all(root_);
  fs::create_directories(root_);
}

TestFolder::~TestFolder() {
  std::error_code ignored;
  fs::remove_all(root_, ignored);
}

TrainerSetup program_setup(const std::string& behaviour, const std::string& more_keys) {
  TrainerSetup setup;
  setup.name = "command";
  const std::string self = fs::read_symlink("/proc/self/exe").string();
  setup.config = R"({"name": "command", "epochs": 3, )" + more_keys + R"("argv": [")" + self +
                 R"(", "program", ")" + behaviour + R"("]})";
  setup.objective = "loss";
  return setup;
}

namespace {

// --- the program's side ---

std::ofstream out() {
  return std::ofstream("/proc/self/fd/" + std::string(std::getenv("BROOD_FD")));
}

// A loss that depends on all that happened before, so that resuming wrongly shows.
struct Curve {
  double loss = 100.0;
  void train(const Json& trial, int epoch) {
    const auto seed = static_cast<double>(trial["seed"].get<std::uint64_t>() % 1000);
    loss = 0.7 * loss + trial["params"]["x"].get<double>() + 0.001 * seed / epoch;
  }
};

std::string checkpoint(const Json& trial, int epoch) {
  std::string path = trial["save_to"].get<std::string>();
  return path.replace(path.find("{epoch}"), 7, std::to_string(epoch));
}

// True when a line is there.
bool asked(Millis wait) {
  pollfd on{0, POLLIN, 0};
  return ::poll(&on, 1, static_cast<int>(wait.count())) > 0;
}

std::optional<Json> read_line() {
  std::string line;
  char c = 0;
  while (::read(0, &c, 1) == 1 && c != '\n') line += c;
  if (line.empty()) return std::nullopt;
  return parse_json(line);
}

void train(const Json& trial, std::ofstream& reports, bool persistent, Millis epoch_time) {
  Curve curve;
  if (!trial["resume_from"].is_null())
    std::ifstream(trial["resume_from"].get<std::string>()) >> curve.loss;
  for (int epoch = trial["first_epoch"]; epoch <= trial["last_epoch"]; ++epoch) {
    bool save = trial["save_every_epochs"] > 0, stop = false;
    if (asked(epoch_time)) {
      const auto request = read_line();
      stop = !request || request->contains("stop");
      save = true;
    }
    curve.train(trial, epoch);
    if (save && !trial["save_to"].is_null()) {
      std::ofstream file(checkpoint(trial, epoch));
      file.precision(17);
      file << curve.loss;
    }
    Json line = {{"epoch", epoch}, {"metrics", {{"loss", curve.loss}}}};
    line["measured"] = {{"seconds", 0.1 * ::getpid()}};
    if (persistent) {
      line["trial"] = trial["trial"];
      line["attempt"] = trial["attempt"];
    }
    reports << line << std::endl;
    if (!stop) continue;
    if (persistent)
      reports << Json{{"trial", trial["trial"]}, {"attempt", trial["attempt"]}, {"ended", true}}
              << std::endl;
    return;
  }
}

void misbehave(const std::string& how, std::ofstream& reports) {
  const auto report = [&](int epoch, const std::string& value) {
    reports << R"({"epoch": )" << epoch << R"(, "metrics": {"loss": )" << value << "}}"
            << std::endl;
  };
  if (how == "silent") return;
  report(1, "0.5");
  std::cout << "the last words" << std::endl;
  if (how == "status") std::_Exit(3);
  if (how == "signal") ::signal(SIGSEGV, SIG_DFL);
  if (how == "signal") ::raise(SIGSEGV);
  if (how == "broken") reports << "epoch 2: loss 0.4" << std::endl;
  if (how == "unknown key") reports << R"({"epoch": 2, "metric": {"loss": 1}})" << std::endl;
  if (how == "gap") report(3, "0.3");
  if (how == "no objective") reports << R"({"epoch": 2, "metrics": {"los": 1}})" << std::endl;
  if (how == "nan") report(2, "NaN");
  if (how == "nan as text") report(2, "\"NaN\"");
  if (how == "infinite") report(2, "-Infinity");
  if (how == "early") return;
  if (how == "after the end")
    for (int epoch = 2; epoch <= 4; ++epoch) report(epoch, "0.5");
  if (how == "long line") reports << std::string(2 << 20, ' ') << std::endl;
  if (how == "torn line") reports << R"({"epoch": 2, "metr)" << std::flush;
  if (how == "wrong trial")
    reports << R"({"epoch": 2, "trial": 99, "metrics": {"loss": 1}})" << std::endl;
  if (how == "late status") {
    report(2, "0.5");
    report(3, "0.5");
    std::_Exit(9);
  }
  if (how == "leaves a child") {
    report(2, "0.5");
    report(3, "0.5");
    if (::fork() == 0) {
      ::setsid();  // out of reach, and it holds the descriptor open
      std::this_thread::sleep_for(std::chrono::seconds(2));
    }
    std::_Exit(0);
  }
  if (how == "deaf") std::this_thread::sleep_for(std::chrono::minutes(2));
}

}  // namespace

std::optional<int> program_of_test(int argc, char** argv) {
  if (argc < 3 || std::string(argv[1]) != "program") return std::nullopt;
  const std::string how = argv[2];
  std::ofstream reports = out();
  if (how == "persistent") {
    std::cout << "started" << std::endl;
    while (const auto line = read_line()) {
      if (!line->contains("params")) continue;
      std::cout << "trial " << (*line)["trial"] << std::endl;
      train(*line, reports, true, Millis(5));
    }
    return 0;
  }
  const auto trial = read_line();
  if (how == "honest") {
    std::cout << "x=" << (argc > 3 ? argv[3] : "") << " folder " << fs::current_path().string()
              << " variable " << (std::getenv("MADE") != nullptr ? std::getenv("MADE") : "")
              << std::endl;
    train(*trial, reports, false, Millis(5));
  } else {
    misbehave(how, reports);
  }
  return 0;
}

}  // namespace brood
