"""PyTorch's side of bench/gpu/check: trains a network of nets.json on request.

    torch_speed.py cuda|cpu

The first line it prints is PyTorch's version. Then it reads lines of JSON and answers each with one:

    {"job": {"net", "layers", "data", "batch", "samples"}, "mode": MODE, "trials": K}
        makes the step; {"ready": seconds}, or {"error": why}
    {"seconds": S}
        trains for about so long; {"images_per_second": of all K trials, "milliseconds": a step}

MODE, all with bf16 autocast and channels_last, and images that lie on the device as uint8:
    eager, compile (torch.compile), graph (a step as a CUDA graph), compile_graph (both);
    vmap_graph: K trials at a time by torch.func.vmap, grouped convolutions, in a CUDA graph;
    weights cast to bf16 by hand, batch norm without running statistics;
    vmap_compile_graph: the same, compiled.
On a CPU the graphs are left out: graph is eager there, compile_graph compile.
"""
import json
import os
import pathlib
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "peers"))
from brood_torch import Network  # noqa: E402

RATE, MOMENTUM, DECAY = 0.02, 0.9, 0.0005  # as gpu_speed has them
WARM = 5  # steps before anything is measured or captured


class Subject:
    def __init__(self, job, device):
        self.device = device
        self.batch = job["batch"]
        height, width, channels, self.classes = job["data"]
        self.images = torch.randint(0, 256, (job["samples"], channels, height, width),
                                    dtype=torch.uint8, device=device)
        self.images = self.images.contiguous(memory_format=torch.channels_last)
        self.labels = torch.randint(0, self.classes, (job["samples"],), device=device)

    def take(self, index):
        """A batch as the network wants it; index: which images."""
        pixels = self.images[index].to(torch.bfloat16).div_(127.5).sub_(1.0)
        return pixels.contiguous(memory_format=torch.channels_last), self.labels[index]

    def autocast(self):
        return torch.autocast(self.device, torch.bfloat16)

    def synchronize(self):
        if self.device == "cuda":
            torch.cuda.synchronize()


def one_trial(job, subject, compiled):
    """A step of one trial: takes the indices of its images."""
    net = Network(job["layers"], job["data"], exact=False).module.to(subject.device).train()
    net = net.to(memory_format=torch.channels_last)
    update = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY,
                             fused=True)
    run = torch.compile(net, dynamic=False) if compiled else net

    def step(index):
        x, y = subject.take(index)
        with subject.autocast():
            out = run(x)
        F.cross_entropy(out.float(), y).backward()
        update.step()
        update.zero_grad(set_to_none=True)

    return step


def without_running_statistics(net):
    """vmap cannot carry them: batch norm learns as it does, with a little less work."""
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return net


def many_trials(job, subject, count):
    """A step of `count` trials: takes the indices of the images of all, (trials, batch)."""
    nets = [without_running_statistics(
        Network(job["layers"], job["data"], exact=False).module.to(subject.device).train())
        for _ in range(count)]
    parameters, buffers = torch.func.stack_module_state(nets)
    parameters = {name: value.detach() for name, value in parameters.items()}
    moments = {name: torch.zeros_like(value) for name, value in parameters.items()}

    def loss(weights, x, y):
        # By hand: autocast and vmap do not go together.
        halves = {name: value.bfloat16() for name, value in weights.items()}
        out = torch.func.functional_call(nets[0], (halves, buffers), (x,))
        return F.cross_entropy(out.float(), y)

    gradients = torch.func.vmap(torch.func.grad(loss), randomness="different")
    names = list(parameters)

    def step(index):
        x, y = subject.take(index.flatten())
        x = x.view(count, subject.batch, *x.shape[1:])
        found = gradients(parameters, x, y.view(count, subject.batch))
        with torch.no_grad():
            now = [parameters[name] for name in names]
            slopes = [found[name].float() for name in names]
            slopes = torch._foreach_add(slopes, now, alpha=DECAY)
            kept = [moments[name] for name in names]
            torch._foreach_mul_(kept, MOMENTUM)
            torch._foreach_add_(kept, slopes)
            torch._foreach_add_(now, kept, alpha=-RATE)

    return step


class Run:
    def __init__(self, request, device):
        job, mode = request["job"], request["mode"]
        self.trials = request.get("trials", 1) if mode.startswith("vmap") else 1
        torch._dynamo.reset()
        self.subject = subject = Subject(job, device)
        if mode.startswith("vmap"):
            step = many_trials(job, subject, self.trials)
            if "compile" in mode:
                step = torch.compile(step, dynamic=False)
        else:
            step = one_trial(job, subject, "compile" in mode)
        shape = (self.trials, subject.batch) if self.trials > 1 or "vmap" in mode else (
            subject.batch,)
        self.index = torch.empty(shape, dtype=torch.long, device=device)
        self.samples = job["samples"]
        self.index.random_(self.samples)
        self.graph = None
        if device == "cuda":
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM):
                    step(self.index)
            torch.cuda.current_stream().wait_stream(side)
            torch.cuda.synchronize()
            if "graph" in mode:
                self.graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self.graph):
                    step(self.index)
        else:
            for _ in range(2):
                step(self.index)
        self.step = step

    def once(self):
        self.index.random_(self.samples)
        if self.graph:
            self.graph.replay()
        else:
            self.step(self.index)

    def measure(self, seconds):
        self.subject.synchronize()
        start, steps = time.perf_counter(), 0
        while True:
            for _ in range(20 if self.subject.device == "cuda" else 1):
                self.once()
                steps += 1
            # Work may be asked for ahead of the device, but not without end.
            self.subject.synchronize()
            passed = time.perf_counter() - start
            if passed >= seconds:
                break
        images = steps * self.trials * self.subject.batch
        return {"images_per_second": images / passed, "milliseconds": 1e3 * passed / steps}


def answer(request, device, state):
    if "job" in request:
        start = time.perf_counter()
        state.pop("run", None)
        if device == "cuda":
            torch.cuda.empty_cache()
        state["run"] = Run(request, device)
        return {"ready": time.perf_counter() - start}
    return state["run"].measure(request["seconds"])


def main():
    device = sys.argv[1]
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch finds no GPU")
    if device == "cpu":
        torch.set_num_threads(1)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    # What the compiler and others print goes where errors go: answers are alone on the output.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(torch.__version__, file=out, flush=True)
    state = {}
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line), device, state)
        except Exception as error:  # of any kind: the next request may work
            reply = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        print(json.dumps(reply), file=out, flush=True)


if __name__ == "__main__":
    main()
