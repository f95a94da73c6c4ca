"""
A child process that answers one question about a database, within bounds.

There it may open the files by itself (its locks are its own), a hostile database takes
no more than its memory and processor time, and neither process slows the other down.

    parent                                  child (``python -m litekeep.sqlite.<module>``)
      a line of JSON, the question  --->      works
      a line of JSON, the answer    <---      answers
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
from collections.abc import Callable, Mapping
from typing import Any

from litekeep import workers
from litekeep.errors import CorruptionError, DatabaseUnusable, LitekeepError

Question = Mapping[str, Any]
Answer = dict[str, Any]

#: Processor time, many times what the work takes.
SECONDS_MIN = 300
SECONDS_PER_GIB = 60


class Child:
    """
    A child process at work on one question.

    Args:
        module: Whose `serve` answers.

        question: What to answer; JSON values.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, module: str, question: Question) -> None:
        self._process = workers.start_python(["-m", module], environ=os.environ, is_piped=True)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended at once: `answer` says so
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()

    def answer(self) -> Answer | None:
        """
        Wait for the child's answer; None where it ended without one (see `ending`).

        Raises:
            CorruptionError: The child found that the bytes are not to be had.

            DatabaseUnusable: It could not read the files.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self.end()
        if not line.endswith("\n"):  # nothing, or half of it
            return None
        answer = json.loads(line)
        assert isinstance(answer, dict)
        if "error" in answer:
            kind = CorruptionError if answer["is_damage"] else DatabaseUnusable
            raise kind(answer["error"], hint=answer["hint"])
        return answer

    @property
    def ending(self) -> str:
        """What a child did that gave no answer: "the check " goes before it."""
        if self._process.returncode == -signal.SIGXCPU:
            return "took too much processor time"
        return f"ended without an answer ({self._process.returncode})"

    def end(self) -> None:
        """End the child, whatever it does."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def serve(work: Callable[[Question], Answer]) -> None:
    """Be the child: answer the one question, and end."""
    question = json.loads(sys.stdin.buffer.readline())
    workers.in_thread(_end_with_parent)
    try:
        answer = work(question)
    except (LitekeepError, OSError) as error:
        answer = {
            "error": str(error),
            "hint": getattr(error, "hint", None),
            "is_damage": isinstance(error, CorruptionError),
        }
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    os._exit(0)  # an ordinary exit would wait for the thread that reads standard input


def bound_processor_time(size: int) -> None:
    """Let this whole process take no more time than a database of *size* bytes can need."""
    seconds = SECONDS_MIN + SECONDS_PER_GIB * (size >> 30)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    if hard == resource.RLIM_INFINITY or seconds < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, hard))


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)
