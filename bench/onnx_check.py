#!/usr/bin/env python3
"""Compares exported networks with brood's own, run by onnxruntime.

    bench/onnx_check.py [--brood build/release/brood] [--networks 40] [--seed 0]
    bench/onnx_check.py --model model.safetensors [--images t10k-images-idx3-ubyte.gz]

Without --model: networks drawn at random over every kind of layer are trained for an epoch on made-up
images. Each is exported, checked by onnx.checker and run by onnxruntime on random images; its logits
are compared with those of `brood predict --logits`. Fails where a logit is off by more than 1e-5 of
the image's largest. Needs the Python packages onnx, onnxruntime and numpy.
"""
import argparse
import collections
import gzip
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime

LIMIT = 1e-5
ACTIVATIONS = ["none", "relu", "leaky_relu", "gelu", "silu", "tanh"]


class Drawer:
    """Layers drawn at random. keep: the image keeps its size."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def whole(self, low, high):
        return self.random.randint(low, high)

    def sides(self, low, high):
        return [self.whole(low, high), self.whole(low, high)]

    def chance(self, probability):
        return self.random.random() < probability

    def rest(self):
        return {"activation": self.random.choice(ACTIVATIONS), "batch_norm": self.chance(0.4)}

    def window(self, keep):
        out = {"kernel": self.sides(1, 5), **self.rest()}
        if not keep and self.chance(0.4):
            out["stride"] = self.sides(1, 3)
        if self.chance(0.3):
            out["dilation"] = self.sides(1, 2)
        if not keep and self.chance(0.3):
            out["padding"] = "valid"
        return out

    def pool(self, keep):
        if keep:
            return {"size": self.sides(1, 4), "stride": 1, "padding": "same"}
        out = {"size": self.sides(1, 3)}
        if self.chance(0.5):
            out["stride"] = self.sides(1, 3)
        if self.chance(0.5):
            out["padding"] = "same"
        return out

    def layer(self, depth, keep):
        kinds = ["conv", "conv", "depthwise_conv", "max_pool", "avg_pool", "batch_norm", "dropout",
                 "activation", "squeeze_excite"] + ["residual", "branches"] * (depth > 0)
        kind = self.random.choice(kinds)
        if kind == "conv":
            return {kind: {"filters": self.whole(1, 24), **self.window(keep)}}
        if kind == "depthwise_conv":
            return {kind: self.window(keep)}
        if kind in ("max_pool", "avg_pool"):
            return {kind: self.pool(keep)}
        if kind == "dropout":
            return {kind: {"rate": 0.3}}
        if kind == "activation":
            return {kind: {"name": self.random.choice(ACTIVATIONS[1:])}}
        if kind == "squeeze_excite":
            return {kind: {"ratio": self.whole(1, 4)}}
        if kind == "residual":
            return {kind: {"body": self.layers(1, 3, depth - 1, keep),
                           "activation": self.random.choice(ACTIVATIONS)}}
        if kind == "branches":
            return {kind: [self.layers(0, 2, depth - 1, True), self.layers(1, 2, depth - 1, True)]}
        return {kind: {}}

    def layers(self, low, high, depth, keep):
        return [self.layer(depth, keep) for _ in range(self.whole(low, high))]

    def config(self):
        layers = self.layers(1, 6, 2, False)
        if self.chance(0.3):
            layers.append({"global_avg_pool": {}})
        if self.chance(0.6):
            layers += [{"dense": {"units": self.whole(1, 40), **self.rest()}}, {"batch_norm": {}}]
        trainer = {
            "name": "cnn", "epochs": 1, "batch_size": 16, "validation": 0, "layers": layers,
            "dataset": {"synthetic": {"size": self.whole(5, 24), "channels": self.whole(1, 4),
                                      "classes": self.whole(2, 12), "train": 64, "test": 8}},
            "optimizer": {"name": "sgd", "learning_rate": 0.01, "clip_norm": 1.0},
            "kernels": self.random.choice(["auto", "direct"])}
        if self.chance(0.3):
            trainer["ema"] = 0.9
        return {"version": 1, "experiment": {"name": "x"}, "search_space": {},
                "objective": {"metric": "train_loss", "goal": "minimize"},
                "search": {"algorithm": "grid"}, "trainer": trainer}


def write_idx(path, images):
    """images: [n, height, width] or [n, height, width, channels]."""
    with open(path, "wb") as file:
        file.write(struct.pack(">HBB", 0, 8, images.ndim))
        file.write(struct.pack(">" + "I" * images.ndim, *images.shape) + images.tobytes())


def read_idx(path):
    data = (gzip.open if str(path).endswith(".gz") else open)(path, "rb").read()
    sides = struct.unpack(">" + "I" * data[3], data[4:4 + 4 * data[3]])
    return numpy.frombuffer(data, numpy.uint8, offset=4 + 4 * data[3]).reshape(sides)


def compare(brood, model, images, folder):
    """The largest difference of an image's logits over its largest logit, and the operators."""
    exported, idx = folder / "model.onnx", folder / "images"
    subprocess.run([brood, "export", model, "--onnx", exported], check=True, capture_output=True)
    write_idx(idx, images)
    answer = subprocess.run([brood, "predict", model, idx, "--logits", "--json"], check=True,
                            capture_output=True, text=True)
    ours = numpy.array([[v for k, v in row.items() if k != "file"]
                        for row in json.loads(answer.stdout)], dtype=numpy.float64)
    onnx.checker.check_model(str(exported), full_check=True)
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    pixels = images.reshape(*images.shape[:3], -1).transpose(0, 3, 1, 2).astype(numpy.float32)
    theirs = session.run(["logits"], {"image": pixels})[0]
    apart = numpy.abs(ours - theirs).max(axis=1) / numpy.abs(ours).max(axis=1)
    return apart.max(), [node.op_type for node in onnx.load(str(exported)).graph.node]


