#include "cli/train_display.h"

#include <unistd.h>

#include <iostream>

#include "cli/asked.h"
#include "engine/json.h"
#include "engine/json_library.h"

namespace brood {

TrainDisplay::TrainDisplay(std::ostream& out, Format format, bool quiet)
    : out_(out),
      format_(format),
      quiet_(quiet),
      live_(!quiet && format == Format::people && &out == &std::cout &&
            isatty(STDOUT_FILENO) != 0) {}

void TrainDisplay::clear() {
  if (percent_ >= 0) out_ << "\r\033[K";
  percent_ = -1;
}

void TrainDisplay::note(const std::string& sentence) {
  if (quiet_) return;
  clear();
  (format_ == Format::json ? std::cerr : out_) << printable(sentence, true) << std::endl;
}

void TrainDisplay::progress(int epoch, int last_epoch, double share) {
  const int percent = static_cast<int>(100.0 * share);
  if (!live_ || percent == percent_) return;
  percent_ = percent;
  out_ << "\r\033[Kepoch " << epoch << "/" << last_epoch << "  " << percent << " %" << std::flush;
}

void TrainDisplay::report(const Report& report, int last_epoch) {
  if (quiet_) return;
  clear();
  if (format_ == Format::json) {
    out_ << to_json(report).dump() << std::endl;
    return;
  }
  out_ << "epoch " << report.epoch << "/" << last_epoch;
  // Of many classes a line would have no end; --json has them.
  for (const Metric& metric : report.metrics)
    if (metric.name.find("_accuracy_class_") == std::string::npos)
      out_ << "  " << printable(metric.name) << " " << shown_number(metric.value);
  out_ << std::endl;
}

}  // namespace brood
