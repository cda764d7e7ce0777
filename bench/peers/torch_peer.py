"""PyTorch's side of the comparison (see compare.py): trains networks on request.

    torch_peer.py default|channels_last|compile|compile_channels_last

Speaks as peers_driver does. The first line it prints is PyTorch's version.
"""
import ctypes
import gc
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F

from brood_torch import Network, optimizer_of


def peak_mebibytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def forget():
    """Gives memory back and lets the peak begin anew."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")


def make_step(job, mode):
    height, width, channels, _ = job["data"]
    block = job["block"]
    batch = block["batch_size"]
    net = Network(block["layers"], job["data"], exact=False).module.train()
    x = torch.randn(batch, channels, height, width)
    y = torch.arange(batch) % job["data"][3]
    if mode.endswith("channels_last"):
        net = net.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    fused = int(torch.__version__.split(".")[0]) >= 2
    update = optimizer_of(block["optimizer"], net.parameters(), fused)
    if mode.startswith("compile"):
        torch._dynamo.reset()
        net = torch.compile(net, dynamic=False)

    def step():
        update.zero_grad(set_to_none=True)
        F.cross_entropy(net(x), y).backward()
        update.step()

    return step


def measure(step, seconds):
    times = []
    now = start = time.process_time()
    while now < start + seconds or len(times) < 2:
        step()
        then = time.process_time()
        times.append((then - now) * 1e3)
        now = then
    return statistics.median(times), min(times), peak_mebibytes()


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(torch.__version__, flush=True)
    step = None
    for line in sys.stdin:
        if line.startswith("{"):
            step = None
            forget()
            step = make_step(json.loads(line), sys.argv[1])
            for _ in range(2):
                step()
            print("ready", flush=True)
        else:
            print(*measure(step, float(line)), flush=True)


if __name__ == "__main__":
    main()
