"""Processes of torch_speed.py, asked by bench/gpu/check."""
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time

SERVER = pathlib.Path(__file__).resolve().parent / "torch_speed.py"


def finds_torch(python):
    """Why this Python is no use; empty: it has PyTorch."""
    try:
        # To import it takes many seconds the first time: the processes that use it find out.
        look = "import sys, importlib.util as u; sys.exit(u.find_spec('torch') is None)"
        done = subprocess.run([python, "-c", look], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{python}: {error}"
    return "" if done.returncode == 0 else f"{python} has no PyTorch"


class Server:
    """One process. Answers are waited for so long and no longer."""

    def __init__(self, python, device, environment=None):
        self.errors = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(
            [python, str(SERVER), device], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.errors, env={**os.environ, **(environment or {})},
            start_new_session=True)
        self.pending = b""

    def send(self, request):
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def line(self, limit):
        until = time.monotonic() + limit
        while b"\n" not in self.pending:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise TimeoutError(f"no answer within {limit:.0f} s")
            found = os.read(self.process.stdout.fileno(), 65536)
            if not found:
                self.errors.seek(0)
                raise RuntimeError("PyTorch's process ended: " + self.errors.read()[-300:])
            self.pending += found
        answer, self.pending = self.pending.split(b"\n", 1)
        return answer.decode()

    def answer(self, limit):
        return json.loads(self.line(limit))

    def close(self):
        if self.process.poll() is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()


class Compiling:
    """A process that fills the compiler's cache, a request at a time, while `quiet` is not held."""

    def __init__(self, server, requests):
        self.server, self.requests = server, requests
        self.quiet, self.done = threading.Lock(), set()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            self.server.line(120)  # the version
            for request in self.requests:
                with self.quiet:
                    self.server.send(request)
                    if "error" not in self.server.answer(300):
                        self.done.add((request["job"]["net"], request["mode"]))
        except (OSError, RuntimeError, TimeoutError, ValueError):
            pass  # what is missing is not measured

    def close(self):
        self.server.close()
        self.thread.join(10)


class Pool:
    """Several processes that train the same at a time."""

    def __init__(self, python, device, count, environment=None):
        self.servers = []
        try:
            for _ in range(count):
                self.servers.append(Server(python, device, environment))
            self.versions = [server.line(120) for server in self.servers]
        except Exception:
            self.close()
            raise

    def together(self, job, seconds, limit):
        """Images a second of all, one trial each, eager."""
        for request in ({"job": job, "mode": "eager"}, {"seconds": seconds}):
            for server in self.servers:
                server.send(request)
            answers = [server.answer(limit) for server in self.servers]
            for answer in answers:
                if "error" in answer:
                    raise RuntimeError(answer["error"])
        return sum(answer["images_per_second"] for answer in answers)

    def close(self):
        for server in self.servers:
            server.close()


class Mps:
    """A daemon of NVIDIA's Multi-Process Service: one that runs, or one of our own."""

    def __init__(self, start):
        self.folder = None
        control = shutil.which("nvidia-cuda-mps-control")
        if not control:
            raise FileNotFoundError("nvidia-cuda-mps-control is not there")
        self.control = control
        self.environment = {}
        if self.answers():
            return
        if not start:
            raise FileNotFoundError("no MPS daemon runs; --mps starts one for this")
        self.folder = tempfile.mkdtemp(prefix="brood-mps-")
        self.environment = {"CUDA_MPS_PIPE_DIRECTORY": self.folder,
                            "CUDA_MPS_LOG_DIRECTORY": self.folder}
        subprocess.run([control, "-d"], env={**os.environ, **self.environment}, check=True,
                       timeout=20, capture_output=True)

    def answers(self):
        done = subprocess.run([self.control], input="get_server_list\n", text=True,
                              env={**os.environ, **self.environment}, timeout=20,
                              capture_output=True)
        return done.returncode == 0 and "Cannot find MPS" not in done.stdout + done.stderr

    def close(self):
        if self.folder:
            subprocess.run([self.control], input="quit\n", text=True, timeout=20,
                           env={**os.environ, **self.environment}, capture_output=True)
            shutil.rmtree(self.folder, ignore_errors=True)
