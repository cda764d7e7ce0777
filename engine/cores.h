// Which cores a process may use, and how the ranks of one host share them.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace brood {

// Numbers of cores, ascending.
using Cores = std::vector<int>;

// What taskset, a container, a batch system or mpirun's binding leave to this process. Empty: the
// system does not say.
Cores allowed_cores();

// Keeps this thread, and the processes that it starts from now on, on these. False: it cannot.
bool run_on(const Cores& cores);

// What is left to the mine-th of several processes, of which allowed holds what each may use: those
// that may use the same divide it into equal parts that follow one another. Where there are more of
// them than cores, nothing is divided.
Cores core_share(const std::vector<Cores>& allowed, std::size_t mine);

// For people: "0-3,8".
std::string to_text(const Cores& cores);

}  // namespace brood
