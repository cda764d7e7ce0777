#include "engine/cores.h"

#include <sched.h>

#include <algorithm>

namespace brood {

Cores allowed_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  Cores out;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return out;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &set)) out.push_back(core);
  return out;
}

bool run_on(const Cores& cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(core, &set);
  return !cores.empty() && ::sched_setaffinity(0, sizeof set, &set) == 0;
}

Cores core_share(const std::vector<Cores>& allowed, std::size_t mine) {
  const Cores& all = allowed.at(mine);
  const auto end = allowed.begin() + static_cast<std::ptrdiff_t>(mine);
  const auto parts = static_cast<std::size_t>(std::count(allowed.begin(), allowed.end(), all));
  const auto part = static_cast<std::size_t>(std::count(allowed.begin(), end, all));
  if (parts > all.size()) return all;
  const auto cut = [&](std::size_t k) {
    return all.begin() + static_cast<std::ptrdiff_t>(k * all.size() / parts);
  };
  return {cut(part), cut(part + 1)};
}

std::string to_text(const Cores& cores) {
  std::string out;
  for (std::size_t i = 0; i < cores.size();) {
    std::size_t last = i;
    while (last + 1 < cores.size() && cores[last + 1] == cores[last] + 1) ++last;
    if (!out.empty()) out += ',';
    out += std::to_string(cores[i]);
    if (last > i) out += '-' + std::to_string(cores[last]);
    i = last + 1;
  }
  return out;
}

}  // namespace brood
