#!/usr/bin/env python3
"""Whether brood learns as much as PyTorch: test accuracy on Fashion-MNIST, two nets, several seeds.

    accuracy.py [--python PYTHON_WITH_TORCH] [--seeds 5] [--train 20000] [--epochs 3]

Both start from weights of the same distribution (PyTorch's own) and train with the same settings;
weights, order of the images and dropout are drawn anew for each seed, and which images are kept
too. Ends with status 1 where the means are more than 0.7 points apart. Some minutes on one core.
"""
import argparse
import gzip
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile

from nets import FASHION, block, conv

HERE = os.path.dirname(os.path.abspath(__file__))
BROOD = os.path.join(HERE, "..", "..", "build", "release", "brood")
DATA = "/usr/share/datasets/fashion-mnist"  # Debian's package dataset-fashion-mnist
APART_MAX = 0.007

POOL = {"max_pool": {"size": 2}}
NETS = {
    "plain": {"optimizer": {"name": "adam", "learning_rate": 0.001}, "layers": [
        conv(16, 5, norm=False), POOL, conv(32, 3, norm=False), POOL,
        {"dense": {"units": 64, "activation": "relu"}}, {"dropout": {"rate": 0.3}}]},
    "residual": {"optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9,
                               "nesterov": True, "weight_decay": 5e-4},
                 "layers": [conv(12), POOL, block(12), block(24, 2), {"global_avg_pool": {}}]}}


def block_of(net, options):
    return {"name": "cnn", "dataset": "fashion_mnist", "validation": 0, "batch_size": 64,
            "limit_train": options.train, "evaluate_test": True, "epochs": options.epochs,
            "initialization": "pytorch", "schedule": {"name": "cosine"}, **NETS[net]}


def brood_accuracy(net, seed, options):
    trainer = block_of(net, options)
    rate = trainer["optimizer"]["learning_rate"]
    trainer["optimizer"] = {**trainer["optimizer"], "learning_rate": {"$param": "learning_rate"}}
    with tempfile.TemporaryDirectory() as folder:
        config = os.path.join(folder, "accuracy.json")
        with open(config, "w") as out:
            json.dump({"version": 1, "experiment": {"name": "accuracy", "seed": seed},
                       "objective": {"metric": "train_loss", "goal": "minimize"},
                       "search_space": {"learning_rate": [rate]}, "search": {"algorithm": "grid"},
                       "trainer": trainer, "resources": {"executors": 1}, "output": {"database": "a.db"}}, out)
        subprocess.run([options.brood, "run", config], check=True, stdout=subprocess.DEVNULL)
        answer = subprocess.run(
            [options.brood, "query", "--db", os.path.join(folder, "a.db"), "--json",
             "--sql", "SELECT test_accuracy FROM trials"],
            check=True, stdout=subprocess.PIPE, text=True).stdout
        return json.loads(answer)[0]["test_accuracy"]


def idx(name, header):
    import numpy
    with gzip.open(os.path.join(DATA, name + ".gz")) as file:
        return numpy.frombuffer(file.read(), numpy.uint8)[header:]


def torch_accuracy(net, seed, options):
    import torch
    import torch.nn.functional as F
    from brood_torch import Network, optimizer_of
    torch.set_num_threads(1)
    torch.manual_seed(seed)

    def part(name):
        images = torch.tensor(idx(name + "-images-idx3-ubyte", 16)).reshape(-1, 1, 28, 28)
        labels = torch.tensor(idx(name + "-labels-idx1-ubyte", 8)).long()
        return ((images / 255 - 0.5) / 0.5).contiguous(memory_format=torch.channels_last), labels

    images, labels = part("train")
    kept = torch.randperm(len(images))[:options.train]
    config = block_of(net, options)
    # As brood has it, also where a stride makes the padding odd.
    module = Network(config["layers"], FASHION).module.to(memory_format=torch.channels_last)
    update = optimizer_of(config["optimizer"], module.parameters())
    steps = options.epochs * math.ceil(len(kept) / config["batch_size"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(update, steps)
    for _ in range(options.epochs):
        for batch in kept[torch.randperm(len(kept))].split(config["batch_size"]):
            update.zero_grad()
            F.cross_entropy(module(images[batch]), labels[batch]).backward()
            update.step()
            schedule.step()
    module.eval()
    images, labels = part("t10k")
    with torch.no_grad():
        right = sum(int((module(x).argmax(1) == y).sum())
                    for x, y in zip(images.split(500), labels.split(500)))
    return right / len(labels)


def torch_in_its_python(net, seed, options):
    return float(subprocess.run(
        [options.python, __file__, "--one", net, str(seed), "--train", str(options.train),
         "--epochs", str(options.epochs)], check=True, stdout=subprocess.PIPE, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brood", default=BROOD)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--nets", default=",".join(NETS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--train", type=int, default=20000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # PyTorch's side: net, seed
    options = parser.parse_args()
    if options.one:
        print(torch_accuracy(options.one[0], int(options.one[1]), options))
        return 0
    apart = 0.0
    for net in options.nets.split(","):
        means = []
        for name, accuracy in (("brood", brood_accuracy), ("PyTorch", torch_in_its_python)):
            found = [accuracy(net, seed, options) for seed in range(1, options.seeds + 1)]
            means.append(statistics.mean(found))
            error = statistics.stdev(found) / math.sqrt(len(found)) if len(found) > 1 else 0.0
            print(f"{net:9} {name:8} {100 * means[-1]:6.2f} % +- {100 * error:.2f}   "
                  f"{' '.join(f'{100 * a:.2f}' for a in found)}", flush=True)
        apart = max(apart, abs(means[0] - means[1]))
    print(f"at most {100 * apart:.2f} points apart, {100 * APART_MAX:.1f} allowed")
    return 0 if apart <= APART_MAX else 1


if __name__ == "__main__":
    sys.exit(main())
