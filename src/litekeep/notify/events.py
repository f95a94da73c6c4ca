"""
What is told: how a job on a database ended, as a value and as texts.

    subject     one line, for the subject of a mail
    body        for people: what happened, what to do, where and when
    fields      for programs: what a webhook posts as JSON

Messages hold names from anywhere, so lengths are bounded and control characters escaped.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from litekeep.units import show_duration
from litekeep.version import VERSION

Outcome = Literal["success", "failure", "stale", "recovered", "test"]

LINE_LENGTH_MAX = 150
TEXT_LENGTH_MAX = 2000

_SAID: dict[Outcome, str] = {
    "success": "{job} of {database} succeeded",
    "failure": "{job} of {database} failed",
    "stale": "backups of {database} are too old",
    "recovered": "{job} of {database} is well again",
    "test": "a test message",
}


@dataclass(frozen=True, slots=True)
class Wrong:
    """What went wrong: the name of the error, what happened, what to do."""

    kind: str
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """
    How a job ended.

    `database` is empty where the whole run is meant; `wrong` is None where all is well;
    `run` is one for all that a run tells.
    """

    job: str
    database: str
    outcome: Outcome
    time: datetime
    host: str
    seconds: float | None = None
    wrong: Wrong | None = None
    run: str = ""


def subject(event: Event) -> str:
    """
    Return one line on what happened.

    >>> when = datetime(2025, 9, 8, 12, 0, 1, tzinfo=UTC)
    >>> subject(Event("backup", "app", "failure", when, "server"))
    'Litekeep on server: backup of app failed'
    """
    database = event.database or "all databases"
    said = _SAID[event.outcome].format(job=event.job, database=database)
    return _bounded(f"Litekeep on {event.host}: {said}", LINE_LENGTH_MAX)


def body(event: Event) -> str:
    r"""
    Return what happened, what to do, where and when.

    >>> when = datetime(2025, 9, 8, 12, 0, 1, tzinfo=UTC)
    >>> wrong = Wrong("NotFound", "no database at /srv/app.db", "Check the path.")
    >>> print(body(Event("backup", "app", "failure", when, "server", 1.5, wrong)), end="")
    no database at /srv/app.db (NotFound)
    Check the path.
    <BLANKLINE>
    job: backup
    database: app
    host: server
    time: 2025-09-08 12:00:01 UTC
    took: 1.5 s
    """
    lines = []
    if event.wrong is not None:
        lines.append(f"{_bounded(event.wrong.message, TEXT_LENGTH_MAX)} ({event.wrong.kind})")
        if event.wrong.hint:
            lines.append(_bounded(event.wrong.hint, TEXT_LENGTH_MAX))
    elif event.outcome == "test":
        lines.append("This channel works. Nothing happened to any database.")
    else:
        lines.append("All is well.")
    lines += ["", f"job: {event.job}"] if event.job else [""]
    if event.database:
        lines.append(f"database: {_bounded(event.database, LINE_LENGTH_MAX)}")
    lines += [f"host: {event.host}", f"time: {event.time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"]
    if event.seconds is not None:
        lines.append(f"took: {show_duration(event.seconds)}")
    return "".join(f"{line}\n" for line in lines)


def fields(event: Event) -> dict[str, Any]:
    """Return what a webhook posts; fields are only ever added."""
    time = event.time.astimezone(UTC).replace(tzinfo=None)
    return {
        "litekeep": VERSION,
        "outcome": event.outcome,
        "job": event.job or None,
        "database": event.database or None,
        "error": {
            "kind": event.wrong.kind,
            "message": _bounded(event.wrong.message, TEXT_LENGTH_MAX),
            "hint": _bounded(event.wrong.hint, TEXT_LENGTH_MAX) if event.wrong.hint else None,
        }
        if event.wrong is not None
        else None,
        "time": f"{time.isoformat(timespec='milliseconds')}Z",
        "host": event.host,
        "seconds": round(event.seconds, 3) if event.seconds is not None else None,
        "run": event.run,
        "subject": subject(event),
    }


def _bounded(text: str, length_max: int) -> str:
    r"""
    Return *text* in one line of printable characters.

    >>> _bounded("a\nb" + "c" * 9, 6)
    'a b...'
    """
    flat = "".join(
        character
        if character.isprintable()
        else " "
        if character.isspace()
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text[: length_max + 1]
    )
    return flat if len(flat) <= length_max else flat[: length_max - 3] + "..."
