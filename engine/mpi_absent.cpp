#include <cstdlib>

#include "engine/error.h"
#include "engine/mpi.h"

namespace brood {

namespace {

// Not silence: under mpirun each copy would run the whole sweep for itself.
[[noreturn]] void refuse() {
  throw UserError(
      "this build of brood has no MPI: build it where Open MPI is installed (Debian: "
      "libopenmpi-dev), or run it without mpirun");
}

}  // namespace

bool launched_under_mpi() { return std::getenv("PMIX_RANK") != nullptr; }
int mpi_rank() { refuse(); }
int mpi_size() { refuse(); }
int mpi_local_size() { refuse(); }
const RankPlace& mpi_place(int) { refuse(); }
std::unique_ptr<Transport> make_mpi_transport(LocalOptions) { refuse(); }
int serve_rank(LocalOptions) { refuse(); }

}  // namespace brood
