// The log of a run: every note and every ended trial with its time, in a file beside the database,
// while another observer shows the run to people.
#pragma once

#include <memory>
#include <string>

#include "engine/progress.h"

namespace brood {

class RunLog final : public Observer {
 public:
  // Hears everything after this one has written it; outlives it.
  explicit RunLog(Observer& shown);
  ~RunLog() override;

  // Appends to the file from now on. Throws UserError when it cannot be opened.
  void open(const std::string& file);

  void progress(const Progress& progress) override;
  void trial_ended(const Trial& trial) override;
  void note(const std::string& sentence) override;

 private:
  struct File;
  std::unique_ptr<File> file_;
  Observer& shown_;
  std::string trouble_;
};

}  // namespace brood
