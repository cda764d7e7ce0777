#include "engine/node.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <utility>

#include "engine/cgroup.h"

namespace brood {

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  return name.data();
}

std::optional<std::uint64_t> free_memory() {
  std::ifstream file("/proc/meminfo");
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with("MemAvailable:")) continue;
    const std::uint64_t available = std::strtoull(line.c_str() + 13, nullptr, 10) * 1024;
    return std::min(available, cgroup_limits().free.value_or(available));
  }
  return std::nullopt;
}

NodeHello describe_node(std::vector<std::string> numeric_classes, bool with_devices) {
  NodeHello hello;
  hello.host = host_name();
  hello.build = build_id();
  hello.pid = ::getpid();
  cpu_set_t allowed;  // what taskset, a container or a batch system left to us
  CPU_ZERO(&allowed);
  hello.cores = ::sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
  hello.bytes = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const CgroupLimits limits = cgroup_limits();
  if (limits.bytes) hello.bytes = std::min(hello.bytes, *limits.bytes);
  if (limits.cores)
    hello.cores = std::clamp(static_cast<int>(std::ceil(*limits.cores)), 1, hello.cores);
  hello.numeric_classes = std::move(numeric_classes);
  if (with_devices) hello.devices = find_devices().found;
  return hello;
}

}  // namespace brood
