"""What the stages of bench/gpu/check run programs with."""
import os
import pathlib
import shutil
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Missing(Exception):
    """The stage cannot run here."""


def run(command, limit, environment=None, log=None):
    """Its output; raises with the last lines when it fails or takes longer than `limit` seconds.
    log: a file that gets all of it."""
    start = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, why = process.communicate(timeout=limit)[0], ""
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, why = process.communicate()[0], f"took longer than {limit:.0f} s"
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    why = why or (f"status {process.returncode}" if process.returncode != 0 else "")
    if log:
        with open(log, "a", encoding="utf-8") as file:
            seconds = time.monotonic() - start
            file.write(f"$ {' '.join(map(str, command))}\n{output}\n"
                       f"[{why or 'ok'}, {seconds:.1f} s]\n\n")
    if why:
        raise RuntimeError(f"{why}:\n{telling_lines(output)}")
    return output


def telling_lines(text, count=25):
    """What says why a program failed: failures of GoogleTest and the sanitizer, then the end."""
    lines = text.splitlines()
    words = (": Failure", "[  FAILED  ]", "Invalid __", "hazard", "Device not supported")
    failures = [line for line in lines if any(word in line for word in words)][:8]
    return "\n".join(failures + lines[-count:])


def tool(name, *places):
    for place in (shutil.which(name), *places):
        if place and os.access(place, os.X_OK):
            return place
    raise Missing(f"{name} is not there")
