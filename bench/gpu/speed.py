"""Images per second: brood over the number of fused trials and PyTorch, in turn in one run."""
import json
import pathlib
import statistics
import threading
import time

import torch_pool
from checks import Missing
from report import Short

HERE = pathlib.Path(__file__).resolve().parent
NETS = json.loads((HERE / "nets.json").read_text())
SMALL = ["--samples", 24, "--batch", 8, "--size", 8]  # for the emulator
BATCH, SAMPLES = 128, 50000 // 128 * 128
# Of an H200: times one eager process (its rate is the aggregate of trials one after another), and
# times the best that PyTorch does in any way measured here. resnet18: nothing is promised.
TARGETS = {"tiny": (20, 4), "plain": (8, 1.8), "resnet20": (12, 2)}
TRIALS = {"tiny": [1, 2, 4, 8, 16, 32, 64], "plain": [1, 2, 4, 8, 16, 32, 64],
          "resnet20": [1, 2, 4, 8, 16, 32, 64], "resnet18": [1, 2, 4, 8]}
ROUNDS = 2
MODE_LIMIT = 40  # seconds that a way of PyTorch may take to be ready


def named(mode, trials):
    return f"{mode} {trials}" if trials > 1 else mode


class Speed:
    def __init__(self, check):
        self.check = check
        self.server = self.compiling = None
        self.pools = {}  # plain and MPS; a text where there is none, with the reason
        self.torch = None

    def close(self):
        for one in [self.server, self.compiling, *self.pools.values()]:
            if hasattr(one, "close"):
                one.close()
        self.server = self.compiling = None
        self.pools = {}

    @property
    def torch_device(self):
        return "cpu" if self.check.emulated else "cuda"

    def job(self, net):
        height, width, channels, classes = NETS[net]["data"]
        if self.check.quick:
            height = width = 8
        return {"net": net, "layers": NETS[net]["layers"],
                "data": [height, width, channels, classes],
                "batch": 8 if self.check.quick else BATCH,
                "samples": 24 if self.check.quick else SAMPLES}

    def modes(self, net):
        if self.check.quick:
            return [("eager", 1), ("vmap_graph", 2)]
        one = [("eager", 1), ("graph", 1), ("compile", 1), ("compile_graph", 1)]
        several = [("vmap_graph", 8)] + ([("vmap_graph", 32)] if net == "tiny" else [])
        # What takes longest to compile comes last.
        return one + several + ([("vmap_compile_graph", 8)] if net != "resnet18" else [])

    def begin_compiling(self):
        """Beside the stages that come before; what it makes is kept in the compiler's cache."""
        why = torch_pool.finds_torch(self.check.options.python)
        if why:
            raise Missing(why)
        requests = [{"job": self.job(net), "mode": mode, "trials": trials}
                    for net in NETS for mode, trials in self.modes(net)
                    if mode in ("compile", "vmap_compile_graph")]
        server = torch_pool.Server(self.check.options.python, self.torch_device)
        self.compiling = torch_pool.Compiling(server, requests)

    def not_compiled(self, net, mode):
        """Why a way that compiles is not measured; empty: it is."""
        if self.compiling is None or "compile" not in mode:
            return ""
        wanted = "compile" if mode == "compile_graph" else mode
        return "" if (net, wanted) in self.compiling.done else "it was not compiled in time"

    def start_torch(self, limit):
        """Why PyTorch is not measured; empty: it is."""
        if self.torch is None:
            self.torch = torch_pool.finds_torch(self.check.options.python)
        if self.torch or self.server:
            return self.torch
        until = time.monotonic() + limit
        try:
            self.server = torch_pool.Server(self.check.options.python, self.torch_device)
            self.version = self.server.line(until - time.monotonic())
        except (OSError, RuntimeError, TimeoutError) as error:
            if self.server:
                self.server.close()
            self.server = None
            return str(error)
        return ""

    def pool(self, kind):
        if kind not in self.pools:
            try:
                self.pools[kind] = self.make_pool(kind)
            except Exception as error:  # of any kind: it is measured without
                self.pools[kind] = f"{type(error).__name__}: {error}"
        return self.pools[kind]

    def make_pool(self, kind):
        count = 2 if self.check.quick else self.check.options.processes
        environment = {}
        if kind == "mps":
            if self.check.emulated:
                raise Missing("not on an emulated device")
            self.pools["mps_daemon"] = torch_pool.Mps(self.check.options.mps)
            environment = self.pools["mps_daemon"].environment
        return torch_pool.Pool(self.check.options.python, self.torch_device, count, environment)

    def brood(self, net, limit, trials=None, more=()):
        trials = trials or ([1, 2] if self.check.quick else TRIALS[net])
        words = [*more, "--net", net, "--trials", ",".join(map(str, trials)), "--rounds", 1]
        words += [*SMALL, "--seconds", 0.2] if self.check.quick else ["--seconds", 0.5]
        output = self.check.bench("gpu_speed", words, limit)
        return [json.loads(line) for line in output.splitlines() if line.startswith("{")]

    def chosen(self, net, limit):
        """What the trainer chooses by itself; None where time is short."""
        most = 2 if self.check.quick else max(TRIALS[net])
        words = ["--net", net, "--choose", most, "--rounds", 1]
        words += [*SMALL, "--seconds", 0.1] if self.check.quick else ["--seconds", 0.4]
        output = self.check.bench("gpu_speed", words, limit)
        return json.loads(output.splitlines()[-1])

    def one_process(self, net, mode, trials, limit):
        self.server.send({"job": self.job(net), "mode": mode, "trials": trials})
        ready = self.server.answer(limit)
        if "error" in ready:
            raise RuntimeError(ready["error"])
        self.server.send({"seconds": 0.3 if self.check.quick else 1.0})
        return self.server.answer(limit)["images_per_second"]

    def measure(self, net):
        self.check.require_device()
        quiet = self.compiling.quiet if self.compiling else threading.Lock()
        held = quiet.acquire(timeout=0.3 * self.check.left())  # what is being compiled ends first
        try:
            return self.measure_in_quiet(net)
        finally:
            if held:
                quiet.release()

    def measure_in_quiet(self, net):
        until = time.monotonic() + self.check.left()
        found = {"net": net, "batch": self.job(net)["batch"], "precision": "bf16"}
        why = self.start_torch(until - time.monotonic())
        curve, rates, reasons = {}, {}, {}
        modes = self.modes(net)
        for turn in range(1 if self.check.quick else ROUNDS):
            for line in self.brood(net, max(5, until - time.monotonic())):
                at = curve.setdefault(line["trials"], {**line, "rounds": []})
                at["rounds"] += line["rounds"]
            for mode, trials in [] if why else modes:
                name = named(mode, trials)
                reasons[name] = self.not_compiled(net, mode)
                if reasons[name]:
                    continue
                left = max(5, until - time.monotonic())
                try:
                    rate = self.one_process(net, mode, trials, min(left, MODE_LIMIT))
                    rates.setdefault(name, []).append(rate)
                except TimeoutError as error:  # its late answer would be taken for the next one's
                    reasons[name] = str(error)
                    self.server.close()
                    self.server = None
                    why = self.start_torch(max(5, until - time.monotonic()))
                    if why:
                        break
                except RuntimeError as error:
                    reasons[name] = str(error)
            if turn == 0 and not why:
                self.several(net, until, rates, reasons)
            # Again: what is compared, eager and the best.
            best = max(rates, key=lambda name: rates[name][0], default="")
            modes = [one for one in modes if named(*one) in ("eager", best)]
        reasons = {name: reason for name, reason in reasons.items() if reason}
        found["brood"] = [{**at, "images_per_second": statistics.median(at["rounds"])}
                          for at in curve.values()]
        most = max(found["brood"], key=lambda at: at["images_per_second"])["trials"]
        if until - time.monotonic() > 15:  # nobody's target: launches that overlap
            try:
                at = self.brood(net, 10, [1, most] if most > 1 else [1], ["--overlap"])
                found["overlap"] = {line["trials"]: line["images_per_second"] for line in at}
            except RuntimeError as error:
                found["overlap_failed"] = str(error)
        found["chosen"] = self.chosen(net, max(5, until - time.monotonic()))
        found["torch"] = {name: statistics.median(all_of) for name, all_of in rates.items()}
        found["torch_rounds"], found["torch_reasons"] = rates, reasons
        if why:
            found["torch_skipped"] = why
            return found
        found["torch_version"] = self.version
        return self.judged(net, found)

    def several(self, net, until, rates, reasons):
        for kind in ["processes", "mps"]:
            pool = self.pool(kind)
            if isinstance(pool, str):
                reasons[kind] = pool
                continue
            try:
                seconds = 0.3 if self.check.quick else 2.0
                rate = pool.together(self.job(net), seconds, max(5, until - time.monotonic()))
                rates[f"{kind} {len(pool.servers)}"] = [rate]
            except Exception as error:  # of any kind: it is measured without
                reasons[kind] = f"{type(error).__name__}: {error}"
                pool.close()
                self.pools[kind] = reasons[kind]

    def judged(self, net, found):
        best = max(found["brood"], key=lambda at: at["images_per_second"])
        ours = best["images_per_second"]
        found["best_trials"] = best["trials"]
        if "eager" not in found["torch"]:
            return found
        top = max(found["torch"], key=found["torch"].get)
        found["times_eager"] = ours / found["torch"]["eager"]
        found["torch_best"], found["times_best"] = top, ours / found["torch"][top]
        aggregate = [rate for name, rate in found["torch"].items() if name.startswith("processes")]
        if aggregate:
            found["times_processes"] = ours / aggregate[0]
        if self.check.emulated or net not in TARGETS:
            return found
        eager, most = found["targets"] = TARGETS[net]
        if found["times_eager"] < eager or found["times_best"] < most:
            raise Short(f"{found['times_eager']:.2f} times eager (wanted {eager}), "
                        f"{found['times_best']:.2f} times the best, {top} (wanted {most})", found)
        return found
