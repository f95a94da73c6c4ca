"""
How the snapshots of one database are named in a store.

    dated   2025/09/app_20250908_120001.db.gz          and latest.db.gz
    flat    app_20250908_120001.db.gz                  no latest
    both    app/...                                    the stream: `stream/chain.py`
            ...the same name and .json                 the manifest
            ...                  .proof-<time>.json    and other marks: see `marks.py`

The time in a name is that of the repository's time zone, to the second; it is what
tells snapshots apart for a person.  The manifest has the exact moment.

This module computes names and asks no store.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal

from litekeep.codec.base import Codec
from litekeep.codec.formats import CODECS
from litekeep.store.base import Store

Layout = Literal["dated", "flat"]

MANIFEST_SUFFIX = ".json"
HOLD_SUFFIX = ".hold.json"
ACCEPTED_SUFFIX = ".accepted.json"
DELETED_SUFFIX = ".deleted.json"
STAMP_FORMAT = "%Y%m%d_%H%M%S"
LATEST = "latest.db"

_SUFFIXES = "|".join(re.escape(codec.suffix) for codec in CODECS if codec.suffix)
_OBJECT = re.compile(
    rf"(?:\d{{4}}/\d{{2}}/)?(?P<name>(?P<database>[^/]+)_(?P<stamp>\d{{8}}_\d{{6}}))"
    rf"\.db(?P<suffix>{_SUFFIXES})?"
    r"(?P<companion>(?:\.proof-\d{8}_\d{6}|\.hold|\.accepted|\.deleted)?\.json)?"
)


@dataclass(frozen=True, slots=True)
class Repository:
    """
    One database's place in a store.

    The store's own URL holds the prefix, so names begin at the year (or, flat, at
    the database's name).  `place` is what the configuration calls the store.
    """

    store: Store
    database: str
    layout: Layout = "dated"
    zone: tzinfo = UTC
    place: str = ""
    #: The store's root is the root of the stream: it is Litestream's, and no snapshots are there.
    is_litestream: bool = False

    def name_at(self, instant: datetime) -> str:
        """Return the name of a snapshot of this second."""
        return f"{self.database}_{instant.astimezone(self.zone).strftime(STAMP_FORMAT)}"

    def object_of(self, name: str, codec: Codec) -> str:
        """Return where the data of the snapshot of this name lies."""
        file = f"{name}.db{codec.suffix}"
        if self.layout == "flat":
            return file
        stamp = name[-len("20250908_120001") :]
        return f"{stamp[:4]}/{stamp[4:6]}/{file}"

    def beside(self, name: str) -> str:
        """Return how the names of this database's snapshots near *name* in time begin."""
        if self.layout == "flat":
            return f"{self.database}_"
        stamp = name[-len("20250908_120001") :]
        return f"{stamp[:4]}/{stamp[4:6]}/{self.database}_"

    @property
    def stream_root(self) -> str:
        """How the names of the stream's files begin."""
        return "" if self.is_litestream else f"{self.database}/"

    def latest(self, codec: Codec) -> str | None:
        """Return where the copy of the newest good snapshot lies, if the layout has one."""
        return None if self.layout == "flat" else f"{LATEST}{codec.suffix}"


@dataclass(frozen=True, slots=True)
class ObjectName:
    """
    What the name of an object in a repository says.

    `companion` is the end of the name of a manifest or a mark, and empty for data.
    """

    name: str
    database: str
    time: datetime
    codec: Codec
    companion: str


def manifest_of(data_object: str) -> str:
    """Return where the manifest of a snapshot's data lies."""
    return data_object + MANIFEST_SUFFIX


def proof_of(data_object: str, time: datetime) -> str:
    """Return where a proof of that second lies; names of later ones sort behind."""
    return f"{data_object}.proof-{time.astimezone(UTC).strftime(STAMP_FORMAT)}.json"


def parse_object(text: str, zone: tzinfo) -> ObjectName | None:
    """
    Return what an object's name says, or None where it is no snapshot's.

    >>> found = parse_object("2025/09/app_20250908_120001.db.gz", UTC)
    >>> found.name, found.database, found.time.isoformat(), found.codec.name
    ('app_20250908_120001', 'app', '2025-09-08T12:00:01+00:00', 'gzip')
    >>> parse_object("latest.db.gz", UTC) is None
    True
    """
    match = _OBJECT.fullmatch(text)
    if match is None:
        return None
    try:
        time = datetime.strptime(match["stamp"], STAMP_FORMAT).replace(tzinfo=zone)
        instant = time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    codec = next(codec for codec in CODECS if codec.suffix == (match["suffix"] or ""))
    return ObjectName(match["name"], match["database"], instant, codec, match["companion"] or "")


def next_second(instant: datetime) -> datetime:
    """Return the beginning of the second after *instant*."""
    return instant.replace(microsecond=0) + timedelta(seconds=1)
