// The transport of a cluster: rank 0 holds the controller, every other rank is a node with its
// worker processes. Started by mpirun or srun; a build without Open MPI has these functions too.
//
// Point to point, non-blocking, one thread. Frames travel byte for byte in parts small enough that
// MPI never makes a sender wait for its receiver, so a rank that has died, of which MPI tells
// nobody, costs nothing but silence; rank 0 sees at once when one of its own host does. Nobody
// spins: waiting sleeps for up to a millisecond at a time, longer when nothing has happened for a
// second.
#pragma once

#include <memory>

#include "engine/cores.h"
#include "engine/local.h"
#include "engine/transport.h"

namespace brood {

// By the environment; makes no call of MPI. PMIX_RANK is set by mpirun and by srun --mpi=pmix.
bool launched_under_mpi();

// The first call of one of these joins the job, once and for all: from the main thread. At its exit
// the process leaves the job by itself. UserError when this build has no MPI.
int mpi_rank();
int mpi_size();
int mpi_local_size();  // ranks on this host, this one included

// Where a rank's trials run. The executor ranks of a host that the launcher has left the same cores
// divide them by their order there; joining the job keeps a rank on its part.
struct RankPlace {
  int local = 0;   // among the executor ranks of its host, from 0
  int locals = 0;  // how many those are; 0: rank 0, which trains nothing
  Cores cores;
  bool divided = false;  // no other executor rank of the host has any of these cores
};
// Of this rank; on rank 0 of any.
const RankPlace& mpi_place(int rank);

// For rank 0: nodes 1 .. size - 1 are the other ranks; rank 0 starts no workers. Alone in its job
// (mpirun -n 1) it is the local transport, for which the options are. One a process.
std::unique_ptr<Transport> make_mpi_transport(LocalOptions options);

// For the other ranks: serves rank 0 until it is done and returns the exit status, or ends the
// process when rank 0 was silent for the length of the lease.
int serve_rank(LocalOptions options);

}  // namespace brood
