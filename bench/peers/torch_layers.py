#!/usr/bin/env python3
"""Checks every layer, loss, optimizer and schedule of brood against PyTorch, from the same weights.

    torch_layers.py [--test BUILD/tests/cnn_torch_test]    all cases, on every kernel set
    torch_layers.py --golden ../../tests/golden/torch_layers.json    a few small ones, as a file

PyTorch calculates in double precision; the test compares outputs, gradients, running statistics
and, after some steps of an optimizer, weights. It prints the largest errors of each group of cases
and what PyTorch's own single precision would have been off by. Needs PyTorch 2.
"""
import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile

import torch
import torch.nn.functional as F

from brood_torch import Network, optimizer_of

HERE = os.path.dirname(os.path.abspath(__file__))
TEST = os.path.join(HERE, "..", "..", "build", "release", "tests", "cnn_torch_test")
IMAGE = [9, 11, 3, 5]  # height, width, channels, classes
SGD = {"name": "sgd", "learning_rate": 0.1}
KERNELS = [1, 2, 3, 5, [3, 1]]
STRIDES = [1, 2, 3, [2, 1]]


UNIT = 256  # parameters are whole multiples of 1 / UNIT: exact in a file of few digits


def draw(count, scale, generator):
    values = torch.randn(count, generator=generator, dtype=torch.float64) * scale
    return torch.round(values * UNIT) / UNIT


def distance(got, wanted):
    largest = float(wanted.abs().max())
    return float((got.double() - wanted).abs().max()) / largest if largest else 0.0


def conv(filters, kernel, **more):
    return {"conv": {"filters": filters, "kernel": kernel, **more}}


class Case:
    """layers between a first convolution of single pixels and the classifier. The tanh keeps its
    bias from vanishing before a batch norm, where nothing but rounding would be compared."""

    def __init__(self, name, layers, group="direct", data=None, batch=3, stem=7, steps=0, **block):
        self.data, self.batch, self.steps = data or IMAGE, batch, steps
        self.evaluated_only = block.pop("evaluated_only", False)
        self.shares = block.pop("shares", None)
        if stem:
            layers = [conv(stem, 1, activation="tanh")] + layers
        self.block = {"dataset": "fashion_mnist", "epochs": 1, "batch_size": batch,
                      "kernels": "direct" if group == "direct" else "auto", "optimizer": SGD,
                      "layers": layers, **block}
        self.out = {"name": name, "group": group, "data": self.data, "block": self.block}

    def draw_inputs(self):
        g = torch.Generator().manual_seed(sum(map(ord, self.out["name"])))
        height, width, channels, classes = self.data
        pixels = torch.randint(0, 256, (self.batch, height, width, channels), generator=g)
        self.labels = [(7 * n + 1) % classes for n in range(self.batch)]
        self.partners = [(3 * n + 2) % classes for n in range(self.batch)]
        self.parameters = {}
        for name, (tensor, _, _) in self.network().tensors.items():
            inputs = tensor[0].numel() if tensor.dim() > 1 else 1
            values = draw(tensor.numel(), 1.5 / inputs ** 0.5 if inputs > 1 else 0.25, g)
            self.parameters[name] = values + (1.0 if name.endswith("scale") else 0.0)
        # As Network::set_image has it, in single precision.
        table = (torch.arange(256, dtype=torch.float32) / 255 - 0.5) / 0.5
        self.images = table[pixels].permute(0, 3, 1, 2)
        self.out.update(pixels=pixels.reshape(-1).tolist(), labels=self.labels)
        self.out["parameters"] = {n: (v * UNIT).int().tolist()
                                  for n, v in self.parameters.items()}
        if self.shares:
            self.out.update(partners=self.partners, shares=self.shares)

    def network(self):
        return Network(self.block["layers"], self.data)

    def targets(self, dtype):
        smoothing = self.block.get("label_smoothing", 0.0)
        labels = torch.tensor(self.labels)
        if not self.shares:
            return {"target": labels, "label_smoothing": smoothing}
        classes = self.data[3]
        share = torch.tensor(self.shares, dtype=dtype)[:, None]
        mixed = (share * F.one_hot(labels, classes) +
                 (1 - share) * F.one_hot(torch.tensor(self.partners), classes))
        return {"target": mixed, "label_smoothing": smoothing}

    def run(self, dtype):
        """Everything to compare, as {name: tensor}."""
        net = self.network()
        for name, values in self.parameters.items():
            net.set(name, values.to(torch.float32))
        module, images = net.module.to(dtype), self.images.to(dtype)
        found = {}
        optimizer = self.block["optimizer"]
        parameters = list(module.parameters())
        update = optimizer_of(optimizer, parameters)
        averages = [p.detach().clone() for p in parameters + list(net.running())]
        for step in range(max(1, self.steps) if not self.evaluated_only else 0):
            module.train()
            update.zero_grad()
            logits = module(images)
            loss = F.cross_entropy(logits, **self.targets(dtype))
            loss.backward()
            if step == 0:
                found.update(loss=loss.detach().reshape(1), logits=logits.detach().reshape(-1))
                found.update({f"gradients {n}": net.in_brood_order(n, t.grad)
                              for n, (t, _, _) in net.tensors.items()})
                found.update({f"states {n}": t.detach().clone() for n, t in net.states().items()})
                module.eval()
                found["evaluated"] = module(images).detach().reshape(-1)
            if "clip_norm" in optimizer:
                torch.nn.utils.clip_grad_norm_(parameters, optimizer["clip_norm"])
            if self.steps:
                update.step()
            keep = min(self.block.get("ema", 0.0), (2.0 + step) / (11.0 + step))
            for average, value in zip(averages, parameters + list(net.running())):
                average.mul_(keep).add_(value.detach(), alpha=1 - keep)
        if self.evaluated_only:
            module.eval()
            found["evaluated"] = module(images).detach().reshape(-1)
        if self.steps:
            found.update({f"after {n}": net.in_brood_order(n, t)
                          for n, (t, _, _) in net.tensors.items()})
        if "ema" in self.block:
            for value, average in zip(parameters + list(net.running()), averages):
                value.data.copy_(average)
            found.update({f"after average.{n}": net.in_brood_order(n, t)
                          for n, (t, _, _) in net.tensors.items()})
            found.update({f"after average.{n}": t.detach().clone()
                          for n, t in net.states().items()})
        return found

    def made(self):
        self.draw_inputs()
        exact, single = self.run(torch.float64), self.run(torch.float32)
        self.out["steps"] = self.steps
        self.out["single_precision"] = max(distance(single[k], v) for k, v in exact.items())
        self.out["wanted"] = {k: [float(f"{x:.8g}") for x in v.tolist()]
                              for k, v in exact.items()}
        return self.out


