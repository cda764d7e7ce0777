#!/bin/sh
# Runs a program under mpirun with three ranks, or $RANKS, on this host, as root or not.
# usage: mpi_test.sh PROGRAM [ARGUMENT...]
set -eu
ulimit -c 0  # ranks crash on purpose
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
exec mpirun -n "${RANKS:-3}" --oversubscribe --bind-to none --enable-recovery --mca pml ob1 \
  --mca mpi_yield_when_idle 1 "$@"
