"""
Threads and processes: the only module that starts any.

* Compression runs on threads: the libraries release the interpreter's lock.
* Calls to stores run on daemon threads while the main thread waits, because a
  blocking call of the client ignores Ctrl-C.
* A process is a fresh interpreter, never a fork: SQLite connections and the store
  client do not survive one.  SQLite's check of a view is such a process
  (`sqlite/checking.py`).

It knows nothing of what the work is.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_LOOK_SECONDS = 0.2

Given = TypeVar("Given")
Made = TypeVar("Made")


def core_count() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_thread(work: Callable[[], Made]) -> Future[Made]:
    """Run *work* on a daemon thread of its own."""
    future: Future[Made] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 (the waiting thread gets it)
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def ordered(
    work: Callable[[Given], Made], inputs: Iterable[Given], *, threads: int
) -> Iterator[Made]:
    """
    Yield ``work(input)`` for each input in turn, made on several threads.

    At most two inputs more than threads are under way, so memory is bounded whatever
    the speed of either end.
    """
    pending: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for given in inputs:
                pending.append(pool.submit(work, given))
                if len(pending) >= threads + 2:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


@contextlib.contextmanager
def ahead(inputs: Iterable[Given], count_max: int) -> Iterator[Iterator[Given]]:
    """
    Produce *inputs* on a thread of its own, at most *count_max* ahead.

    The block gets an iterator over them; an exception of the producer comes out
    there.  When the block ends, the producer ends at its next input.
    """
    waiting: queue.Queue[Given | _End] = queue.Queue(count_max)
    stop = threading.Event()

    def hand_over(item: Given | _End) -> bool:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put(item, timeout=_LOOK_SECONDS)
                return True
        return False

    def produce() -> None:
        error: BaseException | None = None
        try:
            for item in inputs:
                if not hand_over(item):
                    break
        except BaseException as raised:  # noqa: BLE001 (raised again by the consumer)
            error = raised
        hand_over(_End(error))

    def consume() -> Iterator[Given]:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error

    in_thread(produce)
    try:
        yield consume()
    finally:
        stop.set()


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class Told:
    """How a program ended, and what it wrote to both its outputs."""

    code: int
    output: str


def run_program(command: Sequence[str], *, seconds_max: float) -> Told | None:
    """
    Run a program of the system to its end.

    Returns:
        None where there is no such program, or it did not end in time.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds_max,
            text=True,
            errors="replace",
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return Told(done.returncode, done.stdout)


def start_program(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """
    Start a program that has our standard input and outputs, and is waited for by the caller.

    Raises:
        OSError: There is no such program, or it may not be run.
    """
    return subprocess.Popen(command)


def start_python(
    arguments: Sequence[str],
    *,
    environ: Mapping[str, str],
    is_piped: bool,
    is_apart: bool = False,
    folder: Path | None = None,
) -> subprocess.Popen[str]:
    """
    Start this interpreter in a process of its own, with this package within reach.

    Args:
        arguments: Of the interpreter, for instance ``["-m", "litekeep", "list"]``.

        environ: Its environment.

        is_piped: Connect its standard input and output with pipes of ours.

        is_apart: In a session of its own: what ends this one's does not reach it.

        folder: Where it runs; here if not given.
    """
    pipe = subprocess.PIPE if is_piped else None
    return subprocess.Popen(
        [sys.executable, "-P", *arguments],
        stdin=pipe,
        stdout=pipe,
        cwd=folder,
        start_new_session=is_apart,
        env={**environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        text=True,
    )