def convolutions():
    widths = itertools.cycle([(1, 6), (3, 16), (5, 23), (8, 40), (16, 1), (17, 33), (33, 70)])
    options = itertools.product(KERNELS, STRIDES, ["same", "valid"], [1, 2])
    for kernel, stride, padding, dilation in options:
        stem, filters = next(widths)
        settings = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
        name = " ".join(f"{k} {v}" for k, v in settings.items())
        yield Case(f"conv {stem} to {filters} {name}", [{"conv": {"filters": filters, **settings}}],
                   stem=stem)
        yield Case(f"depthwise of {stem} {name}", [{"depthwise_conv": settings}], stem=stem)


def pools():
    for size, stride, padding in itertools.product([1, 2, 3, [3, 2]], STRIDES, ["same", "valid"]):
        for kind in ("max_pool", "avg_pool"):
            settings = {"size": size, "stride": stride, "padding": padding}
            yield Case(f"{kind} {settings}", [{kind: settings}])
    yield Case("max_pool 2 behind a ReLU", [conv(16, 3, activation="relu"),
                                            {"max_pool": {"size": 2}}], data=[8, 12, 3, 5])
    yield Case("global_avg_pool", [{"global_avg_pool": {}}])


def others():
    norm = [{"batch_norm": {}}]
    yield Case("batch_norm", norm)
    yield Case("batch_norm, many steps", norm, steps=8)
    yield Case("batch_norm before a ReLU", [conv(13, 3, batch_norm=True, activation="relu")])
    yield Case("batch_norm of vectors", [{"dense": {"units": 19, "batch_norm": True}}], batch=9)
    for name in ("relu", "leaky_relu", "gelu", "silu", "tanh"):
        yield Case(name, [{"activation": {"name": name}}])
        yield Case(name + " of a conv", [conv(12, 3, activation=name)])
        yield Case(name + " after a norm", [conv(12, 3, batch_norm=True, activation=name)])
        yield Case(name + " of a dense layer", [{"dense": {"units": 21, "activation": name}}])
    yield Case("leaky_relu 0.3", [{"activation": {"name": "leaky_relu", "slope": 0.3}}])
    yield Case("dense", [{"flatten": {}}, {"dense": {"units": 37}}])
    yield Case("dense of the image", [{"dense": {"units": 20}}], stem=0)
    for channels, ratio in ((7, 2), (40, 16), (5, 16)):
        yield Case(f"squeeze_excite {ratio} of {channels}", [{"squeeze_excite": {"ratio": ratio}}],
                   stem=channels)
    yield Case("dropout in an evaluation", [{"dropout": {"rate": 0.5}}], evaluated_only=True)
    yield Case("dropout off", [{"dropout": {"rate": 0.0}}])
    yield Case("label smoothing", [], label_smoothing=0.2)
    yield Case("mixed targets", [], label_smoothing=0.1, shares=[0.9, 0.6, 0.75])


