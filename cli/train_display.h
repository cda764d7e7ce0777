// What `brood train` shows: a line for each epoch, on a terminal also how far the present one is.
#pragma once

#include <ostream>
#include <string>

#include "cli/table.h"
#include "engine/trial.h"

namespace brood {

class TrainDisplay {
 public:
  // json: reports as JSON, one a line, and everything else on standard error. quiet: the reports
  // and notes are left out.
  TrainDisplay(std::ostream& out, Format format, bool quiet);

  void note(const std::string& sentence);
  void progress(int epoch, int last_epoch, double share);  // share of the epoch that is done
  void report(const Report& report, int last_epoch);

 private:
  void clear();

  std::ostream& out_;
  const Format format_;
  const bool quiet_, live_;
  int percent_ = -1;  // as shown; -1: nothing is
};

}  // namespace brood