def random_networks(arguments, folder):
    drawer, worst, used = Drawer(arguments.seed), 0.0, collections.Counter()
    numbers = numpy.random.default_rng(arguments.seed)
    done = 0
    while done < arguments.networks:
        config = drawer.config()
        (folder / "config.json").write_text(json.dumps(config))
        trained = subprocess.run([arguments.brood, "train", folder / "config.json", "--save",
                                  folder / "model.safetensors", "-q"],
                                 capture_output=True, text=True)
        if trained.returncode != 0:
            if "leaves nothing" in trained.stderr or "no stride does" in trained.stderr:
                continue
            sys.exit(f"{json.dumps(config)}\n{trained.stderr}")
        done += 1
        data = config["trainer"]["dataset"]["synthetic"]
        shape = [5, data["size"], data["size"]] + [data["channels"]] * (data["channels"] > 1)
        images = numbers.integers(0, 256, shape, dtype=numpy.uint8)
        apart, operators = compare(arguments.brood, folder / "model.safetensors", images, folder)
        worst = max(worst, apart)
        used.update(operators)
        if not apart <= LIMIT:
            sys.exit(f"off by {apart:.1e} of the largest logit: {json.dumps(config)}")
    print(f"{done} networks: logits within {worst:.1e} of the largest")
    print("operators: " + ", ".join(f"{name} {count}" for name, count in sorted(used.items())))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brood", default="build/release/brood")
    parser.add_argument("--networks", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", help="compare this model alone")
    parser.add_argument("--images", help="an IDX file for it")
    arguments = parser.parse_args()
    arguments.brood = str(pathlib.Path(arguments.brood).resolve())
    print(f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if not arguments.model:
            return random_networks(arguments, folder)
        if not arguments.images:
            parser.error("--model needs --images, an IDX file")
        images = read_idx(arguments.images)
        apart, _ = compare(arguments.brood, arguments.model, images, folder)
        print(f"{len(images)} images: logits within {apart:.1e} of each image's largest")
        if not apart <= LIMIT:
            sys.exit("above 1e-5")


if __name__ == "__main__":
    main()
