"""
Capturing: what is committed to a live database, as LTX files in its spool.

    begin     take a view and compare every page with the page map; what differs is the
              first file, marked as one before which nobody watched
    look      take the changes that the tail finds (`sqlite/tail.py`), in memory
    sync      write them as one file, each page once, those that came out as they were left out
    begin     again, where the tail lost its place or the database has no log

Order of a sync: the file and what is said of it, durable; then the page map.  A kill in
between leaves a file that is newer than the map; it is applied to it at the next start.
Much that differs is cut into several files, each with the page map behind it, so that a kill
in the midst loses nothing of the work; all but the last are marked as no commit.

A database without a log (the rollback modes) is looked at by the time of its file, and
compared whole each time that changed, under a SHARED lock.

INVARIANTS

  1. A file that is not marked holds whole commits: it ends where one ends.
  2. Its pages with those of the files before it are the database at that commit, and have
     the database checksum that stands beside it.
  3. The times of files never fall as txids rise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy

from litekeep.clock import Clock, now
from litekeep.errors import CorruptionError, LitekeepError
from litekeep.ltx.checksum import page_checksums
from litekeep.ltx.decode import Decoder, pieces_of
from litekeep.sqlite.changes import Changes
from litekeep.sqlite.live import LiveView, resolve, take_view
from litekeep.sqlite.tail import HELP_SIZE, Lost, Tail, follow
from litekeep.store.files import translated
from litekeep.stream.beside import Beside
from litekeep.stream.captured import Behind, Check, Step, write_fill, write_part
from litekeep.stream.counts import Counter, Counts
from litekeep.stream.found import Found, Pages, of_pages, of_view, parts_of
from litekeep.stream.metadata import time_ms_of
from litekeep.stream.pagemap import PageMap, create_page_map, load_page_map
from litekeep.stream.rebuild import Applied
from litekeep.stream.spool import Spool, Spooled
from litekeep.stream.stamp import stamp_of

if TYPE_CHECKING:
    from numpy import uint64
    from numpy.typing import NDArray

    Checksums = NDArray[uint64]

#: Pages that wait in memory for the next sync; with more it comes at once.
PENDING_SIZE_MAX = 32 << 20


class Capture:
    """
    Captures one database into its spool.

    Use it as a context: a mark is held while it lasts.
    """

    def __init__(
        self,
        database: Path,
        spool: Spool,
        *,
        help_size: int | None = HELP_SIZE,
        clock: Clock = now,
    ) -> None:
        self._counter = Counter()
        #: Whether the last comparison was captured to its end: the spool may have been full.
        self.is_complete = True
        self._path = Path(resolve(database))
        self._spool = spool
        self._help_size = help_size
        self._clock = clock
        self._map = load_page_map(spool.map_path)
        self._stack = contextlib.ExitStack()
        self._tail: Tail | None = None
        self._pending: dict[int, bytes] = {}
        self._pending_page_count = 0
        self._syncing: Beside[Spooled | None] = Beside()
        #: How many bytes of the log the last look read.
        self.found_size = 0
        self._seen: tuple[object, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()
        with contextlib.suppress(LitekeepError):  # what is not captured is found by comparing
            self.synced(wait=True)
        if self._map is not None:
            self._map.close()

    @property
    def counts(self) -> Counts:
        """What was done so far."""
        return self._counter.now

    @property
    def page_map(self) -> PageMap | None:
        """The page map; None before anything was captured."""
        return self._map

    @property
    def state(self) -> tuple[int, int]:
        """The txid of the last sync and the database checksum then; zeros before the first."""
        return self._map.state() if self._map is not None else (0, 0)

    @property
    def txid(self) -> int:
        """The txid of the last sync; 0 before the first."""
        return self._map.txid if self._map is not None else 0

    @property
    def pending_size(self) -> int:
        """How many bytes of pages wait for the next sync."""
        page_size = self._map.page_size if self._map is not None else 0
        return len(self._pending) * page_size

    def replay(self) -> None:
        """Apply to the page map what was captured before a kill and not applied."""
        for spooled in self._spool.files():
            if spooled.min_txid != self.txid + 1 or spooled.max_txid != self.txid + 1:
                continue
            try:
                self._apply_file(spooled)
            except CorruptionError:
                # A damaged disk: what it held is found again by comparing.
                self._spool.remove(spooled)
                return

    def _apply_file(self, spooled: Spooled) -> None:
        numbers: list[int] = []
        sums = [numpy.empty(0, numpy.uint64)]
        with translated(spooled.path), spooled.path.open("rb") as file:
            decoder = Decoder(pieces_of(file), sha256=spooled.note.sha256)
            page_size = decoder.header.page_size
            for run in decoder.runs():
                numbers += run.numbers
                sums.append(page_checksums(run.numbers, b"".join(run.pages), page_size))
        self._map_of(page_size).apply(
            numbers,
            numpy.concatenate(sums),
            page_count=spooled.note.commit,
            checksum=spooled.note.checksum,
            txid=spooled.max_txid,
            time_ms=spooled.note.time_ms,
        )

    def adopt(self, applied: Applied) -> None:
        """Go on from what a store holds; what lies in the spool is of another history."""
        self._spool.empty()
        page_map = self._map_of(applied.page_size, is_new=True)
        page_map.fill(
            applied.checksums,
            checksum=applied.checksum,
            txid=applied.txid,
            time_ms=applied.time_ms,
        )

    def begin(self, reason: str, *, is_gap: bool = True) -> Spooled | None:
        """
        Take a mark, compare the whole database with the page map, and capture what differs.

        Args:
            reason: Why nobody watched until now.

            is_gap: Whether somebody was to: then the file says since when nobody did.

        Returns:
            The file, the last if there are several; None if nothing differs.  Once the spool
            is full the rest is left for another time: see `is_complete`.
        """
        self.let_go()
        self.synced(wait=True)
        self._counter.add(diff_count=1)
        self._counter.note(diff_reason=reason)
        try:
            tail = self._stack.enter_context(follow(self._path, help_size=self._help_size))
            if tail is not None:
                spooled = self._diff(tail.first, is_gap=is_gap)
                # Only now: what a tail finds is behind what was compared.
                self._tail = tail if self.is_complete else None
            else:
                seen = stamp_of(self._path, self._clock())
                with take_view(self._path) as live:
                    spooled = self._diff(live, is_gap=is_gap)
                self._seen = seen if self.is_complete else ()
        except BaseException:
            self.let_go()
            raise
        if not self.is_complete:
            self.let_go()
        return spooled

    def look(self) -> Spooled | None:
        """
        Take what was committed since the last look; a sync, if that could not wait.

        Raises:
            DatabaseBusy: A lock was not to be had in time; look again.
        """
        if self._tail is None:
            if stamp_of(self._path, self._clock()) == self._seen:
                return None
            return self.begin("the database has no log", is_gap=False)
        self.found_size = 0
        changes = self._tail.look()
        self._counter.note(helped_count=self._tail.helped_count)
        if changes is None:
            return None
        if isinstance(changes, Lost):
            return self.begin(changes.reason)
        self._counter.add(commit_count=changes.commit_count)
        self.found_size = changes.frame_count * changes.page_size
        try:
            return self._take(changes)
        except CorruptionError as error:  # the log was rewritten under us
            return self.begin(error.message)

    def sync(self) -> Spooled | None:
        """Capture what waits; None if nothing does, or it came out as it was."""
        last = self.synced(wait=True)
        self.start_sync()
        return self.synced(wait=True) or last

    def start_sync(self) -> None:
        """
        Begin to capture what waits, on a thread of its own: `synced` says when that is done.

        Looks go on meanwhile, so that the log of a writer that never rests does not grow.
        """
        if not self._pending or self._syncing.is_busy:
            return
        pending, self._pending = self._pending, {}
        ordered, page_count = sorted(pending.items()), self._pending_page_count
        self._syncing.start(lambda: self._capture(lambda: iter(ordered), page_count))

    @property
    def is_syncing(self) -> bool:
        """Whether a sync was begun that `synced` has not told of."""
        return self._syncing.is_busy

    def synced(self, *, wait: bool = False) -> Spooled | None:
        """Return the file of the sync that was begun, once it is there; what failed is raised."""
        spooled = self._syncing.take(wait=wait)
        if spooled is not None and not self.is_complete:
            self.let_go()
        return spooled

    def fill(self, behind: Behind) -> tuple[bool, Behind | None]:
        """
        Capture what leads one store from what it holds to the newest txid.

        To be called right after `begin`, before the first look: its view is what is read.

        Returns:
            Whether anything differs, else it is here already; and where the store will be, if
            the spool was full before all was captured.
        """
        with self._view() as live:
            self._diff(live, is_gap=False)  # a database without a log may have gone on
            page_map = self._map
            if page_map is None:
                return False, None  # nor is there anything here
            known = behind.checksums(page_map.page_size)
            found = of_view(live, known)
            if not found.numbers and found.page_count == len(known):
                return False, None
            return True, write_fill(
                self._spool,
                behind,
                found,
                txid=page_map.txid,
                time_ms=page_map.time_ms,
                check=live.refuse_changed,
            )

    def _take(self, changes: Changes) -> Spooled | None:
        for number in [n for n in self._pending if n > changes.page_count]:
            del self._pending[number]
        if changes.is_kept:
            # Copies: a page must not keep in memory the frames that it came with.
            self._pending.update((number, bytes(page)) for number, page in changes.pages())
            self._pending_page_count = changes.page_count
            return self.sync() if self.pending_size > PENDING_SIZE_MAX else None
        first = self.sync()
        spooled = self._capture(changes.pages, changes.page_count) or first
        if not self.is_complete:
            self.let_go()
        return spooled

    def _capture(self, pages: Pages, page_count: int) -> Spooled | None:
        page_map = self._page_map
        found = of_pages(pages, page_map.page_size, page_count, page_map.checksums)
        return self._next(found, gap_since_ms=None)

    def _diff(self, live: LiveView, *, is_gap: bool) -> Spooled | None:
        """Capture the pages of a view that are not what the page map says."""
        if live.view.page_count == 0:
            self.is_complete = True
            return None  # an empty file: a database once something is in it
        page_map = self._map_of(live.view.page_size)
        gap_since_ms = page_map.time_ms if page_map.txid and is_gap else None
        found = of_view(live, page_map.checksums)
        return self._next(found, gap_since_ms=gap_since_ms, check=live.refuse_changed)

    def _next(
        self, found: Found, *, gap_since_ms: int | None, check: Check = lambda: None
    ) -> Spooled | None:
        """Write the files of the next txids, each durable, and then the page map."""
        page_map = self._page_map
        self.is_complete = True
        if not found.numbers and found.page_count == page_map.page_count:
            return None
        spooled = None
        for part in parts_of(found, page_map.page_count):
            txid = page_map.txid + 1
            page_map.time_ms = max(page_map.time_ms, time_ms_of(self._clock()))
            checksum = page_map.checksum_after(part.numbers, part.sums, part.page_count)
            step = Step(
                txid=txid,
                # Of a new page size it is the whole database.
                before=page_map.checksum if page_map.page_count else 0,
                checksum=checksum,
                time_ms=page_map.time_ms,
                leads_to=txid,
                gap_since_ms=gap_since_ms,
            )
            spooled = write_part(self._spool, part, page_map.page_size, step, check)
            page_map.apply(
                part.numbers,
                part.sums,
                page_count=part.page_count,
                checksum=checksum,
                txid=txid,
                time_ms=page_map.time_ms,
            )
            if self._spool.is_full and not part.is_last:
                self.is_complete = False
                break
        self._counter.add(sync_count=1)
        return spooled

    @contextlib.contextmanager
    def _view(self) -> Iterator[LiveView]:
        """The view that the tail began with; a new one where the database has no log."""
        if self._tail is not None:
            yield self._tail.first
            return
        with take_view(self._path) as live:
            yield live

    @property
    def _page_map(self) -> PageMap:
        assert self._map is not None, "the first view makes it"
        return self._map

    def _map_of(self, page_size: int, *, is_new: bool = False) -> PageMap:
        """Return the page map; an empty one where there is none, or the page size is another."""
        if self._map is not None and self._map.page_size == page_size and not is_new:
            return self._map
        txid, time_ms = (self._map.txid, self._map.time_ms) if self._map is not None else (0, 0)
        if self._map is not None:
            self._map.close()
            self._map = None
        self._map = create_page_map(self._spool.map_path, page_size)
        self._map.txid, self._map.time_ms = txid, time_ms
        return self._map

    def let_go(self) -> None:
        """Hold no mark any more, and forget what waits; `begin` takes one again."""
        self._tail = None
        self._pending.clear()
        self._seen = ()
        self._stack.close()
