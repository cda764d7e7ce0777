// What this machine says of itself when it joins a run.
#pragma once

#include <string>
#include <vector>

#include "engine/message.h"

namespace brood {

std::string host_name();

// numeric_classes: what the trainers of this build can run here, best first.
NodeHello describe_node(std::vector<std::string> numeric_classes);

}  // namespace brood
