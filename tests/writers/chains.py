"""
Chains of LTX files in a store, written without a database, with a model of every txid.

The clock is the test's: a year passes in no time.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from litekeep.ltx.checksum import FLAG, page_checksums
from litekeep.store.base import Store
from litekeep.store.memory import MemoryStore
from litekeep.stream.chain import Link, Place, plan_links, read_chain
from litekeep.stream.keeping import Keeping
from litekeep.stream.metadata import show_time
from litekeep.stream.policy import StreamPolicy
from litekeep.stream.rebuild import Applied, apply_links
from tests.writers.ltx import header, written

PAGE_SIZE = 512
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Clock:
    """A clock that the test moves on."""

    seconds: float = 0

    def __call__(self) -> datetime:
        return BEGIN + timedelta(seconds=self.seconds)

    @property
    def ms(self) -> int:
        return int((self() - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))


@dataclass
class Writer:
    """
    Ships a database that is made up, sync by sync, to a store.

    `states` has what the database was after each txid, `times` when that was.
    """

    folder: Path
    clock: Clock = field(default_factory=Clock)
    store: Store | None = None
    policy: StreamPolicy = StreamPolicy()
    page_count: int = 8
    states: dict[int, bytes] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)
    keeps_states: bool = True
    txid: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.store = self.store or MemoryStore(clock=self.clock)
        self.place = Place(self.store, "app/")
        self._pages: dict[int, bytes] = {}
        self._dice = random.Random(7)
        self.warned: list[str] = []
        self.keeping = self.new_keeping()

    def new_keeping(self) -> Keeping:
        """Begin anew, with what the folder remembers."""
        self.keeping = Keeping(
            self.place,
            self.folder,
            self.policy,
            clock=self.clock,
            warn=lambda message, _: self.warned.append(message),
        )
        self.keeping.know(read_chain(self.place))
        return self.keeping

    def sync(self, numbers: set[int] | None = None, page_count: int | None = None) -> Link:
        """Change these pages, and ship them as the next txid."""
        self.page_count = self.page_count if page_count is None else page_count
        self.txid += 1
        wanted = numbers if numbers is not None else {self._dice.randint(1, self.page_count)}
        grown = {n for n in range(1, self.page_count + 1) if n not in self._pages}
        changed = {n for n in wanted | grown if n <= self.page_count}
        for number in [n for n in self._pages if n > self.page_count]:
            del self._pages[number]
        for number in changed:
            self._pages[number] = f"{number} {self.txid} ".encode().ljust(PAGE_SIZE, b".")
        head = header(PAGE_SIZE, self.page_count, self.txid)
        pages = {number: self._pages[number] for number in sorted(changed)}
        data, encoded = written(head, pages)
        metadata = {
            "litestream-timestamp": show_time(self.clock.ms),
            "litekeep-database-checksum": f"{self._checksum():016x}",
            "litekeep-sha256": encoded.sha256,
        }
        self.times[self.txid] = self.clock.ms
        if self.keeps_states:
            self.states[self.txid] = b"".join(self._pages[n] for n in sorted(self._pages))
        name = self.place.object_of(0, self.txid, self.txid)
        assert self.store is not None
        blob = self.store.put(name, data, create=True, metadata=metadata)
        link = Link(0, self.txid, self.txid, name, blob.size, blob.modified)
        self.keeping.shipped(link, self.clock.ms)
        return link

    def follow(self, other: Writer) -> None:
        """Stand where another writer stands."""
        self.txid, self.page_count = other.txid, other.page_count
        self._pages = dict(other._pages)

    def keep(self) -> None:
        """Merge and remove what is to be."""
        self.keeping.work(lambda: None)

    def restore(self, txid: int) -> tuple[bytes, Applied]:
        """Make the database of a txid, by the plan that a restore makes."""
        return restored(self.place, txid)

    def _checksum(self) -> int:
        if not self._pages:
            return FLAG
        ordered = sorted(self._pages)
        sums = page_checksums(ordered, b"".join(self._pages[n] for n in ordered), PAGE_SIZE)
        total = 0
        for value in sums.tolist():
            total ^= value
        return FLAG | total


def restored(place: Place, txid: int) -> tuple[bytes, Applied]:
    """Make the database of a txid, and return it with what its files were."""
    made = bytearray()

    def write(offset: int, data: bytes) -> None:
        made[offset : offset + len(data)] = data

    def resize(size: int) -> None:
        del made[size:]
        made.extend(bytes(size - len(made)))

    applied = apply_links(place, plan_links(read_chain(place), txid), write=write, resize=resize)
    return bytes(made), applied
