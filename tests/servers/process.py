"""
Starting a server for tests, and making sure that it ends with them.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

READY_SECONDS_MAX = 60.0
END_SECONDS_MAX = 30.0
_PR_SET_PDEATHSIG = 1


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listened on a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _die_with_parent(end: signal.Signals) -> None:
    # Killed tests must not leave servers behind.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, end)


@contextlib.contextmanager
def running(
    command: Sequence[str],
    *,
    log: Path,
    is_ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
    end: signal.Signals = signal.SIGKILL,
) -> Iterator[subprocess.Popen[bytes]]:
    """
    Run *command* until the context ends; wait until *is_ready*.

    A server is ended with SIGKILL, if *end* says nothing else: its data is thrown away,
    and a clean stop can take long (17 s for SeaweedFS).
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=lambda: _die_with_parent(end),
        )
    try:
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{command[0]} did not start:\n{tail}")
            time.sleep(0.05)  # nothing tells when a port of another process opens
        yield process
    finally:
        process.send_signal(end)
        try:
            process.wait(END_SECONDS_MAX)
        finally:
            process.kill()
            process.wait()


def answers(url: str) -> bool:
    """Tell whether an HTTP server answers at *url*, whatever it says."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
