#!/usr/bin/env python3
"""What a trial costs when it costs nothing: brood, Optuna, Propulate and Ray Tune on one empty objective.

Four floats in [0, 1], the objective is their first, random search (Propulate: its genetic default), one
worker. Each system runs in a process of its own, in turn, `--rounds` times; the medians of wall and CPU
time per trial are printed, start-up left out where the system lets it be told apart. brood and Optuna's
SQLite and journal storages keep every trial on disk; Optuna's memory and Propulate do not. brood mpi:
mpirun with a controller and two ranks.

    python3 bench/peers/overhead.py --brood build/release/brood [--trials 1000] [--rounds 3]

Needs optuna, propulate and ray[tune] from PyPI; one that is missing is left out and named.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

NAMES = ["a", "b", "c", "d"]


def cpu():
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def measured(work):
    wall, used = time.perf_counter(), cpu()
    work()
    return {"wall": time.perf_counter() - wall, "cpu": cpu() - used}


def brood(program, trials, workers, ranks=0):
    config = {
        "version": 1,
        "experiment": {"name": "overhead"},
        "objective": {"metric": "value", "goal": "minimize"},
        "search_space": {name: {"type": "float", "min": 0.0, "max": 1.0} for name in NAMES},
        "search": {"algorithm": "random"},
        "budget": {"max_trials": trials},
        "trainer": {"name": "synthetic", "epochs": 1},
        "output": {"database": "overhead.db"},
    }
    with open("overhead.json", "w") as file:
        json.dump(config, file)
    command = [program, "run", "overhead.json", "-q", "-j", str(workers)]
    if ranks:  # a controller and so many ranks of one executor each
        os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        command = ["mpirun", "--oversubscribe", "--enable-recovery", "-n", str(ranks + 1)] + command
    one = command + ["--set", "budget.max_trials=1"]
    start = measured(lambda: subprocess.run(one, check=True))
    for name in os.listdir("."):
        if name.startswith("overhead.db"):
            subprocess.run(["rm", "-rf", name], check=True)
    whole = measured(lambda: subprocess.run(command, check=True))
    return {key: whole[key] - start[key] for key in whole}


def optuna_storage(kind, trials):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if kind == "memory":
        storage = optuna.storages.InMemoryStorage()
    elif kind == "sqlite":
        storage = optuna.storages.RDBStorage("sqlite:///optuna.db")
    else:
        backend = optuna.storages.journal.JournalFileBackend("optuna.log")
        storage = optuna.storages.JournalStorage(backend)
    study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))
    return measured(
        lambda: study.optimize(
            lambda trial: [trial.suggest_float(name, 0, 1) for name in NAMES][0], n_trials=trials
        )
    )


def propulate(trials):
    import logging
    import random
    from pathlib import Path

    from mpi4py import MPI
    from propulate import Propulator
    from propulate.utils import get_default_propagator

    logging.disable(logging.CRITICAL)
    rng = random.Random(0)
    limits = {name: (0.0, 1.0) for name in NAMES}
    propagator = get_default_propagator(pop_size=20, limits=limits, rng=rng)
    search = Propulator(
        loss_fn=lambda params: params["a"],
        propagator=propagator,
        rng=rng,
        island_comm=MPI.COMM_WORLD,
        generations=trials,
        checkpoint_path=Path("propulate"),
    )
    return measured(lambda: search.propulate(logging_interval=10**9, debug=0))


def ray_tune(trials):
    import logging

    import ray
    from ray import tune

    ray.init(num_cpus=1, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    space = {name: tune.uniform(0, 1) for name in NAMES}
    tuner = tune.Tuner(
        lambda config: {"value": config["a"]},
        param_space=space,
        tune_config=tune.TuneConfig(num_samples=trials, metric="value", mode="min"),
        run_config=tune.RunConfig(storage_path=os.getcwd(), verbose=0),
    )
    return measured(tuner.fit)


def one(name, program, trials):
    """Runs one system in this process and prints its figures."""
    if name == "brood mpi":
        out = brood(program, trials, 1, ranks=2)
    elif name.startswith("brood"):
        out = brood(program, trials, int(name.split("-j")[1]))
    elif name.startswith("optuna"):
        out = optuna_storage(name.split()[1], trials)
    elif name == "propulate":
        out = propulate(trials)
    else:
        out = ray_tune(trials)
    print(json.dumps(out))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--brood", default="build/release/brood")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--ray-trials", type=int, default=30, help="Ray starts a process a trial")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.brood = os.path.abspath(args.brood)
    if args.one:
        return one(args.one, args.brood, args.trials)

    systems = ["brood -j1", "brood -j2", "brood mpi", "optuna memory", "optuna journal", "optuna sqlite",
               "propulate", "ray tune"]
    times = {name: [] for name in systems}
    for _ in range(args.rounds):
        for name in systems:
            trials = args.ray_trials if name == "ray tune" else args.trials
            command = [sys.executable, os.path.abspath(__file__), "--one", name, "--brood", args.brood,
                       "--trials", str(trials)]
            with tempfile.TemporaryDirectory() as folder:
                run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            if run.returncode != 0:
                print(f"{name}: left out: {run.stderr.strip().splitlines()[-1]}", file=sys.stderr)
                continue
            figures = json.loads(run.stdout.strip().splitlines()[-1])
            times[name].append((figures["wall"] / trials, figures["cpu"] / trials))
    base = statistics.median(t[0] for t in times["brood -j1"]) if times["brood -j1"] else None
    print(f"{'system':16} {'ms a trial':>12} {'CPU ms':>10} {'of brood':>10}")
    for name, pairs in times.items():
        if not pairs:
            continue
        wall = statistics.median(p[0] for p in pairs) * 1000
        used = statistics.median(p[1] for p in pairs) * 1000
        print(f"{name:16} {wall:12.3f} {used:10.3f} {wall / (base * 1000):9.1f}x")


if __name__ == "__main__":
    main()
