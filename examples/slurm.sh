#!/bin/bash
# One sweep as a Slurm job that goes on by itself: sbatch --nodes=2 --ntasks=65 examples/slurm.sh
#
# One task is the controller, each other one an executor. Two minutes before the time limit Slurm
# sends SIGUSR1: running trials save, the job ends with status 75 and queues itself again. A job
# that is preempted or loses a node is queued again by Slurm. It starts with the same command: what
# the database knows is not trained again.
#SBATCH --job-name=brood
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
#SBATCH --time=12:00:00

config=${CONFIG:-sweep.json}
brood_mpirun=${BROOD_MPIRUN:-brood-mpirun}
brood=${BROOD:-brood}
starts_max=${STARTS_MAX:-100}

"$brood_mpirun" "$brood" run "$config" --progress lines &
job=$!
trap 'kill -USR1 "$job" 2>/dev/null' USR1
trap 'kill -TERM "$job" 2>/dev/null' TERM
# A signal ends a wait early.
while true; do
  wait "$job"
  status=$?
  kill -0 "$job" 2>/dev/null || break
done

if [[ $status == 75 && ${SLURM_RESTART_COUNT:-0} -lt $starts_max ]]; then
  echo "Not complete; queued again."
  scontrol requeue "$SLURM_JOB_ID" && sleep 60 # until Slurm ends this
fi
exit "$status"
