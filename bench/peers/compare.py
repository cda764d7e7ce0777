#!/usr/bin/env python3
"""How fast brood trains on one core, against PyTorch in its best mode.

    compare.py --driver BUILD/bench/peers_driver [--python PYTHON_WITH_TORCH] [--core 1]
               [--rounds 5] [--seconds 1] [--nets w1,w2,w3] [--batches 64,128]
               [--optimizers sgd,adam] [--modes default,channels_last,compile,compile_channels_last] [--sets avx512,...]

All contestants of a case are started on the same core and asked in turn, round after round; a
figure is CPU time, a ratio is taken within a round, and the median over the rounds is printed. So
other work on the machine disturbs all of them alike. "of peak" counts the operations of direct
convolutions against the core's measured fused multiply-adds; Winograd needs fewer, so it can pass
100 %. Memory is the peak resident size of the process, PyTorch's libraries included.
"""
import argparse
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


class Peer:
    def __init__(self, command, core):
        environment = dict(os.environ, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
        self.process = subprocess.Popen(
            ["taskset", "-c", str(core)] + command, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)

    def line(self):
        return self.process.stdout.readline().split()

    def ask(self, seconds):
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return [float(word) for word in self.line()]

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def compare(options, net, batch, optimizer):
    words = [net, str(batch), optimizer]
    peers = {}
    for name in options.sets.split(","):
        peer = Peer([options.driver] + words + ([] if name == "best" else [name]), options.core)
        flops = float(peer.line()[0])
        peers["brood" if name == "best" else f"brood {name}"] = peer
    for mode in options.modes.split(",") if options.modes else []:
        peer = Peer([options.python, os.path.join(HERE, "torch_peer.py")] + words + [mode],
                    options.core)
        version = peer.line()
        if version:
            peers[f"torch {version[0]} {mode}"] = peer
        else:
            print(f"  torch {mode}: does not run here", file=sys.stderr)
    peak_peer = Peer([options.driver, "peak"], options.core)
    rounds, peaks = [], []
    for _ in range(options.rounds):
        peaks.append(peak_peer.ask(1)[0])
        rounds.append({name: peer.ask(options.seconds) for name, peer in peers.items()})
    for peer in list(peers.values()) + [peak_peer]:
        peer.end()
    peak = statistics.median(peaks)
    base = next(iter(peers))
    print(f"{net} batch {batch} {optimizer}   (peak {peak:.0f} GFLOP/s)")
    for name in peers:
        step = statistics.median(r[name][0] for r in rounds)
        best = min(r[name][1] for r in rounds)
        ratio = statistics.median(r[name][0] / r[base][0] for r in rounds)
        memory = max(r[name][2] for r in rounds)
        rate = flops * batch / step * 1e-6
        share = f"{100 * rate / peak:4.0f} % of peak" if peak else ""
        print(f"  {name:32} {step:8.2f} ms (best {best:8.2f}) {1e3 * batch / step:9.0f} images/s "
              f"{share}  x {ratio:5.2f}  {memory:6.0f} MiB", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--driver", required=True)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--nets", default="w1,w2,w3")
    parser.add_argument("--batches", default="64,128")
    parser.add_argument("--optimizers", default="sgd,adam")
    parser.add_argument("--modes", default="default,channels_last,compile,compile_channels_last")
    parser.add_argument("--sets", default="best", help="kernel sets of brood, or direct")
    options = parser.parse_args()
    for net in options.nets.split(","):
        for batch in options.batches.split(","):
            for optimizer in options.optimizers.split(","):
                compare(options, net, int(batch), optimizer)


if __name__ == "__main__":
    main()
