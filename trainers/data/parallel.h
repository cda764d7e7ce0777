// One piece of work many times, on all cores.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace brood::data {

// Calls work(0) .. work(count - 1), each once, on the cores that this process may use, and returns
// when all are done. The result has the texts of the UserErrors that were thrown, in the order of
// the calls' numbers.
std::vector<std::string> on_all_cores(std::int64_t count,
                                      const std::function<void(std::int64_t)>& work);

}  // namespace brood::data
