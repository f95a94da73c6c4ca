"""
What a run of a command tells people, and when: the one place for all commands.

    with told("backup", settings) as run:
        ...
        run.ended("app", failure)       for each database

    start      a ping, in the background: nothing waits for it
    end        a ping, and an event for each database to every channel, all at once
    raised     the same with what was raised, also by Ctrl-C and SIGTERM
    exit 75    another run of the job is at work, and speaks for itself: nothing

Whatever cannot be told is a warning, and changes nothing of the run's outcome.  Where
nobody is to be told, nothing is done, and nothing loaded.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from litekeep.cli import output
from litekeep.cli.signals import Terminated
from litekeep.clock import monotonic, now
from litekeep.config.settings import Settings
from litekeep.errors import AlreadyRunning, LitekeepError, Stale

if TYPE_CHECKING:
    from litekeep.notices import Notices
    from litekeep.notify.channels import Ping, Signal
    from litekeep.notify.events import Event, Outcome, Wrong
    from litekeep.notify.telling import Untold, Work

#: Set in the units that we install, where the id of the run is one run's alone.
UNIT_VARIABLE = "LITEKEEP_UNIT"
RUN_VARIABLE = "INVOCATION_ID"

Heard = TypeVar("Heard")


@contextlib.contextmanager
def told(
    job: str, settings: Settings, *, is_on: bool = True, is_started: bool = True
) -> Iterator[Run]:
    """
    Tell how what runs in the context began and ended.

    Args:
        job: The command.

        settings: In force.

        is_on: False where nothing is done that anybody has to hear of.

        is_started: The run has begun now; False where it says so itself: see `Run.hears`.
    """
    run = Run(job, _notices(job, settings) if is_on else None)
    if is_started:
        run.start()
    try:
        yield run
    except BaseException as error:
        run.fail(error)
        raise
    run.finish()


class Run:
    """One run of one command."""

    def __init__(self, job: str, notices: Notices | None) -> None:
        self._job = job
        self._notices = notices
        self._begun = self._since = monotonic()
        self._ended: list[tuple[str, LitekeepError | None, float]] = []
        self._starting: list[Work] = []
        self._is_started = False
        self._is_elsewhere = False
        self.id = run_id(os.environ.get(RUN_VARIABLE) if UNIT_VARIABLE in os.environ else None)

    def start(self) -> None:
        """Say that the run has begun, once."""
        if self._is_started or self._notices is None:
            return
        self._is_started = True
        self._ping("start", "")

    def hears(self, hear: Callable[[Heard], None]) -> Callable[[Heard], None]:
        """
        Return *hear*, which at the first word of an engine says that the run has begun.

        So nobody is told of the beginning of a run that finds another one at work.
        """

        def first(event: Heard) -> None:
            self.start()
            hear(event)

        return first

    def ended(self, database: str, failure: LitekeepError | None) -> None:
        """Note how the run ended for one database."""
        before, self._since = self._since, monotonic()
        if isinstance(failure, AlreadyRunning):
            self._is_elsewhere = True
        else:
            self._ended.append((database, failure, self._since - before))

    def fail(self, error: BaseException) -> None:
        """Tell that the run was ended by *error*."""
        known = [failure for _, failure, _ in self._ended]
        if isinstance(error, AlreadyRunning):
            self._is_elsewhere = True
            self.finish()
        elif any(error is failure for failure in known):
            self.finish()
        else:
            self.finish(error)

    def finish(self, error: BaseException | None = None) -> None:
        """Tell how all ended; *error* ended the run itself."""
        if self._notices is None:
            return
        if not self._ended and error is None and self._is_elsewhere:
            return
        events = self._events(error)
        is_bad = any(event.wrong is not None for event in events)
        self._ping("fail" if is_bad else "success", _text(events))
        untold = [*self._notices.untold, *self._tell(events)]
        show_untold(untold)
        if not untold:
            self._note_run()

    def _ping(self, signal: Signal, text: str) -> None:
        from litekeep.notify.telling import Work

        assert self._notices is not None
        before = tuple(self._starting)
        for ping in self._notices.pings:

            def deed(ping: Ping = ping) -> None:
                # The end does not overtake the start.
                for work in before:
                    work.end(ping.seconds_max)
                ping.signal(signal, self.id, text)

            self._starting.append(Work(ping.name, deed))

    def _tell(self, events: list[Event]) -> list[Untold]:
        from litekeep.notify.telling import tell

        notices = self._notices
        assert notices is not None
        others = self._starting
        return tell(
            events, notices.channels, notices.memory, seconds_max=notices.seconds_max, others=others
        )

    def _events(self, error: BaseException | None) -> list[Event]:
        found = [
            event_of(self._job, database, self.id, wrong=_wrong(failure), seconds=seconds)
            for database, failure, seconds in self._ended
        ]
        seconds = monotonic() - self._begun
        if error is not None:
            whole = event_of(self._job, "", self.id, wrong=_wrong(error), seconds=seconds)
            return [*found, whole]
        if any(event.wrong is not None for event in found):
            return found
        # Where a whole run was said to have failed, this one says that it is over.
        return [*found, event_of(self._job, "", self.id, outcome="recovered", seconds=seconds)]

    def _note_run(self) -> None:
        notices = self._notices
        if notices is not None and os.environ.get(UNIT_VARIABLE):
            with contextlib.suppress(OSError):  # then it is told twice
                notices.memory.note_run(self._job, os.environ.get(RUN_VARIABLE, ""))


def run_id(invocation: str | None) -> str:
    """
    Return the id of a run, a UUID: that of systemd, which its failure handler knows too.

    >>> run_id("0123456789abcdef0123456789abcdef")
    '01234567-89ab-cdef-0123-456789abcdef'
    """
    try:
        return str(uuid.UUID(invocation)) if invocation else str(uuid.uuid4())
    except ValueError:
        return str(uuid.uuid4())


def event_of(
    job: str,
    database: str,
    run: str,
    *,
    outcome: Outcome = "success",
    wrong: Wrong | None = None,
    seconds: float | None = None,
) -> Event:
    """Return an event of here and now; *wrong* says its outcome, where it is given."""
    from litekeep.notify.events import Event

    if wrong is not None:
        outcome = "stale" if wrong.kind == Stale.__name__ else "failure"
    return Event(job, database, outcome, now(), os.uname().nodename, seconds, wrong, run)


def show_untold(untold: list[Untold]) -> None:
    """Warn of each channel that could not be told, once."""
    lines = {f"could not notify: {each.channel}: {each.error.message}": each for each in untold}
    for text, each in lines.items():
        output.line(f"warning: {text}", is_error=True)
        if each.error.hint:
            output.line(f"hint: {each.error.hint}", is_error=True)


def _notices(job: str, settings: Settings) -> Notices | None:
    from litekeep.notices import notices_of

    found = notices_of(settings, os.environ, (job,))
    return None if found.is_empty else found


def _wrong(error: BaseException | None) -> Wrong | None:
    from litekeep.notify.events import Wrong

    match error:
        case None:
            return None
        case LitekeepError():
            return Wrong(type(error).__name__, error.message, error.hint)
        case KeyboardInterrupt() | Terminated():
            word = "terminated" if isinstance(error, Terminated) else "interrupted"
            return Wrong(word.capitalize(), f"the command was {word}", "Run it again.")
    # Its text may hold anything, and this goes far.
    name = type(error).__name__
    return Wrong("Bug", f"this is a bug: {name}", "What the run wrote has the details.")


def _text(events: list[Event]) -> str:
    from litekeep.notify.events import body, subject

    shown = [event for event in events if event.outcome != "recovered"]
    shown.sort(key=lambda event: event.wrong is None)
    return "\n".join(f"{subject(event)}\n{body(event)}" for event in shown)
