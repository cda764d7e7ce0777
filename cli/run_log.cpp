#include "cli/run_log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include "engine/error.h"

namespace brood {

namespace {

class RunLog final : public Observer {
 public:
  RunLog(std::shared_ptr<spdlog::logger> log, Observer& shown)
      : log_(std::move(log)), shown_(shown) {}

  void progress(const Progress& progress) override {
    if (progress.trouble != trouble_) {
      trouble_ = progress.trouble;
      if (trouble_.empty())
        log_->info("the trouble is over");
      else
        log_->warn("waiting: {}", trouble_);
    }
    shown_.progress(progress);
  }

  void trial_ended(const Trial& trial) override {
    log_->info("trial {} {} objective {} {}{}{}", trial.id, to_text(trial.state),
               trial.objective ? to_text(Value{*trial.objective}) : "-", to_text(trial.params),
               trial.why.empty() ? "" : "; ", trial.why);
    shown_.trial_ended(trial);
  }

  void note(const std::string& sentence) override {
    log_->warn("{}", sentence);
    shown_.note(sentence);
  }

 private:
  std::shared_ptr<spdlog::logger> log_;
  Observer& shown_;
  std::string trouble_;
};

}  // namespace

std::unique_ptr<Observer> make_run_log(const std::string& file, Observer& shown) {
  try {
    auto log = std::make_shared<spdlog::logger>(
        "run", std::make_shared<spdlog::sinks::basic_file_sink_st>(file));
    log->set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
    log->flush_on(spdlog::level::warn);
    // A full disk must not end a run over its log.
    log->set_error_handler([](const std::string&) {});
    return std::make_unique<RunLog>(std::move(log), shown);
  } catch (const spdlog::spdlog_ex& error) {
    throw UserError(file + ": cannot be opened (" + error.what() + "): the run's log goes there");
  }
}

}  // namespace brood
