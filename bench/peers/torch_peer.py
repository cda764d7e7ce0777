"""PyTorch's side of the comparison (see compare.py): one network, trained on request.

    torch_peer.py w1|w2|w3 batch sgd|adam default|channels_last|compile|compile_channels_last

Speaks as peers_driver does: a number of seconds per line in, "median best peak" per line out
(milliseconds of CPU time of a step, peak memory in MiB). The first line it prints is its version.
"""
import resource
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class W1(nn.Module):
    shape = (1, 28, 28)

    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(1, 32, 5, padding=2)
        self.c2 = nn.Conv2d(32, 64, 5, padding=2)
        self.d1 = nn.Linear(3136, 1024)
        self.d2 = nn.Linear(1024, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.c1(x)), 2)
        x = F.max_pool2d(F.relu(self.c2(x)), 2)
        return self.d2(F.dropout(F.relu(self.d1(x.flatten(1))), 0.5, self.training))


class W2(nn.Module):
    shape = (3, 32, 32)

    def __init__(self):
        super().__init__()
        widths = [3, 32, 32, 64, 64, 128]
        pairs = list(zip(widths, widths[1:]))
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for _, b in pairs)
        self.out = nn.Linear(128, 10)

    def forward(self, x):
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms)):
            x = F.relu(norm(conv(x)))
            if i in (1, 3):
                x = F.max_pool2d(x, 2)
        return self.out(x.mean((2, 3)))


class W3(nn.Module):
    shape = (1, 28, 28)

    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(1, 8, 3, padding=1)
        self.c2 = nn.Conv2d(8, 16, 3, padding=1)
        self.out = nn.Linear(784, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.c1(x)), 2)
        x = F.max_pool2d(F.relu(self.c2(x)), 2)
        return self.out(x.flatten(1))


def main():
    name, batch, optimizer, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = {"w1": W1, "w2": W2, "w3": W3}[name]().train()
    x = torch.randn(batch, *net.shape)
    y = torch.arange(batch) % 10
    if mode.endswith("channels_last"):
        net = net.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    if optimizer == "sgd":
        update = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9)
    else:
        update = torch.optim.Adam(net.parameters(), lr=1e-4)
    if mode.startswith("compile"):
        net = torch.compile(net)

    def step():
        update.zero_grad(set_to_none=True)
        F.cross_entropy(net(x), y).backward()
        update.step()

    for _ in range(3):
        step()
    print(torch.__version__, flush=True)
    for line in sys.stdin:
        times = []
        end = time.process_time() + float(line)
        now = time.process_time()
        while now < end or len(times) < 5:
            step()
            then = time.process_time()
            times.append((then - now) * 1e3)
            now = then
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(statistics.median(times), min(times), peak, flush=True)


if __name__ == "__main__":
    main()
