#!/bin/sh
# Runs the program given under mpirun with three ranks, on one host, as root or not.
# usage: mpi_test.sh PROGRAM [ARGUMENT...]
set -eu
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
exec mpirun -n 3 --oversubscribe --bind-to none --mca pml ob1 --mca mpi_yield_when_idle 1 "$@"