def composed():
    norm = {"batch_norm": True}
    body = [conv(7, 3, activation="relu", **norm), conv(7, 3, **norm)]
    yield Case("residual", [{"residual": body}])
    for name in ("none", "leaky_relu", "gelu", "silu", "tanh"):
        yield Case("residual " + name, [{"residual": {"body": body, "activation": name}}])
    for stride in STRIDES:
        wide = [conv(20, 3, stride=stride, activation="relu", **norm), conv(20, 3, **norm)]
        yield Case(f"residual with projection, stride {stride}", [{"residual": wide}])
    three = [[conv(9, 1)], [{"max_pool": {"size": 3, "stride": 1, "padding": "same"}}], []]
    yield Case("branches", [{"branches": three}])
    yield Case("branches in a residual", [{"residual": [{"branches": three}, conv(7, 1)]}])
    mobile = [conv(24, 1, activation="silu", **norm),
              {"depthwise_conv": {"kernel": 3, "stride": 2, "activation": "silu", **norm}},
              {"squeeze_excite": {"ratio": 4}}, conv(12, 1, **norm)]
    yield Case("inverted residual", [{"residual": {"body": mobile, "activation": "none"}}])


def optimizers():
    sgd = {"name": "sgd", "learning_rate": 0.05}
    adam = {"learning_rate": 0.01}
    all_of_them = [
        sgd, {**sgd, "weight_decay": 0.01}, {**sgd, "momentum": 0.9},
        {**sgd, "momentum": 0.8, "nesterov": True, "weight_decay": 0.02},
        {**sgd, "momentum": 0.9, "clip_norm": 0.5}, {**sgd, "clip_norm": 1e6},
        {"name": "adam", **adam}, {"name": "adam", **adam, "weight_decay": 0.1, "epsilon": 1e-3},
        {"name": "adam", **adam, "beta1": 0.5, "beta2": 0.9},
        {"name": "adamw", **adam, "weight_decay": 0.01},
        {"name": "adamw", **adam, "weight_decay": 0.3, "clip_norm": 0.1},
        {"name": "rmsprop", **adam},
        {"name": "rmsprop", **adam, "alpha": 0.9, "momentum": 0.7, "weight_decay": 0.05,
         "epsilon": 1e-2}]
    for settings in all_of_them:
        yield Case(f"optimizer {settings}", [{"dense": {"units": 6, "activation": "tanh"}}],
                   data=[3, 4, 1, 3], stem=0, steps=7, optimizer=settings)
    for settings in (all_of_them[3], all_of_them[6]):
        yield Case(f"{settings['name']} of a whole net",
                   [conv(6, 3, batch_norm=True, activation="tanh"), {"avg_pool": {"size": 2}}],
                   steps=4, optimizer=settings)
    for ema in (0.1, 0.9):
        yield Case(f"ema {ema}", [{"batch_norm": {}}, {"dense": {"units": 6}}], steps=6, ema=ema,
                   optimizer={"name": "sgd", "learning_rate": 0.02})


def winograd():
    widths = [(8, 8), (16, 16), (32, 32), (64, 64), (33, 70)]
    for kernel, side, (stem, filters) in itertools.product([3, 5], [8, 12, 16, 24, 32], widths):
        yield Case(f"conv {kernel}x{kernel} {stem} to {filters} on {side}x{side}",
                   [conv(filters, kernel)], group="winograd", data=[side, side, 3, 5], stem=stem,
                   batch=2)
    deep = [conv(32, 3, batch_norm=True, activation="tanh") for _ in range(6)]
    yield Case("six convs 3x3 with batch norm", deep, group="winograd", data=[16, 16, 3, 5])


