#include "engine/cgroup.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace brood {

namespace {

namespace fs = std::filesystem;

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// nullopt for "max", for what is no number, and for version 1's way to say "no limit".
std::optional<std::uint64_t> bytes_in(const fs::path& path) {
  const std::string line = first_line(path);
  std::uint64_t bytes = 0;
  const auto read = std::from_chars(line.data(), line.data() + line.size(), bytes);
  constexpr std::uint64_t kNoLimit = std::uint64_t{1} << 60;
  if (read.ec != std::errc() || bytes == 0 || bytes >= kNoLimit) return std::nullopt;
  return bytes;
}

// What the limit leaves beside what the group uses. Pages of files that nobody has mapped go when
// they are in the way.
std::optional<std::uint64_t> rest_of(const fs::path& limit, const fs::path& usage,
                                     const fs::path& statistics) {
  const auto most = bytes_in(limit);
  std::uint64_t used = bytes_in(usage).value_or(0);
  if (!most) return std::nullopt;
  std::ifstream file(statistics);
  std::string name;
  for (std::uint64_t bytes = 0; file >> name >> bytes;)
    if (name == "inactive_file") used -= std::min(used, bytes);
  return *most - std::min(*most, used);
}

// quota / period, both in microseconds; a quota that is no positive number means none.
std::optional<double> quota(const std::string& text) {
  std::istringstream words(text);
  std::int64_t most = 0, period = 0;
  if (!(words >> most >> period) || most <= 0 || period <= 0) return std::nullopt;
  return static_cast<double>(most) / static_cast<double>(period);
}

template <typename T>
void lower(std::optional<T>& limit, const std::optional<T>& other) {
  if (other) limit = std::min(limit.value_or(*other), *other);
}

// Limits hold for everything below: each group up to the root counts. Inside a container the path
// may name groups that the mount does not show; its root is then the container's own group.
template <typename Visit>
void climb(const fs::path& mount, const std::string& path, Visit visit) {
  fs::path group = mount / fs::path(path).relative_path();
  std::error_code missing;
  if (!fs::is_directory(group, missing)) group = mount;
  while (true) {
    visit(group);
    if (group == mount || !group.has_relative_path()) break;
    group = group.parent_path();
  }
}

}  // namespace

CgroupLimits cgroup_limits(const std::string& membership, const std::string& mount) {
  CgroupLimits limits;
  std::istringstream lines(membership);
  for (std::string line; std::getline(lines, line);) {
    // "0::/path" in version 2, "4:cpu,cpuacct:/path" in version 1
    const auto first = line.find(':');
    const auto second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1);
    if (controllers == ",,")
      climb(mount, path, [&](const fs::path& group) {
        lower(limits.bytes, bytes_in(group / "memory.max"));
        lower(limits.free,
              rest_of(group / "memory.max", group / "memory.current", group / "memory.stat"));
        lower(limits.cores, quota(first_line(group / "cpu.max")));
      });
    if (controllers.find(",memory,") != std::string::npos)
      climb(fs::path(mount) / "memory", path, [&](const fs::path& group) {
        lower(limits.bytes, bytes_in(group / "memory.limit_in_bytes"));
        lower(limits.free, rest_of(group / "memory.limit_in_bytes", group / "memory.usage_in_bytes",
                                   group / "memory.stat"));
      });
    if (controllers.find(",cpu,") != std::string::npos)
      climb(fs::path(mount) / "cpu", path, [&](const fs::path& group) {
        lower(limits.cores, quota(first_line(group / "cpu.cfs_quota_us") + " " +
                                  first_line(group / "cpu.cfs_period_us")));
      });
  }
  return limits;
}

CgroupLimits cgroup_limits() {
  std::ifstream file("/proc/self/cgroup");
  std::stringstream text;
  text << file.rdbuf();
  return cgroup_limits(text.str(), "/sys/fs/cgroup");
}

}  // namespace brood
