#include "cli/progress_display.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/asked.h"
#include "cli/table.h"

namespace brood {

namespace {

constexpr std::size_t kRunningShown = 8;
constexpr Millis kSummaryEvery{30000};

std::string span(Millis time) {
  const auto s = time.count() / 1000;
  if (s < 60) return std::to_string(s) + " s";
  if (s < 3600) return std::to_string(s / 60) + " min " + std::to_string(s % 60) + " s";
  return std::to_string(s / 3600) + " h " + std::to_string(s % 3600 / 60) + " min";
}

std::string trial_line(const ExperimentSpec& spec, const Trial& trial) {
  std::string line = "trial " + std::to_string(trial.id) + " " + std::string(to_text(trial.state));
  if (trial.objective) line += "  " + spec.objective.metric + " " + shown_number(*trial.objective);
  line += " ";
  for (const auto& [name, value] : trial.params.entries()) {
    const auto* real = std::get_if<double>(&value);
    line += " " + name + "=" + (real != nullptr ? shown_number(*real) : to_text(value));
  }
  if (!trial.why.empty()) line += "  (" + short_reason(trial.why) + ")";
  return printable(line);
}

std::int64_t settled(const Progress& p) {
  return p.completed + p.stopped + p.failed + p.infeasible + p.duplicates + p.cancelled + p.known;
}

// "3 of 6 trials, 2 running, ..." without the bar and the best.
std::string counts(const Progress& p) {
  std::string text = std::to_string(settled(p));
  if (p.expected) text += " of " + std::to_string(*p.expected);
  text += " trials done";
  const auto part = [&](std::int64_t n, const char* what) {
    if (n > 0) text += ", " + std::to_string(n) + " " + what;
  };
  part(p.running_count, "running");
  part(p.stopped, "stopped early");
  part(p.failed, "failed");
  part(p.infeasible, "infeasible");
  part(p.cancelled, "cancelled");
  part(p.known, "known before");
  part(p.duplicates, "served from the record");
  part(p.retried, "attempts repeated");
  return text;
}

std::string machine(const Progress& p) {
  std::string text = std::to_string(p.busy) + " of " + std::to_string(p.executors) +
                     " executors busy (" + std::to_string(static_cast<int>(p.busy_share * 100)) +
                     " % so far), " + span(p.elapsed);
  if (p.remaining) text += ", about " + span(*p.remaining) + " left";
  return text;
}

class Lines final : public Observer {
 public:
  Lines(const ExperimentSpec& spec, std::FILE* out) : spec_(spec), out_(out) {}

  void progress(const Progress& p) override {
    if (p.trouble != trouble_) {
      trouble_ = p.trouble;
      if (!trouble_.empty()) line("waiting: " + trouble_);
    }
    if (p.elapsed - shown_ < kSummaryEvery) return;
    shown_ = p.elapsed;
    std::string text = counts(p) + "; " + machine(p);
    if (p.best_objective)
      text +=
          "; best " + shown_number(*p.best_objective) + " (trial " + std::to_string(*p.best) + ")";
    line(text);
  }
  void trial_ended(const Trial& trial) override { line(trial_line(spec_, trial)); }
  void note(const std::string& sentence) override { line(short_reason(sentence)); }

 private:
  void line(const std::string& text) {
    std::fprintf(out_, "%s\n", text.c_str());
    std::fflush(out_);
  }
  const ExperimentSpec& spec_;
  std::FILE* out_;
  std::string trouble_;
  Millis shown_{0};
};

// A block at the bottom that is drawn over itself; ended trials scroll away above it.
class Live final : public Observer {
 public:
  Live(const ExperimentSpec& spec, std::FILE* out) : spec_(spec), out_(out) {}
  ~Live() override { std::fflush(out_); }

  void progress(const Progress& p) override {
    block_.clear();
    // The bar takes what the counts leave of the line.
    const std::string text = counts(p);
    const int room =
        std::min<int>(40, static_cast<int>(width()) - static_cast<int>(text.size()) - 4);
    if (p.expected && *p.expected > 0 && room >= 10) {
      const auto full = static_cast<int>(room * std::min(settled(p), *p.expected) / *p.expected);
      block_.push_back("[" + std::string(static_cast<std::size_t>(full), '#') +
                       std::string(static_cast<std::size_t>(room - full), '.') + "] " + text);
    } else {
      block_.push_back(text);
    }
    block_.push_back(machine(p));
    if (p.best_objective)
      block_.push_back("best " + spec_.objective.metric + " " + shown_number(*p.best_objective) +
                       " (trial " + std::to_string(*p.best) + ")");
    if (!p.trouble.empty()) block_.push_back("waiting: " + p.trouble);
    for (const RunningTrial& r : p.running) {
      if (&r - p.running.data() == static_cast<std::ptrdiff_t>(kRunningShown)) {
        block_.push_back("  and " + std::to_string(p.running_count - std::int64_t{kRunningShown}) +
                         " more");
        break;
      }
      block_.push_back("  trial " + std::to_string(r.trial) + "  epoch " + std::to_string(r.epoch) +
                       " of " + std::to_string(r.last_epoch) + "  on " + r.executor +
                       (r.attempt > 1 ? ", attempt " + std::to_string(r.attempt) : ""));
    }
    draw({});
  }
  void trial_ended(const Trial& trial) override { draw(trial_line(spec_, trial)); }
  void note(const std::string& sentence) override { draw(short_reason(sentence)); }

 private:
  std::size_t width() const {
    winsize size{};
    const bool known = ioctl(fileno(out_), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : 80;
  }

  // Erases the block, lets one line scroll away if there is one, and draws the block again.
  void draw(const std::string& above) {
    std::string text;
    if (drawn_ > 0) text += "\x1b[" + std::to_string(drawn_) + "A";
    text += "\r\x1b[J";
    if (!above.empty()) text += above + "\n";
    const std::size_t columns = width();
    for (const std::string& line : block_) text += line.substr(0, columns - 1) + "\n";
    drawn_ = block_.size();
    std::fputs(text.c_str(), out_);
    std::fflush(out_);
  }

  const ExperimentSpec& spec_;
  std::FILE* out_;
  std::vector<std::string> block_;
  std::size_t drawn_ = 0;
};

}  // namespace

std::unique_ptr<Observer> make_display(const ExperimentSpec& spec, Display display,
                                       std::FILE* out) {
  if (display == Display::automatic)
    display = isatty(fileno(out)) != 0 ? Display::live : Display::lines;
  if (display == Display::live) return std::make_unique<Live>(spec, out);
  if (display == Display::lines) return std::make_unique<Lines>(spec, out);
  return std::make_unique<Observer>();
}

}  // namespace brood
