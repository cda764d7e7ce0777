"""What the stages of bench/gpu/check run programs with."""
import os
import pathlib
import shutil
import signal
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Missing(Exception):
    """The stage cannot run here."""


def run(command, limit, environment=None):
    """Its output; raises with the last lines when it fails or takes longer than `limit` seconds."""
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
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            raise RuntimeError(f"took longer than {limit} s:\n{last_lines(output)}") from None
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode != 0:
        raise RuntimeError(f"status {process.returncode}:\n{last_lines(output)}")
    return output


def last_lines(text, count=25):
    return "\n".join(text.splitlines()[-count:])


def tool(name, *places):
    for place in (shutil.which(name), *places):
        if place and os.access(place, os.X_OK):
            return place
    raise Missing(f"{name} is not there")
