"""The networks of the comparison, as `layers` of a brood block."""


def conv(filters, kernel=3, stride=1, norm=True, activation="relu"):
    out = {"filters": filters, "kernel": kernel, "stride": stride, "activation": activation}
    return {"conv": dict(out, batch_norm=True) if norm else out}


def block(filters, stride=1):
    return {"residual": [conv(filters, stride=stride), conv(filters, activation="none")]}


POOL = {"max_pool": {"size": 2}}
AVERAGE = {"global_avg_pool": {}}
FASHION = (28, 28, 1, 10)  # height, width, channels, classes
CIFAR = (32, 32, 3, 10)

NETS = {
    "w1": (FASHION, [conv(32, 5, norm=False), POOL, conv(64, 5, norm=False), POOL,
                     {"dense": {"units": 1024, "activation": "relu"}}, {"dropout": {"rate": 0.5}}]),
    "w2": (CIFAR, [conv(32), conv(32), POOL, conv(64), conv(64), POOL, conv(128), AVERAGE]),
    "w3": (FASHION, [conv(8, norm=False), POOL, conv(16, norm=False), POOL]),
    # He and others, "Deep residual learning", CVPR 2016: 20 layers, width 16.
    "resnet20": (CIFAR, [conv(16)] + [block(16)] * 3 + [block(32, 2)] + [block(32)] * 2 +
                 [block(64, 2)] + [block(64)] * 2 + [AVERAGE]),
    # Strides instead of pools, and widths that no vector divides.
    "stride": (CIFAR, [conv(20), conv(36, stride=2), conv(36), conv(52, stride=2), conv(52),
                       conv(76, stride=2), AVERAGE]),
}
