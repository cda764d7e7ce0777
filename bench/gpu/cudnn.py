"""Convolutions by cuDNN's graph API in C (cudnn_graph.h of cuDNN 9), opened at run time: no header, no
compiler. Without a GPU plans can be made for one that is described by JSON."""
import ctypes
import glob
import os

# Of cudnn_graph_v9.h.
BFLOAT16, FLOAT = 9, 0
HANDLE, DATA_TYPE, INT64, TYPE_FLOAT, POINTER, CONV_MODE, HEUR_MODE, DESCRIPTOR, CHAR = (
    0, 1, 3, 4, 6, 7, 8, 15, 24)
CONVOLUTION, ENGINE, ENGINECFG, ENGINEHEUR, PLAN, FORWARD, FILTER, DATA, GRAPH, PACK, TENSOR, PROP = (
    1, 2, 3, 4, 5, 10, 11, 12, 15, 16, 17, 38)
MODE_A, CROSS_CORRELATION = 3, 1
# Of each kind of operation: its descriptor, the attributes for alpha, beta, convolution, and for
# x (or its gradient), weights and y.
KINDS = {"forward": (FORWARD, 700, 701, 702, 704, 703, 705),
         "input_gradient": (DATA, 706, 707, 708, 710, 709, 711),
         "weight_gradient": (FILTER, 712, 713, 714, 716, 715, 717)}
UIDS = {"x": 1, "w": 2, "y": 3}


class Refused(Exception):
    """cuDNN does not do it."""


def places():
    """Where libcudnn.so.9 may lie: what the loader knows, a toolkit, Python's packages."""
    yield "libcudnn.so.9"
    folders = ["/usr/local/cuda/lib64"]
    try:
        import nvidia  # a folder of packages, without code
        folders += [folder for path in nvidia.__path__ for folder in glob.glob(f"{path}/*/lib")]
    except ImportError:
        pass
    for folder in folders:
        yield os.path.join(folder, "libcudnn.so.9")


