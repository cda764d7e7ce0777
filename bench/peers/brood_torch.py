"""Makes a PyTorch module of the `layers` of a brood block (docs/network.md).

The other scripts of this folder use it, so that both sides mean the same network. Arrays go by
brood's names and in brood's order of elements: [kernel rows, kernel columns, inputs, outputs].
"""
import torch
import torch.nn as nn
import torch.nn.functional as F


def pair(value):
    return tuple(value) if isinstance(value, list) else (value, value)


def reach(kernel, dilation):
    return (kernel - 1) * dilation + 1


class Sides:
    """Output size and padding of a window, (before, after) for height and width."""

    def __init__(self, sizes, windows, strides, same):
        self.out, self.padding = [], []
        for size, window, stride in zip(sizes, windows, strides):
            if not same:
                self.out.append((size - window) // stride + 1)
                self.padding.append((0, 0))
                continue
            out = -(-size // stride)
            total = max(0, (out - 1) * stride + window - size)
            self.out.append(out)
            self.padding.append((total // 2, total - total // 2))

    @property
    def symmetric(self):
        return all(before == after for before, after in self.padding)

    def of_torch(self):
        """For F.pad: left, right, top, bottom."""
        return [*self.padding[1], *self.padding[0]]


class AveragePool(nn.Module):
    """Counts only the pixels inside, with any padding."""

    def __init__(self, size, stride, sides):
        super().__init__()
        self.size, self.stride, self.padding = size, stride, sides.of_torch()

    def forward(self, x):
        def mean(values):
            return F.avg_pool2d(F.pad(values, self.padding), self.size, self.stride)
        return mean(x) / mean(torch.ones_like(x[:1, :1]))


class SqueezeExcite(nn.Module):
    def __init__(self, channels, ratio):
        super().__init__()
        self.reduce = nn.Linear(channels, max(1, channels // ratio))
        self.expand = nn.Linear(max(1, channels // ratio), channels)

    def forward(self, x):
        gate = torch.sigmoid(self.expand(F.relu(self.reduce(x.mean((2, 3))))))
        return x * gate[:, :, None, None]


class Residual(nn.Module):
    def __init__(self, body, projection, activation):
        super().__init__()
        self.body, self.projection, self.activation = body, projection, activation

    def forward(self, x):
        return self.activation(self.body(x) + (self.projection(x) if self.projection else x))


class Branches(nn.Module):
    def __init__(self, bodies):
        super().__init__()
        self.bodies = nn.ModuleList(bodies)

    def forward(self, x):
        return torch.cat([body(x) for body in self.bodies], 1)


class GlobalAverage(nn.Module):
    def forward(self, x):
        return x.mean((2, 3), keepdim=True)


def activation_of(name, slope=0.01, inplace=False):
    return {"none": nn.Identity, "relu": lambda: nn.ReLU(inplace=inplace),
            "leaky_relu": lambda: nn.LeakyReLU(slope), "gelu": lambda: nn.GELU("tanh"),
            "silu": nn.SiLU, "tanh": nn.Tanh}[name]()


class Builder:
    """exact: padding as brood has it, also where it is odd; else PyTorch's own, which is faster."""

    def __init__(self, data, exact):
        self.height, self.width, self.channels, self.classes = data
        self.exact = exact
        self.flat = False
        self.arrays = {}  # name: (tensor, order of its axes in brood, shape before that)
        self.states = {}

    def network(self, layers):
        body = self.list(layers, "layers.")
        return nn.Sequential(*body, *self.dense("", "classifier", self.classes))

    def list(self, layers, prefix):
        out = []
        for i, layer in enumerate(layers):
            (kind, settings), = layer.items()
            out += getattr(self, kind)(f"{prefix}{i}.", settings)
        return nn.Sequential(*out)

    def keep(self, name, tensor, axes=None, shape=None):
        self.arrays[name] = (tensor, axes, shape)

    def windowed(self, settings, key, stride, same):
        size, dilation = pair(settings[key]), pair(settings.get("dilation", 1))
        stride = pair(settings.get("stride", stride))
        windows = [reach(k, d) for k, d in zip(size, dilation)]
        sides = Sides((self.height, self.width), windows, stride, same)
        padding = tuple(max(both) for both in sides.padding)
        self.height, self.width = sides.out
        return size, dilation, stride, sides, padding

    def finish(self, prefix, settings):
        norm = self.batch_norm(prefix, {}) if settings.get("batch_norm") else []
        name = settings.get("activation", "none")
        return norm + ([activation_of(name, inplace=True)] if name != "none" else [])

    def convolution(self, prefix, name, settings, columns, groups):
        same = settings.get("padding", "same") == "same"
        size, dilation, stride, sides, padding = self.windowed(settings, "kernel", 1, same)
        apart = self.exact and not sides.symmetric
        made = nn.Conv2d(self.channels, columns, size, stride, 0 if apart else padding, dilation,
                         groups, bias=not settings.get("batch_norm", False))
        if groups == 1:
            self.keep(f"{prefix}{name}.weight", made.weight, (2, 3, 1, 0))
        else:
            self.keep(f"{prefix}{name}.weight", made.weight, (2, 3, 0, 1))
        if made.bias is not None:
            self.keep(f"{prefix}{name}.bias", made.bias)
        self.channels = columns
        return (([nn.ZeroPad2d(sides.of_torch())] if apart else []) + [made] +
                self.finish(prefix, settings))

    def conv(self, prefix, settings):
        return self.convolution(prefix, "conv", settings, settings["filters"], 1)

    def depthwise_conv(self, prefix, settings):
        return self.convolution(prefix, "depthwise_conv", settings, self.channels, self.channels)

    def dense(self, prefix, name, columns=None):
        settings = {} if columns else name
        name = name if columns else "dense"
        columns = columns or settings["units"]
        shape = (columns, self.channels, self.height, self.width)
        made = nn.Linear(self.channels * self.height * self.width, columns,
                         bias=not settings.get("batch_norm", False))
        self.keep(f"{prefix}{name}.weight", made.weight, (2, 3, 1, 0), shape)
        if made.bias is not None:
            self.keep(f"{prefix}{name}.bias", made.bias)
        before = [] if self.flat else [nn.Flatten()]
        self.flat, self.height, self.width, self.channels = True, 1, 1, columns
        return before + [made] + self.finish(prefix, settings)

    def max_pool(self, prefix, settings):
        same = settings.get("padding", "valid") == "same"
        size, _, stride, sides, padding = self.windowed(settings, "size", settings["size"], same)
        if sides.symmetric or not self.exact:
            return [nn.MaxPool2d(size, stride, padding)]
        return [nn.ConstantPad2d(sides.of_torch(), -torch.inf), nn.MaxPool2d(size, stride)]

    def avg_pool(self, prefix, settings):
        same = settings.get("padding", "valid") == "same"
        size, _, stride, sides, padding = self.windowed(settings, "size", settings["size"], same)
        if sides.symmetric or not self.exact:
            return [nn.AvgPool2d(size, stride, padding, count_include_pad=False)]
        return [AveragePool(size, stride, sides)]

    def global_avg_pool(self, prefix, settings):
        self.height = self.width = 1
        return [GlobalAverage()]

    def batch_norm(self, prefix, settings):
        made = (nn.BatchNorm1d if self.flat else nn.BatchNorm2d)(self.channels)
        self.keep(prefix + "batch_norm.scale", made.weight)
        self.keep(prefix + "batch_norm.shift", made.bias)
        self.states[prefix + "batch_norm.mean"] = (made, "running_mean")
        self.states[prefix + "batch_norm.variance"] = (made, "running_var")
        return [made]

    def dropout(self, prefix, settings):
        return [nn.Dropout(settings["rate"])]

    def activation(self, prefix, settings):
        return [activation_of(settings["name"], settings.get("slope", 0.01))]

    def flatten(self, prefix, settings):
        return []

    def squeeze_excite(self, prefix, settings):
        made = SqueezeExcite(self.channels, settings.get("ratio", 16))
        for part in ("reduce", "expand"):
            dense = getattr(made, part)
            self.keep(f"{prefix}squeeze_excite.{part}.weight", dense.weight, (1, 0))
            self.keep(f"{prefix}squeeze_excite.{part}.bias", dense.bias)
        return [made]

    def residual(self, prefix, settings):
        body = settings if isinstance(settings, list) else settings["body"]
        name = "relu" if isinstance(settings, list) else settings.get("activation", "relu")
        entry = (self.height, self.width, self.channels)
        made = self.list(body, prefix + "residual.")
        end = (self.height, self.width, self.channels)
        projection = None
        if entry != end:
            self.height, self.width, self.channels = entry
            stride = [next(s for s in range(1, size + 1) if -(-size // s) == out)
                      for size, out in zip(entry[:2], end)]
            projection = nn.Sequential(*self.conv(
                prefix + "projection.",
                {"filters": end[2], "kernel": 1, "stride": stride, "batch_norm": True}))
        return [Residual(made, projection, activation_of(name, inplace=True))]

    def branches(self, prefix, settings):
        entry = (self.height, self.width, self.channels)
        bodies, channels = [], 0
        for i, body in enumerate(settings):
            self.height, self.width, self.channels = entry
            bodies.append(self.list(body, f"{prefix}branches.{i}."))
            channels += self.channels
        self.channels = channels
        return [Branches(bodies)]


class Network:
    """module: height, width, channels and classes in `data`; arrays by brood's names."""

    def __init__(self, layers, data, exact=True):
        builder = Builder(data, exact)
        self.module = builder.network(layers)
        self.tensors, self.owners = builder.arrays, builder.states

    def states(self):
        """Running means and variances by name."""
        return {name: getattr(made, key) for name, (made, key) in self.owners.items()}

    def running(self):
        return self.states().values()

    def in_brood_order(self, name, tensor):
        _, axes, shape = self.tensors[name]
        tensor = tensor.detach().clone()
        if shape:
            tensor = tensor.reshape(shape)
        return (tensor.permute(axes) if axes else tensor).reshape(-1)

    def set(self, name, values):
        """values: a flat tensor in brood's order."""
        tensor, axes, shape = self.tensors[name]
        with torch.no_grad():
            view = tensor.view(shape) if shape else tensor
            view = view.permute(axes) if axes else view
            view.copy_(values.reshape(view.shape))


def optimizer_of(settings, parameters, fused=False):
    extra = {"fused": True} if fused else {}
    extra["lr"] = settings["learning_rate"]
    if "weight_decay" in settings:
        extra["weight_decay"] = settings["weight_decay"]
    name = settings["name"]
    if name == "sgd":
        return torch.optim.SGD(parameters, momentum=settings.get("momentum", 0.0),
                               nesterov=settings.get("nesterov", False), **extra)
    if name == "rmsprop":
        return torch.optim.RMSprop(parameters, alpha=settings.get("alpha", 0.99),
                                   eps=settings.get("epsilon", 1e-8),
                                   momentum=settings.get("momentum", 0.0), **extra)
    kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
    betas = (settings.get("beta1", 0.9), settings.get("beta2", 0.999))
    return kind(parameters, betas=betas, eps=settings.get("epsilon", 1e-8), **extra)
