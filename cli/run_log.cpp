#include "cli/run_log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include "engine/error.h"

namespace brood {

struct RunLog::File {
  explicit File(const std::string& path)
      : log("run", std::make_shared<spdlog::sinks::basic_file_sink_st>(path)) {
    log.set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
    log.flush_on(spdlog::level::warn);
    // A full disk must not end a run over its log.
    log.set_error_handler([](const std::string&) {});
  }
  spdlog::logger log;
};

RunLog::RunLog(Observer& shown) : shown_(shown) {}
RunLog::~RunLog() = default;

void RunLog::open(const std::string& file) {
  try {
    file_ = std::make_unique<File>(file);
  } catch (const spdlog::spdlog_ex& error) {
    throw UserError(file + ": cannot be opened (" + error.what() + "): the run's log goes there");
  }
}

void RunLog::progress(const Progress& progress) {
  if (file_ && progress.trouble != trouble_) {
    trouble_ = progress.trouble;
    if (trouble_.empty())
      file_->log.info("the trouble is over");
    else
      file_->log.warn("waiting: {}", trouble_);
  }
  shown_.progress(progress);
}

void RunLog::trial_ended(const Trial& trial) {
  if (file_)
    file_->log.info("trial {} {} objective {} {}{}{}", trial.id, to_text(trial.state),
                    trial.objective ? to_text(Value{*trial.objective}) : "-", to_text(trial.params),
                    trial.why.empty() ? "" : "; ", trial.why);
  shown_.trial_ended(trial);
}

void RunLog::note(const std::string& sentence) {
  if (file_) file_->log.warn("{}", sentence);
  shown_.note(sentence);
}

}  // namespace brood
