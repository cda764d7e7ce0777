"""The sweep of bench/gpu/check from end to end: its config, and what its database tells."""
import contextlib
import json
import pathlib
import sqlite3

NAME = "gpu-check"


def config(folder, devices, quick, data_dir):
    """Written into the folder; its path. devices: as the config has them."""
    dataset = ({"synthetic": {"classes": 4, "size": 8, "train": 64, "test": 16}} if quick
               else "fashion_mnist")
    trainer = {
        "name": "cnn", "dataset": dataset, "epochs": 2 if quick else 6,
        "validation": 16 if quick else 6000, "batch_size": 16 if quick else 128,
        "optimizer": {"name": "sgd", "learning_rate": {"$param": "learning_rate"},
                      "momentum": 0.9, "nesterov": True,
                      "weight_decay": {"$param": "weight_decay"}},
        "schedule": {"name": "one_cycle"},
        "augment": [{"flip": {}}, {"translate": {"pixels": 2}}],
        "layers": [conv(8 if quick else 32), pool(), conv(8 if quick else 64), pool(),
                   conv(8 if quick else 128), {"global_avg_pool": {}},
                   {"dropout": {"rate": {"$param": "dropout"}}}],
    }
    block = {
        "version": 1,
        "experiment": {"name": NAME, "seed": 11},
        "objective": {"metric": "val_accuracy", "goal": "maximize", "reduce": "best"},
        "search_space": {
            "learning_rate": {"type": "float", "distribution": "log_uniform", "min": 0.01,
                              "max": 1.0},
            "weight_decay": {"type": "float", "distribution": "log_uniform", "min": 1e-5,
                             "max": 1e-3},
            "dropout": {"type": "float", "min": 0.0, "max": 0.3},
        },
        "search": {"algorithm": "random"},
        "budget": {"max_trials": 4 if quick else 64},
        "resources": {"devices": devices},
        "trainer": trainer,
        "output": {"database": "sweep.db"},
    }
    if data_dir:
        block["data_dir"] = str(data_dir)
    path = pathlib.Path(folder) / "sweep.json"
    path.write_text(json.dumps(block, indent=1))
    return path


def conv(filters):
    return {"conv": {"filters": filters, "kernel": 3, "batch_norm": True, "activation": "relu"}}


def pool():
    return {"max_pool": {"size": 2}}


def outcome(database, goals):
    """Of a sweep that has ended: accuracies, seconds from its first row to each goal."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        states = dict(connection.execute("SELECT state, count(*) FROM trials GROUP BY state"))
        start = connection.execute("SELECT min(started_us) FROM session").fetchone()[0]
        curve = connection.execute(
            "SELECT wall_us, val_accuracy, trial FROM curve ORDER BY wall_us").fetchall()
    if not curve:
        raise RuntimeError(f"no epoch was recorded; trials by state: {states}")
    reached = {}
    for goal in goals:
        first = next((time for time, accuracy, _ in curve if accuracy >= goal), None)
        reached[str(goal)] = None if first is None else round((first - start) * 1e-6, 2)
    best = max(curve, key=lambda row: row[1])
    seconds = (curve[-1][0] - start) * 1e-6
    return {"trials": states, "epochs": len(curve), "best_val_accuracy": best[1],
            "best_trial": best[2], "sweep_seconds": round(seconds, 2),
            "seconds_to_accuracy": reached,
            "trials_per_hour": round(3600 * sum(states.values()) / max(seconds, 1e-6))}