def schedules():
    """Rates of each step of 6 epochs of 5 steps."""
    epochs, steps, rate = 6, 5, 0.3
    total = epochs * steps

    def rates(make):
        update = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
        schedule = make(update)
        out = []
        for _ in range(total):
            out.append(update.param_groups[0]["lr"])
            update.step()
            schedule.step()
        return out

    lr = torch.optim.lr_scheduler
    cases = [({"name": "constant"}, lambda u: lr.ConstantLR(u, 1.0)),
             ({"name": "cosine"}, lambda u: lr.CosineAnnealingLR(u, total)),
             ({"name": "step", "every_epochs": 2, "factor": 0.3},
              lambda u: lr.StepLR(u, 2 * steps, 0.3)),
             ({"name": "one_cycle"}, lambda u: lr.OneCycleLR(u, rate, total)),
             ({"name": "one_cycle", "rise": 0.5, "start_factor": 0.1, "end_factor": 0.001},
              lambda u: lr.OneCycleLR(u, rate, total, pct_start=0.5, div_factor=10,
                                      final_div_factor=100))]
    return [{"schedule": settings, "epochs": epochs, "steps_per_epoch": steps,
             "learning_rate": rate, "rates": rates(make)} for settings, make in cases]


def golden():
    """Kept small: the file is read by a test that everybody runs."""
    small = {"data": [5, 6, 2, 3], "stem": 3, "batch": 2}
    body = [conv(4, 3, stride=2, batch_norm=True, activation="relu"), conv(4, 3, batch_norm=True)]
    average = {"global_avg_pool": {}}
    yield Case("conv", [conv(5, 3, stride=[2, 1], dilation=[1, 2], activation="gelu"), average],
               **small)
    yield Case("depthwise_conv", [{"depthwise_conv": {"kernel": 3, "activation": "silu"}},
                                 average], **small)
    yield Case("pools", [{"max_pool": {"size": 2, "stride": 1, "padding": "same"}},
                         {"avg_pool": {"size": 3, "stride": 2, "padding": "same"}}], **small)
    yield Case("residual", [{"residual": body}, average], **small)
    yield Case("branches", [{"branches": [[conv(2, 1, activation="leaky_relu")], []]},
                            {"squeeze_excite": {"ratio": 2}}, average, {"dense": {"units": 4}}],
               label_smoothing=0.1, **small)
    for settings in ({"name": "sgd", "learning_rate": 0.05, "momentum": 0.9, "nesterov": True,
                      "weight_decay": 0.01, "clip_norm": 0.5},
                     {"name": "adam", "learning_rate": 0.01},
                     {"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.1},
                     {"name": "rmsprop", "learning_rate": 0.01, "momentum": 0.5}):
        yield Case(settings["name"], [{"dense": {"units": 3, "activation": "tanh"}}],
                   data=[2, 2, 1, 2], stem=0, steps=5, optimizer=settings, ema=0.5)
    yield Case("conv by Winograd", [conv(6, 3), average], group="winograd", data=[8, 8, 2, 2],
               stem=6, batch=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--test", default=TEST)
    parser.add_argument("--golden", help="write the small file instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.golden:
        cases = golden()
    else:
        cases = itertools.chain(convolutions(), pools(), others(), composed(), optimizers(),
                                winograd())
    document = {"torch": torch.__version__, "unit": UNIT, "schedules": schedules(),
                "cases": [case.made() for case in cases]}
    if options.golden:
        lines = [json.dumps(case) for case in document.pop("cases")]
        with open(options.golden, "w") as out:
            out.write(json.dumps(document)[:-1] + ', "cases": [\n' + ",\n".join(lines) + "\n]}\n")
        return 0
    with tempfile.NamedTemporaryFile("w", suffix=".json") as out:
        json.dump(document, out)
        out.flush()
        print(f"{len(document['cases'])} cases from PyTorch {torch.__version__}", flush=True)
        return subprocess.run([options.test, "--gtest_brief=1"],
                              env=dict(os.environ, BROOD_TORCH_CASES=out.name)).returncode


if __name__ == "__main__":
    sys.exit(main())
