"""
What Ctrl-C and SIGTERM do to a command, from its first moment to its last.

    while the command's modules load     one line, and the end: nothing is open yet
    while it works                       one line, then what is open is tidied up on the way
                                         out, which may wait for a network; a second signal
                                         ends it at once
    while a daemon works (`stopped_by`)  it is told to stop, and does so in order

Nothing slow is imported here, so that the handlers stand before the first slow import.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from litekeep.errors import EXIT_INTERRUPTED, EXIT_TERMINATED

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Terminated(BaseException):
    """SIGTERM came; what is open is closed on the way out."""


def end_at_once() -> None:
    """Let a signal end the process at once, with one line."""
    for number in _NUMBERS:
        signal.signal(number, _end)


@contextlib.contextmanager
def tidied_up() -> Iterator[None]:
    """Let a signal raise `KeyboardInterrupt` or `Terminated` while the context lasts."""
    previous = {number: signal.signal(number, _raise) for number in _NUMBERS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def stopped_by(stop: Callable[[], object]) -> Iterator[None]:
    """Let the first signal call *stop* while the context lasts; the second ends at once."""

    def hear(number: int, frame: FrameType | None) -> None:
        for each in _NUMBERS:
            signal.signal(each, signal.SIG_DFL)
        _say(2, "stopping (a second signal: at once)")
        stop()

    previous = {number: signal.signal(number, hear) for number in _NUMBERS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def stopped_fields(code: int) -> dict[str, Any]:
    """Return the end by a signal as JSON shows an error."""
    is_terminated = code == EXIT_TERMINATED
    return {
        "code": code,
        "kind": "Terminated" if is_terminated else "Interrupted",
        "message": "the command was terminated" if is_terminated else "the command was interrupted",
        "hint": "Run it again; what was left half done is tidied up.",
    }


def _end(number: int, frame: FrameType | None) -> None:
    is_terminated = number == signal.SIGTERM
    code = EXIT_TERMINATED if is_terminated else EXIT_INTERRUPTED
    _say(2, "terminated" if is_terminated else "interrupted")
    if "--json" in sys.argv:
        import json

        _say(1, json.dumps({"error": stopped_fields(code)}))
    os._exit(code)


def _raise(number: int, frame: FrameType | None) -> None:
    for each in _NUMBERS:
        signal.signal(each, signal.SIG_DFL)
    is_terminated = number == signal.SIGTERM
    word = "terminated" if is_terminated else "interrupted"
    _say(2, f"{word}; tidying up (a second time: at once)")
    raise Terminated if is_terminated else KeyboardInterrupt


def _say(descriptor: int, text: str) -> None:
    # Not through the stream: the signal may have come in the middle of a write to it.
    with contextlib.suppress(OSError):
        os.write(descriptor, f"{text}\n".encode())
