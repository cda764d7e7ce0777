// What the control group of this process, set by a container or a batch system, lets it use.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace brood {

struct CgroupLimits {
  std::optional<std::uint64_t> bytes;  // the smallest memory limit on the way to the root
  std::optional<std::uint64_t> free;   // the smallest rest of such a limit; caches count as free
  std::optional<double> cores;         // the smallest CPU quota, in cores
};

// Of this process: versions 1 and 2, nothing where there are no control groups.
CgroupLimits cgroup_limits();

// The same for the text of a /proc/PID/cgroup and a mounted tree of another place.
CgroupLimits cgroup_limits(const std::string& membership, const std::string& mount);

}  // namespace brood
