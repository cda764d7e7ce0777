// How rank 0 tells the script that started mpirun how it ended: mpirun that goes on without a lost
// rank says 0 whatever happened.
#pragma once

#include <string>

namespace brood {

// In rank 0 of a job whose environment has BROOD_STATUS_FILE (scripts/brood-mpirun sets it), that
// file says "running HOST PID" and later "ended STATUS"; elsewhere nothing is written.
class StatusFile {
 public:
  StatusFile();
  void ended(int status) const;

 private:
  void say(const std::string& text) const;
  std::string path_;  // empty: nobody wants to know
};

}  // namespace brood
