#include "engine/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "engine/descriptor.h"

namespace brood {

namespace {

// Empty when there is no such file (the process has gone).
std::string read_small(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> chunk;
  std::string text;
  while (file) {
    const ssize_t count = ::read(file.get(), chunk.data(), chunk.size());
    if (count <= 0) break;
    text.append(chunk.data(), static_cast<std::size_t>(count));
  }
  return text;
}

// The whole numbers of a text, in order; anything else between them is skipped.
std::vector<std::int64_t> numbers(std::string_view text) {
  std::vector<std::int64_t> out;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    std::int64_t value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error == std::errc()) out.push_back(value);
    at = next > at ? next : at + 1;
  }
  return out;
}

// The entries of a folder of /proc whose names are numbers.
std::vector<pid_t> numbered_entries(const std::string& folder) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(folder.c_str()), ::closedir);
  std::vector<pid_t> out;
  while (dir) {
    const dirent* const entry = ::readdir(dir.get());
    if (entry == nullptr) break;
    pid_t number = 0;
    const char* const end = entry->d_name + std::strlen(entry->d_name);
    if (std::from_chars(entry->d_name, end, number).ptr == end) out.push_back(number);
  }
  return out;
}

constexpr int kDepthMax = 32;
constexpr int kDyingMs = 200;

void add_tree(pid_t pid, int depth, TreeUse& use) {
  static const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::string folder = "/proc/" + std::to_string(pid);
  const auto sizes = numbers(read_small(folder + "/statm"));  // total, resident, of files, ...
  if (sizes.size() < 3 || sizes[0] == 0) return;              // gone, or only not waited for yet
  use.bytes += static_cast<std::uint64_t>(sizes[1] - std::min(sizes[1], sizes[2])) * page;
  ++use.processes;
  if (depth > kDepthMax) return;
  for (const pid_t child : children_of(pid)) add_tree(child, depth + 1, use);
}

// Who is stopped starts no more children, and stays their parent while they are looked for: those
// of a killed process would be given to another before they were seen.
void kill_tree(pid_t pid, int depth, std::set<pid_t>& killed, bool& news) {
  news = killed.insert(pid).second || news;
  ::kill(pid, SIGSTOP);
  if (depth < kDepthMax)
    for (const pid_t child : children_of(pid)) kill_tree(child, depth + 1, killed, news);
  ::kill(pid, SIGKILL);
}

}  // namespace

TreeUse tree_use(pid_t pid) {
  TreeUse use;
  add_tree(pid, 0, use);
  return use;
}

std::vector<pid_t> children_of(pid_t pid) {
  const std::string folder = "/proc/" + std::to_string(pid) + "/task";
  std::vector<pid_t> out;
  for (const pid_t thread : numbered_entries(folder))
    for (const std::int64_t child :
         numbers(read_small(folder + "/" + std::to_string(thread) + "/children")))
      out.push_back(static_cast<pid_t>(child));
  return out;
}

void kill_descendants(pid_t root, const std::vector<pid_t>& except) {
  if (root != ::getpid()) {
    ::kill(root, SIGSTOP);
    // Whoever is in a group with it, all at once: who forks and ends all the time is never seen
    // twice under one number.
    if (::getpgid(root) == root) ::kill(-root, SIGSTOP);
  }
  // An orphan may be given to the root between two looks: done when a look shows nobody new.
  std::set<pid_t> killed;
  for (bool news = true; news;) {
    news = false;
    for (const pid_t child : children_of(root)) {
      if (std::find(except.begin(), except.end(), child) != except.end()) continue;
      kill_tree(child, 0, killed, news);
    }
  }
  if (root != ::getpid()) return;
  // Orphans that were given to us are ours to wait for; who dies slowly (of much memory, or in a
  // system call) is waited for at the next time.
  for (int tries = 0; tries < kDyingMs && !killed.empty(); ++tries) {
    if (tries > 0) ::usleep(1000);
    std::erase_if(killed, [](pid_t pid) { return ::waitpid(pid, nullptr, WNOHANG) != 0; });
  }
}

std::vector<pid_t> session_members(pid_t session) {
  std::vector<pid_t> out;
  for (const pid_t pid : numbered_entries("/proc")) {
    // `pid (name) state parent group session ...`; the name may hold anything, brackets too.
    const std::string stat = read_small("/proc/" + std::to_string(pid) + "/stat");
    const auto name_end = stat.rfind(')');
    if (name_end == std::string::npos || name_end + 2 >= stat.size()) continue;
    const char state = stat[name_end + 2];
    const auto fields = numbers(std::string_view(stat).substr(name_end + 3));
    if (fields.size() > 2 && fields[2] == session && state != 'Z' && state != 'X')
      out.push_back(pid);
  }
  return out;
}

void kill_session(pid_t session) {
  ::kill(-session, SIGKILL);  // at once for the leader's own group: the usual, and only, case
  // A process may fork between the look and the signal, but not after it: another look finds the
  // child. Done when a look shows nobody new.
  std::set<pid_t> killed;
  for (bool news = true; news;) {
    news = false;
    for (const pid_t pid : session_members(session)) {
      news = killed.insert(pid).second || news;
      ::kill(pid, SIGKILL);
    }
  }
}

std::uint64_t out_of_memory_kills() {
  const std::string text = read_small("/proc/vmstat");
  const auto at = text.find("\noom_kill ");
  if (at == std::string::npos) return 0;
  const auto found = numbers(std::string_view(text).substr(at, 40));
  return found.empty() ? 0 : static_cast<std::uint64_t>(found.front());
}

}  // namespace brood
