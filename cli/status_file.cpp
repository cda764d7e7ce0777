#include "cli/status_file.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include "engine/node.h"

namespace brood {

StatusFile::StatusFile() {
  const char* path = std::getenv("BROOD_STATUS_FILE");
  const char* rank = std::getenv("PMIX_RANK");
  if (path == nullptr || rank == nullptr || std::string_view(rank) != "0") return;
  path_ = path;
  say("running " + host_name() + " " + std::to_string(::getpid()));
}

void StatusFile::ended(int status) const {
  if (!path_.empty()) say("ended " + std::to_string(status));
}

// Whole or not at all. Who cannot write says so: else the script would wait for words.
void StatusFile::say(const std::string& text) const {
  const std::string part = path_ + ".part";
  std::ofstream(part) << text << "\n";
  if (std::rename(part.c_str(), path_.c_str()) != 0)
    std::fprintf(stderr, "brood: cannot write BROOD_STATUS_FILE=%s\n", path_.c_str());
}

}  // namespace brood
