// What this machine says of itself when it joins a run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/message.h"

namespace brood {

std::string host_name();

// Bytes that processes of this one's control group could still take: what the machine has
// available, or less where a container's limit is nearer. nullopt: the system does not say.
std::optional<std::uint64_t> free_memory();

// numeric_classes: what the trainers of this build can run here, best first. GPUs are looked for
// only when asked for: that takes a while.
NodeHello describe_node(std::vector<std::string> numeric_classes, bool with_devices = false);

}  // namespace brood
