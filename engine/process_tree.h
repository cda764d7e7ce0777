// What /proc knows of a process and those it started.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace brood {

// What a process and its descendants take. Nothing when it is gone.
struct TreeUse {
  // Resident, and theirs alone: pages of files, such as a data set that all workers map, are not
  // counted.
  std::uint64_t bytes = 0;
  int processes = 0;
};
TreeUse tree_use(pid_t pid);

// The processes that this one started and has not waited for, or was given when their parent ended.
std::vector<pid_t> children_of(pid_t pid);

// Kills all descendants of a process, but for those below its children in `except`, which stay.
// Those included that left its session, as long as it is the one that orphans are given to
// (PR_SET_CHILD_SUBREAPER). Another process than the caller's is stopped first and stays so, that
// it starts nothing meanwhile.
void kill_descendants(pid_t root, const std::vector<pid_t>& except = {});

// The processes of a session, zombies not counted. Walks all of /proc: for endings, not for every
// second.
std::vector<pid_t> session_members(pid_t session);

// Kills every process of the session, those included that are being started meanwhile. The session
// leader must not have been waited for yet, so that its number is still its own.
void kill_session(pid_t session);

// Processes that the kernel killed for want of memory, on this machine since it started.
std::uint64_t out_of_memory_kills();

}  // namespace brood
