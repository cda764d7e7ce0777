#!/usr/bin/env python3
"""A training program for brood's command trainer, with the standard library alone.

It fits a logistic regression to made-up data by stochastic gradient descent with momentum.
brood starts it once for each trial and writes one line to its standard input: what to train.
It answers on the descriptor in BROOD_FD with one line for each epoch. Everything printed goes to
the trial's log (`brood logs N`). To try it by hand:

    echo '{"params": {"learning_rate": 0.1, "momentum": 0.9}, "first_epoch": 1, "last_epoch": 5,
           "seed": 1, "resume_from": null, "save_to": null}' | tr -d '\n' |
        BROOD_FD=1 python3 train.py
"""

import json
import math
import os
import random
import select
import time

FEATURES = 8
SAMPLES = 1200
VALIDATION = 300
BATCH = 20


def make_data():
    """Two overlapping clouds of points; always the same ones. Features of very different scale:
    a small learning rate is slow in some directions, a large one unstable in others."""
    rng = random.Random(2024)
    scales = [4 * 0.5**i for i in range(FEATURES)]
    signs = [rng.choice([-1, 1]) for _ in range(FEATURES)]
    data = []
    for _ in range(SAMPLES):
        label = rng.randrange(2)
        shift = 0.5 if label else -0.5
        data.append(([scale * rng.gauss(shift * sign, 1)
                      for scale, sign in zip(scales, signs)], label))
    return data[VALIDATION:], data[:VALIDATION]


class Model:
    """Logistic regression: FEATURES weights and a bias, with their velocities."""

    def __init__(self):
        self.weights = [0.0] * (FEATURES + 1)
        self.velocity = [0.0] * (FEATURES + 1)

    def predict(self, features):
        total = self.weights[-1] + sum(w * x for w, x in zip(self.weights, features))
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))

    def train_epoch(self, data, learning_rate, momentum, rng):
        order = list(range(len(data)))
        rng.shuffle(order)
        for start in range(0, len(order), BATCH):
            gradient = [0.0] * (FEATURES + 1)
            batch = order[start : start + BATCH]
            for index in batch:
                features, label = data[index]
                error = self.predict(features) - label
                for i, x in enumerate(features):
                    gradient[i] += error * x
                gradient[-1] += error
            for i, g in enumerate(gradient):
                self.velocity[i] = momentum * self.velocity[i] - learning_rate * g / len(batch)
                self.weights[i] += self.velocity[i]

    def evaluate(self, data):
        """Mean cross-entropy and accuracy."""
        loss = correct = 0
        for features, label in data:
            p = self.predict(features)
            loss -= math.log(p if label else 1 - p)
            correct += (p > 0.5) == bool(label)
        return loss / len(data), correct / len(data)

    def save(self, path, epoch):
        """Beside and then renamed, so that a torn file never has the name of a whole one."""
        with open(path + ".tmp", "w") as file:
            json.dump({"epoch": epoch, "weights": self.weights, "velocity": self.velocity}, file)
        os.replace(path + ".tmp", path)

    def load(self, path, epoch):
        with open(path) as file:
            state = json.load(file)
        if state["epoch"] != epoch:
            raise ValueError(f"{path} holds epoch {state['epoch']}, not {epoch}")
        self.weights, self.velocity = state["weights"], state["velocity"]


def requests(stdin):
    """What brood has asked for since the last look: {"stop": true} or {"save": true}."""
    asked = set()
    while select.select([stdin], [], [], 0)[0]:
        line = stdin.readline()
        if not line:
            break
        asked.update(json.loads(line))
    return asked


def main():
    # Unbuffered: select() must see every line that was not read yet.
    stdin = open(0, "rb", buffering=0)
    out = open(int(os.environ.get("BROOD_FD", "1")), "w")
    trial = json.loads(stdin.readline())
    params = trial["params"]
    print("training with", params)

    training, validation = make_data()
    model = Model()
    if trial["resume_from"]:
        model.load(trial["resume_from"], trial["first_epoch"] - 1)

    for epoch in range(trial["first_epoch"], trial["last_epoch"] + 1):
        started = time.monotonic()
        # A stream for each epoch: a resumed trial draws what an undisturbed one would.
        rng = random.Random(trial["seed"] * 1_000_003 + epoch)
        model.train_epoch(training, params["learning_rate"], params["momentum"], rng)
        train_loss, _ = model.evaluate(training)
        loss, accuracy = model.evaluate(validation)

        # Save before the line of the epoch: the line says that the file is there.
        asked = requests(stdin)
        every = trial.get("save_every_epochs", 0)
        due = (every and epoch % every == 0) or epoch == trial["last_epoch"] or asked
        if trial["save_to"] and due:
            model.save(trial["save_to"].replace("{epoch}", str(epoch)), epoch)
        report = {
            "epoch": epoch,
            "metrics": {"val_accuracy": accuracy, "val_loss": loss, "train_loss": train_loss},
            "measured": {"seconds": time.monotonic() - started},
        }
        print(json.dumps(report), file=out, flush=True)
        if "stop" in asked:
            return


if __name__ == "__main__":
    main()
