// Which data the trials of an experiment learn from, told by content.
#pragma once

#include <string>

namespace brood {

struct DataIdentity {
  // Of the files' bytes and the settings, wherever the files lie; empty: made up, the business of a
  // user's program, or another data set at each point.
  std::string key;
  std::string name;  // for people: the format and the folder
};

}  // namespace brood
