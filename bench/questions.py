#!/usr/bin/env python3
"""How long brood's questions take, as whole commands: start-up, and answers from a large database.

    build/release/bench/make_database large.db          # 100,000 trials of 100 epochs, 720 MiB
    python3 bench/questions.py --brood build/release/brood --database large.db [--rounds 11]

The least wall time, which other work on the machine disturbs least, and the median of CPU time. Cold: the database's pages are dropped from the system's cache before
each command (posix_fadvise), so they come from the disk again. Without --database: start-up only.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import tempfile
import time

ALL = ["run", "resume", "plan", "doctor", "data", "train", "export", "predict", "status", "best", "query",
       "show", "logs", "why", "importance", "replay", "compare", "pause", "continue", "stop", "cancel",
       "add", "set"]


def once(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if ended.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)}: ended with {ended.returncode}")
    return wall * 1e3, cpu * 1e3


def forget(path):
    for name in (path, path + "-wal"):
        if os.path.exists(name):
            with open(name, "rb") as file:
                os.fdatasync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(command, rounds, cold=None):
    times = []
    for _ in range(rounds):
        if cold:
            forget(cold)
        times.append(once(command))
    return [min(t[0] for t in times), statistics.median(t[1] for t in times)]


def small_experiment(program, folder):
    """A finished run of eight trials, for the commands that need one."""
    config = os.path.join(folder, "small.json")
    with open(config, "w") as file:
        json.dump({"version": 1, "experiment": {"name": "small"}, "budget": {"max_trials": 8},
                   "objective": {"metric": "value", "goal": "minimize"}, "search": {"algorithm": "random"},
                   "search_space": {n: {"type": "float", "min": 0.0, "max": 1.0} for n in "abcd"},
                   "trainer": {"name": "synthetic", "epochs": 2}, "output": {"database": "small.db"}}, file)
    subprocess.run([program, "run", config, "-q", "-j", "1"], check=True)
    return config, os.path.join(folder, "small.db")


def start_up(program, rounds):
    print("| command | wall ms | CPU ms |\n|---|---|---|")

    def line(words):
        wall, cpu = measure([program] + words, rounds)
        print(f"| {' '.join(os.path.basename(w) for w in words)} | {wall:.1f} | {cpu:.1f} |", flush=True)

    line(["--version"])
    line(["--help"])
    for name in ALL:
        line([name, "--help"])
    with tempfile.TemporaryDirectory() as folder:
        config, database = small_experiment(program, folder)
        for words in (["plan", config], ["status", database], ["best", database], ["show", "0", database],
                      ["query", "a < 0.5", "--db", database], ["why", "--db", database],
                      ["logs", "0", database], ["compare", "0", "1", "--db", database], ["importance", database],
                      ["doctor"]):
            line(words)


def questions(program, database, rounds):
    middle = "50000"
    asked = {
        "best 10": ["best", database],
        "status": ["status", database],
        "top 20 with a filter": ["query", "dropout < 0.2 and optimizer = 'adam' and val_loss < 0.5",
                                 "--sort=-val_accuracy", "--limit", "20", "--db", database],
        "top 20 of an objective": ["query", "learning_rate > 0.001 and state = 'completed'",
                                   "--sort=-objective", "--limit", "20", "--db", database],
        "a curve (100 epochs)": ["query", "--sql",
                                 f"SELECT epoch, val_accuracy FROM curve WHERE trial = {middle}",
                                 "--db", database],
        "show one trial": ["show", middle, database],
        "lineage (all ancestors of the best)": [
            "query", "--sql", "WITH RECURSIVE line(trial) AS (SELECT trial FROM (SELECT trial FROM best "
            "LIMIT 1) UNION SELECT ancestor FROM lineage JOIN line USING (trial)) SELECT * FROM line "
            "LIMIT 1000", "--db", database],
        "importance": ["importance", database],

    }
    print("| question | warm ms | CPU ms | cold ms |\n|---|---|---|---|")
    for name, words in asked.items():
        once([program] + words)
        wall, cpu = measure([program] + words, rounds)
        cold, _ = measure([program] + words, rounds, database)
        print(f"| {name} | {wall:.1f} | {cpu:.1f} | {cold:.1f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--brood", default="build/release/brood")
    parser.add_argument("--database")
    parser.add_argument("--rounds", type=int, default=11)
    args = parser.parse_args()
    program = os.path.abspath(args.brood)
    start_up(program, args.rounds)
    if args.database:
        questions(program, os.path.abspath(args.database), args.rounds)


if __name__ == "__main__":
    main()
