"""
Telling: which channel is to hear of which event, and all of them at once.

    1   Each channel works on a thread of its own, and all of them have the same time.  What
        is not told then is not waited for: no channel delays a job for long.
    2   A channel that fails is not asked again in the same run.
    3   What went wrong comes back as a value: no channel fails a job.

See `memory.py` for what is not told because it is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from litekeep import workers
from litekeep.clock import Monotonic, monotonic
from litekeep.errors import LitekeepError, NotTold
from litekeep.notify.channels import Channel
from litekeep.notify.events import Event
from litekeep.notify.memory import Known, Memory

#: So many messages to one channel in one run; the rest waits for the next.
EVENTS_MAX = 20
_GRACE_SECONDS = 1.0
_GOOD = ("success", "recovered")


@dataclass(frozen=True, slots=True)
class Untold:
    """A channel that could not be told, and why."""

    channel: str
    error: LitekeepError


class Work:
    """Something that is told on a thread of its own."""

    def __init__(self, name: str, deed: Callable[[], None]) -> None:
        self._name = name
        self._future: Future[None] = workers.in_thread(deed)

    def end(self, seconds: float) -> Untold | None:
        """Wait for it at most so long; return what went wrong."""
        try:
            self._future.result(max(seconds, 0))
        except TimeoutError:
            error: LitekeepError = NotTold(
                "it was not told in time", hint="Try it: litekeep notify test"
            )
        except LitekeepError as raised:
            error = raised
        except Exception as raised:  # noqa: BLE001 (no channel fails a job)
            error = NotTold(
                f"it failed with {type(raised).__name__}", hint="Try it: litekeep notify test"
            )
        else:
            return None
        return Untold(self._name, error)


def tell(
    events: Sequence[Event],
    channels: Sequence[Channel],
    memory: Memory,
    *,
    seconds_max: float,
    others: Sequence[Work] = (),
    clock: Monotonic = monotonic,
) -> list[Untold]:
    """
    Tell each channel of those events that it wants to hear of and does not know.

    Args:
        events: How jobs ended; "recovered" is told only where a failure was.

        channels: Who may want to hear of it.

        memory: What they know.

        seconds_max: For all of them together.

        others: What is under way already, and has the same time.

        clock: Of that time.

    Returns:
        What could not be told.
    """
    until = clock() + seconds_max
    known = memory.recall()
    begun = []
    told: list[tuple[Event, str]] = []
    for channel in channels:
        wanted = [each for event in events if (each := _wanted(event, channel, known))]
        wanted.sort(key=lambda event: event.outcome == "success")  # bad news first
        told += _over(events, channel, known)
        if wanted:
            sent: list[Event] = []
            deed = _sender(channel, wanted[:EVENTS_MAX], sent)
            begun.append((channel, Work(channel.name, deed), sent))
    untold = [work.end(until - clock() + _GRACE_SECONDS) for work in others]
    for channel, work, sent in begun:
        untold.append(work.end(until - clock() + _GRACE_SECONDS))
        told += [
            (event, channel.name) for event in sent if event.outcome not in ("success", "test")
        ]
    failed = [each for each in untold if each is not None]
    try:
        memory.told(told)
    except OSError as error:
        failed.append(Untold("what was told", _unwritten(memory, error)))
    return failed


def _wanted(event: Event, channel: Channel, known: Known) -> Event | None:
    """Return what *channel* is to hear, if anything."""
    if event.outcome in _GOOD:
        if "recovered" in channel.on and known.is_troubled(event, channel.name):
            return replace(event, outcome="recovered")
        return event if event.outcome == "success" and "success" in channel.on else None
    if event.outcome == "test":
        return event
    return event if event.outcome in channel.on and known.is_due(event, channel.name) else None


def _sender(channel: Channel, wanted: Sequence[Event], sent: list[Event]) -> Callable[[], None]:
    def send() -> None:
        for event in wanted:
            channel.send(event)
            sent.append(event)

    return send


def _over(events: Sequence[Event], channel: Channel, known: Known) -> list[tuple[Event, str]]:
    """Return the troubles that are over, where the channel does not want to hear of that."""
    if "recovered" in channel.on:
        return []
    return [
        (event, channel.name)
        for event in events
        if event.outcome in _GOOD and known.is_troubled(event, channel.name)
    ]


def _unwritten(memory: Memory, error: OSError) -> NotTold:
    return NotTold(
        f"cannot be remembered in {memory.folder}: {error.strerror}",
        hint="It is told again by the next run. Give the right to write there.",
    )
