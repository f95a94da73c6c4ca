"""
An engine's events, shown: a moving bar on a terminal, plain lines elsewhere.

    a terminal      bar with rate and time left (standard error), then a summary
    cron, a pipe    one line an event, as the guide's script wrote them:
                        [sqlite-backup] Integrity: ok
    --json          nothing here; warnings on standard error
    --quiet         nothing but warnings
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Protocol

from litekeep.cli import output
from litekeep.cli.lines import plain_lines
from litekeep.cli.options import Options
from litekeep.engine import events


class Shown(Protocol):
    """Shows events to somebody."""

    def hear(self, event: events.Event) -> None:
        """Show one event."""

    def say(self, text: str) -> None:
        """Show a line of the command's own."""

    def end(self, summary: str, last_line: str) -> None:
        """Say that all went well: *summary* to a person, *last_line* to a log."""


@contextlib.contextmanager
def listener(options: Options, *, prefix: str, about: str = "") -> Iterator[Shown]:
    """
    Show events while the context lasts.

    Args:
        options: The common options.

        prefix: Of plain lines.

        about: Which database of several; what stands alone says so.
    """
    if options.is_json or options.is_quiet:
        yield _Warnings(about)
    elif output.is_terminal(sys.stdout, sys.stderr):
        # rich costs 60 ms to import: only a terminal pays.
        from litekeep.cli.progress import Bar

        with Bar(is_verbose=options.is_verbose) as bar:
            yield bar
    else:
        lines = PlainLines(prefix, is_verbose=options.is_verbose)
        try:
            yield lines
        finally:
            lines.catch_up()


class _Warnings:
    """Shows what wants attention, on standard error, and which database it is about."""

    def __init__(self, about: str) -> None:
        self._start = f"warning: {about}: " if about else "warning: "

    def hear(self, event: events.Event) -> None:
        match event:
            case events.Warned(message, hint):
                output.line(f"{self._start}{message}", is_error=True)
                if hint:
                    output.line(f"hint: {hint}", is_error=True)
            case _:
                pass

    def say(self, text: str) -> None:
        pass

    def end(self, summary: str, last_line: str) -> None:
        pass


class PlainLines:
    """
    One line an event, with a prefix.

    That `latest` moved is said once, behind the last store, as the guide's script did.
    """

    def __init__(self, prefix: str, *, is_verbose: bool) -> None:
        self._prefix = prefix
        self._is_verbose = is_verbose
        self._moved: events.LatestMoved | None = None

    def hear(self, event: events.Event) -> None:
        if isinstance(event, events.Note) and not self._is_verbose:
            return  # who reads the guide's lines by machine gets those and no others
        if isinstance(event, events.LatestMoved):
            self._moved = event
            return
        self._show(event)

    def catch_up(self) -> None:
        """Say what waited for the last store."""
        if self._moved is not None:
            self._show(self._moved)
            self._moved = None

    def end(self, summary: str, last_line: str) -> None:
        self.catch_up()
        if self._is_verbose:
            self.say(summary)
        self.say(last_line)

    def say(self, text: str) -> None:
        output.line(f"[{self._prefix}] {text}")

    def _show(self, event: events.Event) -> None:
        for text in plain_lines(event):
            self.say(text)
