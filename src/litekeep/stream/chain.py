"""
The chain of LTX files of one database: where they lie, and which of them make a txid.

    S3                 <root><level as %04x>/<min txid>-<max txid>.ltx
    all other stores   <root>ltx/<level>/<min txid>-<max txid>.ltx

That is Litestream's layout, so that it restores what lies here.  Level 0 has a file for
each txid, levels 1 to 8 have merged ones, level 9 has whole databases; a file whose min
txid is 1 is a whole database on any level.

To plan is to choose files that follow each other up to a txid, the fewest that can be
had: the newest whole database, then again and again the file that reaches furthest.

Of a file this module reads the beginning at most.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from litekeep.errors import FormatError, GapFound, NotFound
from litekeep.ltx.format import HEADER_SIZE, Header, format_name, parse_header, parse_name
from litekeep.store.base import Blob, Store

LEVEL_MAX = 9
#: The level of whole databases.
BASE_LEVEL = 9

_NAME = re.compile(r"(?:ltx/(?P<decimal>\d)|(?P<hex>[0-9a-f]{4}))/(?P<name>[^/]+)")


@dataclass(frozen=True, slots=True)
class Link:
    """One LTX file of a chain; `modified` is when its store got it."""

    level: int
    min_txid: int
    max_txid: int
    object: str
    size: int
    modified: datetime

    @property
    def is_whole(self) -> bool:
        """Whether it needs none before it."""
        return self.min_txid == 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where the chain of one database lies: in a store, below a root that ends in a slash."""

    store: Store
    root: str

    def object_of(self, level: int, min_txid: int, max_txid: int) -> str:
        """Return the name of a file's object."""
        return f"{self.folder_of(level)}{format_name(min_txid, max_txid)}"

    def folder_of(self, level: int) -> str:
        """Return how the names of a level's objects begin."""
        if self.store.url.startswith("s3://"):
            return f"{self.root}{level:04x}/"
        return f"{self.root}ltx/{level}/"


@dataclass(frozen=True, slots=True)
class Branch:
    """The files that make the database as it was after one txid, oldest first."""

    place: Place
    links: tuple[Link, ...]

    @property
    def txid(self) -> int:
        """The txid."""
        return self.links[-1].max_txid

    @property
    def size(self) -> int:
        """How many bytes its files have together."""
        return sum(link.size for link in self.links)

    @property
    def last_object(self) -> str:
        """The object that it ends with."""
        return self.links[-1].object


@dataclass(frozen=True, slots=True)
class Chain:
    """All links of one place, by level and then by txid."""

    links: tuple[Link, ...]

    @property
    def last_txid(self) -> int:
        """The newest txid; 0 if there is none."""
        return max((link.max_txid for link in self.links), default=0)

    @property
    def newest(self) -> Link | None:
        """The file that ends last, of the lowest level that has one."""
        return max(self.links, key=lambda link: (link.max_txid, -link.level), default=None)

    def txids(self) -> tuple[int, ...]:
        """Return the txids that some link ends with, in order: what can be restored."""
        return tuple(sorted({link.max_txid for link in self.links}))


def read_chain(place: Place) -> Chain:
    """
    List the files of a chain; what has another name is passed over.

    Raises:
        StoreError: The store does not answer.
    """
    return chain_of(place, place.store.list(place.root))


def chain_of(place: Place, blobs: Iterable[Blob]) -> Chain:
    """Return the chain that these objects of a place make; others are passed over."""
    found = (_link(blob, place.root) for blob in blobs)
    links = (link for link in found if link is not None)
    return Chain(tuple(sorted(links, key=lambda one: (one.level, one.min_txid, one.max_txid))))


def read_header(place: Place, link: Link) -> Header:
    """
    Read the beginning of a file, which says its time and the size of its database.

    Raises:
        StoreError: The store does not answer, or the file is gone.

        FormatError: It does not begin as an LTX file.
    """
    return parse_header(b"".join(place.store.get(link.object, size=HEADER_SIZE)))


def _link(blob: Blob, root: str) -> Link | None:
    match = _NAME.fullmatch(blob.name[len(root) :])
    if match is None:
        return None
    level = int(match["hex"], 16) if match["hex"] else int(match["decimal"])
    try:
        min_txid, max_txid = parse_name(match["name"])
    except FormatError:
        return None
    if level > LEVEL_MAX:
        return None
    return Link(level, min_txid, max_txid, blob.name, blob.size, blob.modified)


def plan_links(chain: Chain, txid: int) -> tuple[Link, ...]:
    """
    Return the files that make the database as it was after *txid*, oldest first.

    Raises:
        NotFound: No whole database lies at or before it.

        GapFound: A file is missing on the way; the nearest txids are named.
    """
    usable = [link for link in chain.links if link.max_txid <= txid]
    wholes = [link for link in usable if link.is_whole]
    if not wholes:
        raise NotFound(
            f"there is nothing of txid {txid:016x} or before",
            hint=_nearest(chain, txid),
        )
    planned = [max(wholes, key=_reach)]
    # Each file is looked at once: as the reach grows, more of them follow on it.
    waiting = sorted(usable, key=lambda link: link.min_txid, reverse=True)
    farthest = planned[0]
    while (reached := planned[-1].max_txid) < txid:
        while waiting and waiting[-1].min_txid <= reached + 1:
            farthest = max(farthest, waiting.pop(), key=_reach)
        if farthest.max_txid <= reached:
            raise GapFound(
                f"the file behind txid {reached:016x} is missing, on the way to {txid:016x}",
                hint=_nearest(chain, txid),
            )
        planned.append(farthest)
    return tuple(planned)


def _reach(link: Link) -> tuple[int, int]:
    """By what one file is taken before another: how far it leads, then its level."""
    return link.max_txid, link.level


def restorable(chain: Chain) -> tuple[int, ...]:
    """
    Return the txids that can be restored, in order: those that files end with and lead to.

    >>> from datetime import UTC
    >>> day = datetime(2026, 1, 1, tzinfo=UTC)
    >>> links = [Link(0, n, n, "", 1, day) for n in (1, 2, 4, 5)]
    >>> restorable(Chain((*links, Link(9, 1, 4, "", 1, day))))
    (1, 2, 4, 5)
    """
    reached: list[int] = []
    for link in sorted(chain.links, key=lambda link: (link.max_txid, link.min_txid)):
        if reached and reached[-1] == link.max_txid:
            continue
        # All that ends before it is known by now, and the last of them is the nearest.
        if link.is_whole or (reached and reached[-1] >= link.min_txid - 1):
            reached.append(link.max_txid)
    return tuple(reached)


def _nearest(chain: Chain, txid: int) -> str:
    known = restorable(chain)
    before = [one for one in known if one < txid][-1:]
    after = [one for one in known if one > txid][:1]
    if not before and not after:
        return "No txid can be restored from here."
    return "The nearest that can be restored: " + ", ".join(
        f"{one:016x}" for one in (*before, *after)
    )