class Cudnn:
    """device: JSON of one that is not there; None: the first GPU, whose stream is given later."""

    def __init__(self, device=None):
        self.library = None
        for place in places():
            try:
                self.library = ctypes.CDLL(place)
                break
            except OSError:
                continue
        if self.library is None:
            raise Refused("there is no libcudnn.so.9")
        self.library.cudnnGetErrorString.restype = ctypes.c_char_p
        self.library.cudnnGetVersion.restype = ctypes.c_size_t
        self.version = self.library.cudnnGetVersion()
        self.handle = self.device = None
        if device is None:
            self.handle = ctypes.c_void_p()
            self.must(self.library.cudnnCreate(ctypes.byref(self.handle)), "cudnnCreate")
        else:
            self.device = self.make(PROP)
            self.set(self.device, 2702, CHAR, ctypes.c_char, device.encode(), len(device))
            self.finish(self.device)

    def must(self, status, what):
        if status:
            raise Refused(f"{what}: {self.library.cudnnGetErrorString(status).decode()}")

    def make(self, kind):
        out = ctypes.c_void_p()
        self.must(self.library.cudnnBackendCreateDescriptor(kind, ctypes.byref(out)), "descriptor")
        return out

    def set(self, descriptor, attribute, kind, c_type, values, count=None):
        if count is None:
            count = len(values)
            values = (c_type * count)(*values)
        self.must(self.library.cudnnBackendSetAttribute(
            descriptor, attribute, kind, ctypes.c_int64(count), values), f"attribute {attribute}")

    def refer(self, descriptor, attribute, *others):
        self.set(descriptor, attribute, DESCRIPTOR, ctypes.c_void_p, [one.value for one in others])

    def finish(self, descriptor):
        self.must(self.library.cudnnBackendFinalize(descriptor), "finalize")
        return descriptor

    def get(self, descriptor, attribute, kind, values):
        found = ctypes.c_int64()
        self.must(self.library.cudnnBackendGetAttribute(
            descriptor, attribute, kind, ctypes.c_int64(len(values)), ctypes.byref(found), values),
            f"attribute {attribute}")
        return found.value

    def tensor(self, uid, dims, data_type):
        """dims: N, C, H, W; as it lies: N, H, W, C."""
        n, c, h, w = dims
        out = self.make(TENSOR)
        self.set(out, 901, DATA_TYPE, ctypes.c_int, [data_type])
        self.set(out, 902, INT64, ctypes.c_int64, dims)
        self.set(out, 903, INT64, ctypes.c_int64, [h * w * c, 1, w * c, c])
        self.set(out, 906, INT64, ctypes.c_int64, [uid])
        self.set(out, 900, INT64, ctypes.c_int64, [16])
        return self.finish(out)

    def graph(self, kind, x, w, y, stride, before, after):
        conv = self.make(CONVOLUTION)
        self.set(conv, 100, DATA_TYPE, ctypes.c_int, [FLOAT])
        self.set(conv, 101, CONV_MODE, ctypes.c_int, [CROSS_CORRELATION])
        for attribute, values in [(106, [2]), (102, [1, 1]), (103, stride), (105, before),
                                  (104, after)]:
            self.set(conv, attribute, INT64, ctypes.c_int64, values)
        self.finish(conv)
        descriptor, alpha, beta, at_conv, at_x, at_w, at_y = KINDS[kind]
        operation = self.make(descriptor)
        self.refer(operation, at_conv, conv)
        for name, attribute, dims in [("x", at_x, x), ("w", at_w, w), ("y", at_y, y)]:
            self.refer(operation, attribute, self.tensor(UIDS[name], dims, BFLOAT16))
        self.set(operation, alpha, TYPE_FLOAT, ctypes.c_float, [1.0])
        self.set(operation, beta, TYPE_FLOAT, ctypes.c_float, [0.0])
        self.finish(operation)
        out = self.make(GRAPH)
        self.refer(out, 801, operation)
        if self.handle:
            self.set(out, 800, HANDLE, ctypes.c_void_p, [self.handle.value])
        return self.finish(out)

    def plans(self, graph, most):
        """The heuristic's first that can be made: (plan, engine, bytes of workspace)."""
        heuristic = self.make(ENGINEHEUR)
        self.refer(heuristic, 201, graph)
        self.set(heuristic, 200, HEUR_MODE, ctypes.c_int, [MODE_A])
        if self.device:
            self.refer(heuristic, 204, self.device)
        self.finish(heuristic)
        configs = (ctypes.c_void_p * 32)(*[self.make(ENGINECFG).value for _ in range(32)])
        out = []
        for i in range(self.get(heuristic, 202, DESCRIPTOR, configs)):
            plan = self.make(PLAN)
            self.refer(plan, 401, ctypes.c_void_p(configs[i]))
            if self.device:
                self.refer(plan, 407, self.device)
            else:
                self.set(plan, 400, HANDLE, ctypes.c_void_p, [self.handle.value])
            try:
                self.finish(plan)
            except Refused:
                continue
            engines = (ctypes.c_void_p * 1)(self.make(ENGINE).value)
            self.get(ctypes.c_void_p(configs[i]), 300, DESCRIPTOR, engines)
            number, workspace = (ctypes.c_int64 * 1)(), (ctypes.c_int64 * 1)()
            self.get(ctypes.c_void_p(engines[0]), 1301, INT64, number)
            self.get(plan, 402, INT64, workspace)
            out.append((plan, number[0], workspace[0]))
            if len(out) == most:
                break
        if not out:
            raise Refused("no plan can be made")
        return out

    def pack(self, pointers, workspace):
        """pointers: device addresses by the names of UIDS."""
        out = self.make(PACK)
        self.set(out, 1000, INT64, ctypes.c_int64, [UIDS[name] for name in pointers])
        self.set(out, 1001, POINTER, ctypes.c_void_p, list(pointers.values()))
        self.set(out, 1003, POINTER, ctypes.c_void_p, [workspace])
        return self.finish(out)

    def stream(self, stream):
        self.must(self.library.cudnnSetStream(self.handle, ctypes.c_void_p(stream)), "stream")

    def execute(self, plan, pack):
        self.must(self.library.cudnnBackendExecute(self.handle, plan, pack), "execute")
