#include "trainers/data/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <thread>

#include "engine/error.h"

namespace brood::data {

namespace {

constexpr std::int64_t kThreadsMax = 16;  // beyond, disks and memory are the limit

std::int64_t cores() {
  cpu_set_t allowed;
  return ::sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
}

}  // namespace

std::vector<std::string> on_all_cores(std::int64_t count,
                                      const std::function<void(std::int64_t)>& work) {
  std::vector<std::string> failures(static_cast<std::size_t>(count));
  std::atomic<std::int64_t> next{0};
  const auto run = [&] {
    for (std::int64_t i = next++; i < count; i = next++) {
      std::string& failure = failures[static_cast<std::size_t>(i)];
      try {
        work(i);
      } catch (const UserError& error) {
        failure = error.what();
      } catch (const std::bad_alloc&) {
        failure = "there is not enough memory";
      }
    }
  };
  std::vector<std::thread> threads;
  const std::int64_t helpers = std::min({cores(), kThreadsMax, count}) - 1;
  for (std::int64_t i = 0; i < helpers; ++i) threads.emplace_back(run);
  run();
  for (std::thread& thread : threads) thread.join();
  std::erase(failures, "");
  return failures;
}

}  // namespace brood::data
