"""
SQLite's check of a view, in a child process.

There it may read the files by itself, with a memory and a processor time that are
bounded, and neither process slows the other down.

    parent                                  child (``python -m litekeep.sqlite.checking``)
      a line of JSON, the view    --->        checks it
      a line of JSON, the result  <---        answers
      standard input stays open               ends at its end of file, so that it
                                              never outlives a parent that was killed
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
from dataclasses import asdict

from litekeep import workers
from litekeep.errors import CorruptionError, DatabaseUnusable, LitekeepError
from litekeep.sqlite.check import (
    INCONCLUSIVE,
    Check,
    bound_memory,
    check_main,
    check_view,
    raw_reader,
)
from litekeep.sqlite.view import View

#: Processor time for the check of a view, many times what it takes.
CHECK_SECONDS_MIN = 300
CHECK_SECONDS_PER_GIB = 60


class CheckProcess:
    """
    SQLite's check of a view, in a child process.

    The caller keeps the view's mark until `result` has returned.
    """

    def __init__(self, view: View) -> None:
        try:
            self._process = workers.start_python(
                ["-m", "litekeep.sqlite.checking"], environ=os.environ, is_piped=True
            )
        except OSError as error:
            raise DatabaseUnusable(
                f"the check of {view.path} cannot be started: {error.strerror}",
                hint="Free some memory or processes; --no-check leaves it out.",
            ) from error
        message = asdict(view) | {"salts": view.salts.hex()}
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended at once: `result` says so
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def result(self) -> Check:
        """
        Wait for the child's answer.

        Raises:
            CorruptionError: The child found that the view is lost.

            DatabaseUnusable: It could not read the files.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self.end()
        if not line.endswith("\n"):  # nothing, or half of it
            return Check(INCONCLUSIVE, _how_it_ended(self._process.returncode), {})
        answer = json.loads(line)
        if "error" in answer:
            kind = CorruptionError if answer["is_damage"] else DatabaseUnusable
            raise kind(answer["error"], hint=answer["hint"])
        return Check(**answer)

    def end(self) -> None:
        """End the child, whatever it does."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def _how_it_ended(status: int) -> str:
    if status == -signal.SIGXCPU:
        return "the check took too much processor time"
    return f"the check ended without an answer ({status})"


def _bound(size: int) -> None:
    """Bound what a hostile database of *size* bytes can make SQLite do."""
    bound_memory()
    seconds = CHECK_SECONDS_MIN + CHECK_SECONDS_PER_GIB * (size >> 30)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    if hard == resource.RLIM_INFINITY or seconds < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, hard))


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


def _check_for_parent() -> None:
    message = json.loads(sys.stdin.buffer.readline())
    view = View(**(message | {"salts": bytes.fromhex(message["salts"])}))
    workers.in_thread(_end_with_parent)
    _bound(view.size)
    try:
        with raw_reader(view) as read:
            check = check_view(view, read) if view.frame_count else check_main(view)
        answer: dict[str, object] = asdict(check)
    except (LitekeepError, OSError) as error:
        answer = {
            "error": str(error),
            "hint": getattr(error, "hint", None),
            "is_damage": isinstance(error, CorruptionError),
        }
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    os._exit(0)  # an ordinary exit would wait for the thread that reads standard input


if __name__ == "__main__":
    _check_for_parent()
