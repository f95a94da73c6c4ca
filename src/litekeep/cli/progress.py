"""
The view on a terminal: a bar for each stage, with rate and time left, then results.

The bar is drawn by the events themselves, so no thread of its own is needed.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from litekeep.cli import output
from litekeep.cli.lines import plain_lines
from litekeep.clock import monotonic
from litekeep.engine import events
from litekeep.units import show_size

SECONDS_BETWEEN_FRAMES = 0.1


class _Rate(ProgressColumn):
    """Bytes a second, in the units that all our sizes have."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{show_size(speed)}/s" if speed else "", style="progress.data.speed")


class Bar:
    """Shows events on a terminal; a context manager, for the bar has to be taken away."""

    def __init__(self, *, is_verbose: bool) -> None:
        self._is_verbose = is_verbose
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            DownloadColumn(binary_units=True),
            _Rate(),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._tasks: dict[str, TaskID] = {}
        self._drawn_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._take_away()

    def hear(self, event: events.Event) -> None:
        match event:
            case events.Progress(stage, done, total):
                self._move(stage, done, total)
            case events.Integrity(result, detail) if result != "ok":
                self._note("yellow", f"integrity: {result}" + (f": {detail}" if detail else ""))
            case events.Stored(place, _):
                self._note("green", f"saved {place}")
            case events.StoreFailed(store, message, hint):
                self._note("red", f"failed {store}: {message}")
                self._hint(hint)
            case events.Note(text):
                self._note("", text)
            case events.Warned(message, hint):
                self._note("yellow", f"warning: {message}")
                self._hint(hint)
            case events.ServiceStopped() | events.ServiceStarted() | events.CheckedInPlace():
                for line in plain_lines(event):
                    self._note("", line)
            case events.LatestMoved(store) if self._is_verbose:
                self._note("", f"latest of {store} is this snapshot now")
            case events.Integrity() | events.Compressed() | events.LatestMoved():
                pass

    def say(self, text: str) -> None:
        self._take_away()
        output.line(text)

    def end(self, summary: str, last_line: str) -> None:
        self.say(summary)

    def _take_away(self) -> None:
        """Remove the bar, so that lines can be written; the next event draws it anew."""
        self._progress.stop()

    def _move(self, stage: str, done: int, total: int | None) -> None:
        task = self._tasks.get(stage)
        if task is None:
            task = self._tasks[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(task, completed=done, total=total)
        moment = monotonic()
        if moment - self._drawn_at >= SECONDS_BETWEEN_FRAMES or done == total:
            self._drawn_at = moment
            self._progress.start()
            self._progress.refresh()

    def _note(self, style: str, text: str) -> None:
        self._take_away()
        self._console.print(
            output.printable(text),
            style=style or None,
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def _hint(self, hint: str | None) -> None:
        if hint:
            self._note("", f"  {hint}")
