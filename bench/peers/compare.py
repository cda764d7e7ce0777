#!/usr/bin/env python3
"""How fast brood trains on one core, against PyTorch in its best modes.

    compare.py --all [--python PYTHON_WITH_TORCH]...

runs every net with SGD-momentum and Adam, in batches of 64 and 128, and then two trials on two
cores against one; one table is printed at the end. A mode of PyTorch that is far behind the best
in a net's first case sits out the others (--patient: none does). PyTorch comes from the Pythons
named: by default this one; a second --python is a second peer, such as Debian's (package
python3-torch). Takes five minutes on a quiet machine, the first time longer: PyTorch compiles.

All contestants of a case are pinned to the same core and asked in turn, round after round; a
figure is CPU time, a ratio is taken within a round, and the median over the rounds is printed. So
other work on the machine disturbs all of them alike. "peak" counts the operations of direct
convolutions against the core's measured fused multiply-adds; Winograd needs fewer, so it can pass
100 %. Memory is the peak resident size of the process in MiB, PyTorch's libraries included.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from nets import NETS

HERE = os.path.dirname(os.path.abspath(__file__))
DRIVER = os.path.join(HERE, "..", "..", "build", "release", "bench", "peers_driver")
FAR_BEHIND = 1.1
OPTIMIZERS = {"sgd": {"name": "sgd", "learning_rate": 1e-4, "momentum": 0.9},
              "adam": {"name": "adam", "learning_rate": 1e-4}}


class Peer:
    """A process that answers a line to each line it is given."""

    def __init__(self, name, command, core):
        self.name, self.alive, self.resting = name, True, False
        environment = dict(os.environ, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1",
                           TORCHINDUCTOR_COMPILE_THREADS="1")
        self.process = subprocess.Popen(["taskset", "-c", str(core)] + command,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, env=environment)

    def tell(self, text):
        try:
            self.process.stdin.write(text + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self.alive = False

    def line(self):
        words = self.process.stdout.readline().split() if self.alive else []
        self.alive = bool(words)
        return words

    def ask(self, text):
        self.tell(str(text))
        return self.line()

    def measure(self, seconds):
        return [float(word) for word in self.ask(seconds)]

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def brood(options, core, name="brood", kernel_set=None):
    return Peer(name, [options.driver] + ([kernel_set] if kernel_set else []), core)


def torch_peers(options):
    """All start at once; a mode that does not run with a Python is left out."""
    started = [(mode, Peer("", [python, os.path.join(HERE, "torch_peer.py"), mode], options.core))
               for python in options.python or [sys.executable]
               for mode in options.modes.split(",")]
    for mode, peer in started:
        version = peer.line()
        peer.name = f"torch {version[0].split('+')[0]} {mode}" if version else ""
    return [peer for _, peer in started if peer.alive]


def job(net, batch, optimizer, kernels="auto"):
    data, layers = NETS[net]
    return json.dumps({"data": data, "block": {
        "dataset": "fashion_mnist", "epochs": 1, "batch_size": batch, "kernels": kernels,
        "optimizer": OPTIMIZERS[optimizer], "layers": layers}})


def row(case, name, samples, base, flops, peak):
    """samples: of each round [median, best, memory]; base: those of brood."""
    batch = case[1]
    step = statistics.median(s[0] for s in samples)
    return {"net": case[0], "batch": batch, "optimizer": case[2], "peer": name, "step": step,
            "best": min(s[1] for s in samples), "images": 1e3 * batch / step,
            "peak": 1e-4 * flops * batch / step / peak if peak else 0.0,
            "memory": max(s[2] for s in samples),
            "ratio": statistics.median(s[0] / b[0] for s, b in zip(samples, base)),
            "best_ratio": min(s[1] for s in samples) / min(b[1] for b in base)}


def rest(peers, rows):
    """Those that need not be asked again for this net."""
    best = min((r["ratio"] for r in rows if r["peer"].startswith("torch")), default=0.0)
    for peer, r in zip(peers, rows):
        peer.resting = r["peer"].startswith("torch") and r["ratio"] > FAR_BEHIND * best


def compare(options, net, batch, optimizer, all_peers, peak_peer):
    case = (net, batch, optimizer)
    flops = 0.0
    peers = [peer for peer in all_peers if peer.alive and not peer.resting]
    for peer in peers:
        kernels = "direct" if peer.name == "brood direct" else "auto"
        answer = peer.ask(job(net, batch, optimizer, kernels))
        if answer and not flops:
            flops = float(answer[0])
    for peer in peers:
        if not peer.alive:
            print(f"{peer.name} does not run here", file=sys.stderr)
    peers = [peer for peer in peers if peer.alive]
    rounds, peaks = [], []
    for _ in range(options.rounds):
        peaks.append(peak_peer.measure(1)[0])
        rounds.append([peer.measure(options.seconds) for peer in peers])
    columns = list(zip(*rounds))
    rows = [row(case, peer.name, samples, columns[0], flops, statistics.median(peaks))
            for peer, samples in zip(peers, columns)]
    if not options.patient:
        rest(peers, rows)
    best = min(rows[1:], key=lambda r: r["ratio"], default=rows[0])
    print(f"{net:9} batch {batch:3} {optimizer:4}  {best['ratio']:5.2f} times {best['peer']}",
          file=sys.stderr, flush=True)
    return rows


def two_cores(options, net, batch, optimizer):
    """Two trials against one: 2 times the CPU time of a step alone over that beside another."""
    pair = [brood(options, core) for core in (options.core, options.other_core)]
    for peer in pair:
        peer.ask(job(net, batch, optimizer))
    found = []
    for _ in range(options.rounds):
        alone = pair[0].measure(options.seconds)[0]
        for peer in pair:
            peer.tell(str(options.seconds))
        found.append(2 * alone / statistics.mean(float(peer.line()[0]) for peer in pair))
    for peer in pair:
        peer.end()
    return statistics.median(found), max(found)


def print_table(rows):
    widest = max(len(r["peer"]) for r in rows)
    print(f"{'net':9} {'batch':>5} {'opt':4}  {'peer':{widest}} {'ms':>8} {'best':>8} "
          f"{'images/s':>9} {'% peak':>6} {'ratio':>6} {'of best':>7} {'MiB':>6}")
    case = None
    for r in rows:
        if case not in (None, (r["net"], r["batch"], r["optimizer"])):
            print()
        case = (r["net"], r["batch"], r["optimizer"])
        print(f"{r['net']:9} {r['batch']:5} {r['optimizer']:4}  {r['peer']:{widest}} "
              f"{r['step']:8.2f} {r['best']:8.2f} {r['images']:9.0f} {r['peak']:6.0f} "
              f"{r['ratio']:6.2f} {r['best_ratio']:7.2f} {r['memory']:6.0f}")


def print_summary(rows, scaling):
    print(f"\n{'net':9} {'batch':>5} {'opt':4}  {'brood is':>8} times  the best of PyTorch"
          f"{'':14} memory  two cores")
    for case in dict.fromkeys((r["net"], r["batch"], r["optimizer"]) for r in rows):
        own, *others = [r for r in rows if (r["net"], r["batch"], r["optimizer"]) == case]
        others = [r for r in others if r["peer"].startswith("torch")]
        if not others:
            continue
        best = min(others, key=lambda r: r["ratio"])
        least = min(r["memory"] for r in others)
        cores = "%.2f (best %.2f)" % scaling[case] if case in scaling else ""
        print(f"{case[0]:9} {case[1]:5} {case[2]:4}  {best['ratio']:8.2f} times  "
              f"{best['peer']:34} {own['memory'] / least:5.2f}  {cores}")


def parsed():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="all nets, with the two cores")
    parser.add_argument("--driver", default=DRIVER)
    parser.add_argument("--python", action="append")
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--other-core", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.4, help="of a peer in a round")
    parser.add_argument("--nets", default="w1,w2,w3")
    parser.add_argument("--batches", default="64,128")
    parser.add_argument("--optimizers", default="sgd,adam")
    parser.add_argument("--modes", default="default,channels_last,compile,compile_channels_last")
    parser.add_argument("--sets", default="",
                        help="kernel sets of brood beside the best, or direct")
    parser.add_argument("--patient", action="store_true", help="ask every mode in every case")
    parser.add_argument("--two-cores", action="store_true")
    parser.add_argument("--json", help="also write the rows to this file")
    options = parser.parse_args()
    if options.all:
        options.nets, options.two_cores = ",".join(NETS), True
    return options


def main():
    options = parsed()
    start = time.time()
    peers = [brood(options, options.core)]
    for name in filter(None, options.sets.split(",")):
        kernel_set = None if name == "direct" else name
        peers.append(brood(options, options.core, f"brood {name}", kernel_set))
    if options.modes:
        peers += torch_peers(options)
    peak_peer = Peer("peak", [options.driver, "peak"], options.core)
    cases = [(net, int(batch), optimizer) for net in options.nets.split(",")
             for batch in options.batches.split(",") for optimizer in options.optimizers.split(",")]
    rows, scaling = [], {}
    for case in cases:
        if case[1:] == cases[0][1:]:
            for peer in peers:
                peer.resting = False
        rows += compare(options, *case, peers, peak_peer)
    for peer in peers + [peak_peer]:
        peer.end()
    if options.two_cores:
        for case in cases:
            if case[1:] == cases[0][1:]:
                scaling[case] = two_cores(options, *case)
    print_table(rows)
    print_summary(rows, scaling)
    print(f"\n{time.time() - start:.0f} seconds", file=sys.stderr)
    if options.json:
        with open(options.json, "w") as out:
            json.dump({"rows": rows, "two_cores": {" ".join(map(str, k)): v
                                                   for k, v in scaling.items()}}, out, indent=1)


if __name__ == "__main__":
    main()
