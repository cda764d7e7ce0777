"""The convolutions of nets.json one by one: brood's kernels beside cuDNN's, in results and time.

    layers.py --list FILE            the distinct ones as networks, for gpu_kernels --nets FILE --dump
    layers.py --plans h200.json      cuDNN's plans for them, for a GPU that need not be there
    layers.py FOLDER [--device cuda|cpu] [--seconds S]
        FOLDER: of that dump, with what gpu_kernels printed in lines.json

Prints a line of JSON for each: microseconds of a trial's forward pass, input gradient and weight
gradient (brood: a share of all trials that are fused; cuDNN: the best of the heuristic's first plans,
one trial), and how far results lie from a convolution in double, in units of what bf16 may lose:
from 1 on they are wrong. On a CPU brood's results alone are looked at.
"""
import argparse
import json
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
NETS = ["plain", "resnet20", "tiny", "resnet18"]
PLANS = 2  # of cuDNN's heuristic that are tried
KINDS = ["forward", "input_gradient", "weight_gradient"]


# --- which ---

def convolutions(layers, shape):
    """(inputs, filters, kernel, stride, size) of each, and the shape behind them."""
    size, channels = shape
    for layer in layers:
        (kind, settings), = layer.items()
        if kind == "conv":
            stride, kernel = settings.get("stride", 1), settings["kernel"]
            yield channels, settings["filters"], kernel, stride, size
            size, channels = -(-size // stride), settings["filters"]
        elif kind == "max_pool":
            size //= settings["size"]
        elif kind == "residual":
            before, body = (channels, size), list(convolutions(settings, (size, channels)))
            yield from body
            for _, filters, _, stride, _ in body:
                size, channels = -(-size // stride), filters
            if (channels, size) != before:
                yield before[0], channels, 1, before[1] // size, before[1]


def as_networks():
    nets, out = json.loads((HERE / "nets.json").read_text()), {}
    for name in NETS:
        size, _, channels, classes = nets[name]["data"]
        for inputs, filters, kernel, stride, at in convolutions(nets[name]["layers"],
                                                               (size, channels)):
            conv = {"conv": {"filters": filters, "kernel": kernel, "stride": stride}}
            before = [] if inputs <= 3 else [{"conv": {"filters": inputs, "kernel": 1}}]
            out.setdefault(f"{kernel}x{kernel}-{inputs}-{filters}-{at}-{stride}", {
                "data": [at, at, min(inputs, 3), classes],
                "layers": [*before, conv, {"global_avg_pool": {}}]})
    return out


def show_plans(device):
    """A line for each convolution and kind: the engine and workspace of cuDNN's first plan."""
    import cudnn
    library, n, failed = cudnn.Cudnn(device), 128, 0
    print(f"cuDNN {library.version}")
    for name in as_networks():
        window, inputs, filters, size, stride = name.split("-")
        kernel, inputs, filters = int(window[0]), -(-int(inputs) // 8) * 8, int(filters)
        size, stride = int(size), int(stride)
        out = -(-size // stride)
        total = max(0, (out - 1) * stride + kernel - size)
        before, after = [total // 2] * 2, [total - total // 2] * 2
        for kind in KINDS:
            try:
                graph = library.graph(kind, [n, inputs, size, size],
                                      [filters, inputs, kernel, kernel], [n, filters, out, out],
                                      [stride] * 2, before, after)
                _, engine, bytes_wanted = library.plans(graph, 1)[0]
                print(f"{name:20} {kind:16} engine {engine}, {bytes_wanted} bytes")
            except cudnn.Refused as error:
                failed += 1
                print(f"{name:20} {kind:16} {error}")
    return 1 if failed else 0


# --- results ---

class Layer:
    def __init__(self, folder, line, device):
        import torch
        self.line, self.layer, self.torch = line, line["layer"], torch
        self.path, self.device = folder / line["net"], device
        tensors = self.layer["tensors"]
        self.x, self.y, self.dy = (self.load(name, tensors[name]) for name in ["x", "y", "dy"])
        self.dx = self.load("dx", tensors["dx"]) if "dx" in tensors else None
        inputs, outputs = tensors["x"][3], tensors["y"][3]
        rows, columns = self.layer["kernel"]
        self.w = self.floats("w").view(rows, columns, inputs, outputs)
        self.dw = self.floats("dw").view(rows, columns, inputs, outputs)
        self.bias = self.floats("bias")
        self.after = [(out - 1) * stride + kernel - at - before for out, stride, kernel, at, before
                      in zip(tensors["y"][1:3], self.layer["stride"], self.layer["kernel"],
                             tensors["x"][1:3], self.layer["pad"])]

    def raw(self, name, kind):
        data = bytearray(pathlib.Path(f"{self.path}.{name}").read_bytes())
        return self.torch.frombuffer(data, dtype=kind).to(self.device)

    def load(self, name, shape):
        n, height, width, _, pitch = shape
        return self.raw(name, self.torch.bfloat16).view(n, height, width, pitch)

    def floats(self, name):
        return self.raw(name, self.torch.float32)

    def differences(self):
        """The farthest element of each result, as a share of what is allowed."""
        torch, double = self.torch, self.torch.float64
        inputs, outputs = self.w.shape[2:]
        before, after = self.layer["pad"], self.after
        x = self.x[..., :inputs].to(double).permute(0, 3, 1, 2).requires_grad_()
        w = self.w.bfloat16().to(double).permute(3, 2, 0, 1).requires_grad_()
        padded = torch.nn.functional.pad(x, (before[1], after[1], before[0], after[0]))
        y = torch.nn.functional.conv2d(padded, w, stride=self.layer["stride"])
        y.backward(self.dy[..., :outputs].to(double).permute(0, 3, 1, 2))
        found = {"forward": far(self.y[..., :outputs],
                                (y + self.bias.view(1, -1, 1, 1)).permute(0, 2, 3, 1), 1 / 128),
                 "weight_gradient": far(self.dw, w.grad.permute(2, 3, 1, 0), 1e-4)}
        if self.dx is not None:
            found["input_gradient"] = far(self.dx[..., :inputs], x.grad.permute(0, 2, 3, 1), 1 / 128)
        self.wanted = {"y": y, "dx": x.grad, "dw": w.grad}
        return found

    # --- time ---

    def ours(self):
        """Microseconds of a trial, by kind."""
        prefix, found = self.layer["pointer"] + ": ", {}
        for launch in self.line["launches"]:
            name = launch["what"].removeprefix(prefix)
            if launch["what"] == name or not name.startswith(("halo", "tensor", "product")):
                continue
            weight = name.startswith(("halo_gradient", "tensor_weight", "product_weight"))
            kind = ("weight_gradient" if weight else
                    "forward" if "forward" not in found else "input_gradient")
            found[kind] = found.get(kind, 0.0) + launch["us"] / self.line["trials"]
        return found

    def theirs(self, library, kind):
        """cuDNN's: microseconds, engine, share of what is allowed."""
        torch = self.torch
        rows, columns, inputs, outputs = self.w.shape
        lanes_in, lanes_out = self.x.shape[3], self.y.shape[3]
        n, height, width, _ = self.x.shape
        w = torch.zeros(lanes_out, rows, columns, lanes_in, dtype=torch.bfloat16, device=self.device)
        w[:outputs, :, :, :inputs] = self.w.permute(3, 0, 1, 2)
        values = {"x": self.x.clone(), "w": w, "y": self.dy.clone()}
        written = {"forward": "y", "input_gradient": "x", "weight_gradient": "w"}[kind]
        values[written].fill_(float("nan"))
        graph = library.graph(kind, [n, lanes_in, height, width], [lanes_out, lanes_in, rows, columns],
                              [n, lanes_out, *self.y.shape[1:3]], self.layer["stride"],
                              self.layer["pad"], self.after)
        best = None
        for plan, engine, bytes_wanted in library.plans(graph, PLANS):
            space = torch.empty(max(bytes_wanted, 1), dtype=torch.uint8, device=self.device)
            pointers = {name: value.data_ptr() for name, value in values.items()}
            pack = library.pack(pointers, space.data_ptr())
            took = self.timed(library, plan, pack)
            best = min(best or (took, engine), (took, engine))
        got = {"y": values["y"][..., :outputs].permute(0, 3, 1, 2),
               "dx": values["x"][..., :inputs].permute(0, 3, 1, 2),
               "dw": values["w"][:outputs, :, :, :inputs].permute(0, 3, 1, 2)}
        name = {"forward": "y", "input_gradient": "dx", "weight_gradient": "dw"}[kind]
        return *best, far(got[name], self.wanted[name], 1 / 128)

    def timed(self, library, plan, pack, repeat=32):
        torch = self.torch
        library.stream(torch.cuda.current_stream().cuda_stream)
        library.execute(plan, pack)  # what is compiled or loaded is so now
        torch.cuda.synchronize()

        def several():
            library.stream(torch.cuda.current_stream().cuda_stream)
            for _ in range(repeat):
                library.execute(plan, pack)

        run = several  # as fast as they can be asked for, where they cannot be captured
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                several()
            run = graph.replay
        except Exception:  # of any kind
            torch.cuda.synchronize()
        run()
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(3):
            run()
        end.record()
        torch.cuda.synchronize()
        return 1e3 * start.elapsed_time(end) / 3 / repeat


def far(got, wanted, share):
    """What of the allowed distance the farthest element uses: below 1 it is right. Not a number: far."""
    got, wanted = got.to(wanted.dtype), wanted.detach()
    allowed = share * wanted.abs() + share / 8 * wanted.abs().max()
    found = ((got - wanted).abs() / allowed).nan_to_num(nan=1e9).max()
    return round(float(found), 4)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", nargs="?", type=pathlib.Path)
    parser.add_argument("--list", type=pathlib.Path)
    parser.add_argument("--plans", type=pathlib.Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    if options.list:
        nets = as_networks()
        options.list.write_text(json.dumps(nets))
        print(",".join(nets))
        return 0
    if options.plans:
        return show_plans(options.plans.read_text())
    import cudnn
    import torch
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    library = None
    if options.device == "cuda":
        torch.zeros(1, device="cuda")  # it brings its own cuDNN, which is the one found then
        library = cudnn.Cudnn()
    ends = time.monotonic() + options.seconds
    for text in (options.folder / "lines.json").read_text().splitlines():
        if time.monotonic() > ends:
            break
        layer = Layer(options.folder, json.loads(text), options.device)
        line = {"layer": layer.line["net"], "differences": layer.differences(),
                "brood_us": layer.ours(), "cudnn_us": {}, "engines": {}, "reasons": {}}
        for kind in KINDS if library else []:
            if kind == "input_gradient" and layer.dx is None:
                continue
            try:
                took, engine, apart = layer.theirs(library, kind)
                line["cudnn_us"][kind], line["engines"][kind] = took, engine
                line["differences"]["cudnn " + kind] = apart
            except Exception as error:  # of any kind: the next may work
                line["reasons"][kind] = f"{type(error).__name__}: {error}"[:200]
        print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
