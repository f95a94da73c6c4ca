"""
What a person means by a point in time: the words behind `--at`, to values.

    latest                                 the newest restore point
    2025-09-08                             the start of that day
    2025-09-08 12:00    2025-09-08T12:00:01.5Z    20250908T120001+0900
    2h ago    90 min ago    1d 6h ago
    today 06:30    yesterday 18:00    yesterday
    00000000000004d2                       a txid: 16 hex digits, always
    before:00000000000004d2                what stood just before that txid
    app_20250908_120001                    a snapshot's name, bare or at the end of a path or URL

A time without a zone is local to the zone that the caller gives.  Where the clocks
were changed such a time can mean two instants, or none: that is an error, which
names the two instants; it is never a guess.

Which restore point answers to a value is not known here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from litekeep.errors import UserError
from litekeep.units import parse_duration

FORMS = (
    '"latest", "2025-09-08 12:00", "2025-09-08T12:00:01Z", "2h ago", "yesterday 18:00", '
    "a txid of 16 hex digits, before:TXID, or a snapshot's name"
)
NAME_SUFFIXES = (".json", ".age", ".gz", ".zst", ".db")

_TXID = re.compile(r"[0-9a-f]{16}", re.ASCII)
_NAME = re.compile(r".+_\d{8}_\d{6}", re.ASCII)
#: Of a moment in a replica of Litestream 0.3: generation, index, offset.
_OLD_NAME = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}(?:-[0-9a-f]{8,16})?", re.ASCII)
_QUANTITIES = re.compile(r"(?:\s*\d+(?:\.\d+)?\s*[a-z]+)+", re.ASCII)
_QUANTITY = re.compile(r"\d+(?:\.\d+)?\s*[a-z]+", re.ASCII)
_DAY_WORD = re.compile(r"(today|yesterday)(?:[ t]+(\S+))?", re.ASCII)
_DATE_ONLY = re.compile(r"\d{4}-?\d{2}-?\d{2}|\d{4}-?w\d{2}(?:-?\d)?", re.ASCII)


#: By how much two clocks may differ that nobody would call wrong.
CLOCK_DIFFERENCE_MAX = timedelta(minutes=5)


def is_ahead(time: datetime, now: datetime) -> bool:
    """Say whether *time* lies in the future: a clock was, or is, wrong."""
    return time > now + CLOCK_DIFFERENCE_MAX


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest restore point."""


@dataclass(frozen=True, slots=True)
class At:
    """The newest restore point at or before an instant; `time` is in UTC."""

    time: datetime


@dataclass(frozen=True, slots=True)
class Txid:
    """The database as it was after one sync of the stream."""

    txid: int


@dataclass(frozen=True, slots=True)
class Before:
    """The database as it was just before one sync of the stream."""

    txid: int


@dataclass(frozen=True, slots=True)
class Named:
    """The snapshot of that name, without path and suffixes."""

    name: str


When = Latest | At | Txid | Before | Named


def parse_when(text: str, now: datetime, zone: tzinfo) -> When:
    """
    Return what *text* means.

    Args:
        text: One of the forms at the head of this module, in any case.

        now: What "2h ago" and "yesterday" count from; aware.

        zone: Of times that name none.

    Raises:
        UserError: It is none of the forms, or a local time that the clocks passed
            twice or not at all.

    >>> noon = datetime(2025, 9, 8, 12, tzinfo=UTC)
    >>> parse_when("latest", noon, UTC)
    Latest()
    >>> parse_when("2h ago", noon, UTC).time.isoformat()
    '2025-09-08T10:00:00+00:00'
    >>> parse_when("s3://bucket/app/2025/09/app_20250908_120001.db.gz", noon, UTC)
    Named(name='app_20250908_120001')
    """
    words = " ".join(text.split())
    lower = words.lower()
    tail = _snapshot_name(words)
    if lower == "latest" or tail == "latest":
        return Latest()
    if lower.startswith("before:"):
        return Before(_txid(lower.removeprefix("before:"), text))
    if _TXID.fullmatch(lower):
        return Txid(_txid(lower, text))
    if _NAME.fullmatch(tail) or _OLD_NAME.fullmatch(tail):
        return Named(tail)
    return At(_instant(lower, text, now, zone))


def _snapshot_name(words: str) -> str:
    name = words.rstrip("/").rpartition("/")[2]
    while name.endswith(NAME_SUFFIXES):
        name = name.rpartition(".")[0]
    return name


def _txid(digits: str, text: str) -> int:
    if not _TXID.fullmatch(digits) or int(digits, 16) == 0:
        raise UserError(
            f"{text!r} names no txid",
            hint="A txid has 16 hex digits and starts at 0000000000000001; "
            "litekeep list shows them.",
        )
    return int(digits, 16)


def _instant(lower: str, text: str, now: datetime, zone: tzinfo) -> datetime:
    if lower.endswith(" ago") and _QUANTITIES.fullmatch(lower[:-4]):
        return _ago(lower[:-4], text, now)
    try:
        if day_word := _DAY_WORD.fullmatch(lower):
            day = now.astimezone(zone).date() - timedelta(days=day_word[1] == "yesterday")
            lower = f"{day.isoformat()}T{day_word[2]}" if day_word[2] else day.isoformat()
        spelled = re.sub(r"\s*(?:utc|gmt)$", "z", lower)
        spelled = re.sub(r"\s+(?=[+-]\d|z$)", "", spelled).replace("z", "+00:00")
        time = datetime.fromisoformat(spelled.upper())
        if time.tzinfo is None:
            time = _in_zone(time, text, zone, is_day=bool(_DATE_ONLY.fullmatch(lower)))
        return time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _not_a_time(text) from error


def _ago(quantities: str, text: str, now: datetime) -> datetime:
    try:
        seconds = sum(parse_duration(part) for part in _QUANTITY.findall(quantities))
        return now.astimezone(UTC) - timedelta(seconds=seconds)
    except (UserError, OverflowError) as error:
        raise _not_a_time(text) from error


def _not_a_time(text: str) -> UserError:
    return UserError(f"{text!r} is not a time or a restore point", hint=f"Write {FORMS}.")


def _in_zone(time: datetime, text: str, zone: tzinfo, *, is_day: bool) -> datetime:
    """
    Return the instant of the local *time*.

    A day begins at its first midnight, even where there are two.
    """
    first = time.replace(tzinfo=zone, fold=0).astimezone(UTC)
    second = time.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if first == second or is_day:
        return first
    is_twice = first.astimezone(zone).replace(tzinfo=None) == time
    earlier, later = (f"{t:%Y-%m-%dT%H:%M:%S}Z" for t in sorted((first, second)))
    count = "came twice" if is_twice else "never came"
    raise UserError(
        f"{text!r} {count} in {zone}: the clocks were changed",
        hint=f"Give the instant with its zone: {earlier} or {later}.",
    )
