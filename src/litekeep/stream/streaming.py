"""
Streaming: one database to its stores, capture and shipping side by side.

    capture (this thread)    begin, then look after look; a sync at most once an interval
    shippers (one a store)   the spool's files in order, as fast as the store takes them

A store that is down holds up neither the others nor the capture: its files wait in the
spool.  When the spool is full, capture lets go of the database, and takes it up again with
a comparison once there is room.  While nothing is committed, no store is asked anything.

At the start, in order:

    1  ask each store how far its chain goes
    2  go on from the newest: the local page map where it is of that txid and checksum, else
       one made from the store's files.  So a machine that lost its state, or took over from
       another, uploads what differs and no more
    3  begin: compare the database with the page map, and capture what differs
    4  for each store that is behind what the spool has, capture what leads it here

A store that does not answer then is asked again while the others go on.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy

from litekeep import workers
from litekeep.clock import Clock, Monotonic, monotonic, now
from litekeep.errors import DatabaseBusy, LeaseHeld, LitekeepError
from litekeep.sqlite.tail import HELP_SIZE
from litekeep.store.base import FAILURES
from litekeep.stream.capture import Capture, Counts
from litekeep.stream.chain import Chain, Place, plan_links, read_chain
from litekeep.stream.rebuild import Applied, apply_links
from litekeep.stream.ship import Shipper
from litekeep.stream.spool import Spool, Spooled

#: How far syncs are apart at least, if nobody says.
SYNC_SECONDS = 1.0
#: After a look that found something the next one comes soon: little is left to read then.
_LOOK_SECONDS_MIN = 0.02
_LOOK_SECONDS_MAX = 0.25
RETRY_SECONDS = 5.0
#: How long a stop waits for what is captured to be shipped.
STOP_SECONDS = 10.0
SPOOL_SIZE_MAX = 1 << 30


@dataclass(frozen=True, slots=True)
class StreamJob:
    """What is streamed where, and how; sizes in bytes, times in seconds."""

    database: Path
    name: str
    places: tuple[Place, ...]
    state: Path
    sync_seconds: float = SYNC_SECONDS
    spool_size_max: int = SPOOL_SIZE_MAX
    help_size: int | None = HELP_SIZE
    clock: Clock = now
    monotonic: Monotonic = monotonic


@dataclass(frozen=True, slots=True)
class Told:
    """What happened, in words for people."""

    message: str
    hint: str | None = None
    is_warning: bool = False


Tell = Callable[[StreamJob, Told], object]


@dataclass(frozen=True, slots=True)
class StoreState:
    """How far one store is; `error` is why it is not further."""

    url: str
    txid: int | None
    file_count: int
    bytes: int
    error: LitekeepError | None


@dataclass(frozen=True, slots=True)
class StreamResult:
    """How it stood when the stream ended."""

    txid: int
    counts: Counts
    stores: tuple[StoreState, ...]
    spooled_count: int


class _Line:
    """One store's shipper, and what became of it."""

    def __init__(self, shipper: Shipper) -> None:
        self.shipper = shipper
        self.error: LitekeepError | None = None
        self.is_over = False
        self.chain: Chain | None = None


class Stream:
    """One database's stream; `run_stream` makes and ends it."""

    def __init__(self, job: StreamJob, spool: Spool, capture: Capture, tell: Tell) -> None:
        self._job = job
        self._spool = spool
        self._capture = capture
        self._tell = tell
        self._lines = [_Line(Shipper(place)) for place in job.places]
        self._changed = threading.Condition()
        self._is_stopping = False
        self._is_let_go = False

    def begin(self, *, is_gap: bool = True) -> None:
        """
        Find out where all stand, and capture what was missed.

        Args:
            is_gap: Whether somebody was to watch until now.

        Raises:
            LitekeepError: The database cannot be read; or no store answers, and nothing is
                known here of what they hold.
        """
        self._capture.replay()
        known = [line for line in self._lines if self._ask(line)]
        newest = max(known, key=lambda line: line.shipper.position or 0, default=None)
        if newest is not None and newest.shipper.position:
            self._go_on_from(newest)
        elif newest is None and self._capture.txid == 0 and self._lines:
            assert self._lines[0].error is not None
            raise self._lines[0].error
        self._say_captured(self._capture.begin("the stream was started", is_gap=is_gap))
        for line in known:
            self._fill(line)

    def run(self, stop: threading.Event) -> None:
        """Capture and ship until *stop* is set."""
        futures = [
            workers.in_thread(lambda line=line: self._ship_all(line))  # type: ignore[misc]
            for line in self._lines
        ]
        try:
            self._capture_until(stop)
        finally:
            self._stop()
        for future in futures:
            with contextlib.suppress(TimeoutError):
                future.result(STOP_SECONDS)

    def ship_once(self) -> None:
        """Ship what is captured, and return when every store has it or has failed."""
        for line in self._lines:
            try:
                if line.shipper.position is None:
                    line.shipper.find_position()
                self._ship_waiting(line)
            except (LeaseHeld, *FAILURES) as error:
                line.error = error
        self._forget_shipped()

    def result(self) -> StreamResult:
        """Say how it stands."""
        return StreamResult(
            txid=self._capture.txid,
            counts=self._capture.counts,
            stores=tuple(
                StoreState(
                    url=line.shipper.place.store.url,
                    txid=line.shipper.position,
                    file_count=line.shipper.file_count,
                    bytes=line.shipper.byte_count,
                    error=line.error,
                )
                for line in self._lines
            ),
            spooled_count=len(self._spool.files()),
        )

    def _ask(self, line: _Line) -> bool:
        try:
            line.chain = read_chain(line.shipper.place)
        except FAILURES as error:
            line.error = error
            self._warn(f"{line.shipper.place.store.url}: {error.message}", error.hint)
            return False
        line.shipper.position = line.chain.last_txid
        return True

    def _go_on_from(self, line: _Line) -> None:
        """Have the page map of what the furthest store holds, if it is not ours."""
        position = line.shipper.position or 0
        page_map = self._capture.page_map
        if page_map is not None and page_map.txid >= position and self._is_ours(line, position):
            return
        url = line.shipper.place.store.url
        self._say(f"{url} is at txid {position:016x}, which is not from here: reading it")
        self._capture.adopt(self._applied(line, position))

    def _is_ours(self, line: _Line, position: int) -> bool:
        """Whether the store's last file is one that was captured here."""
        assert line.chain is not None
        last = max(line.chain.links, key=lambda link: (link.max_txid, -link.level))
        stored = line.shipper.place.store.head(last.object).metadata
        checksum = stored.get("litekeep-database-checksum")
        page_map = self._capture.page_map
        if page_map is not None and page_map.txid == position:
            return checksum == f"{page_map.checksum:016x}"
        notes = {one.max_txid: one.note for one in self._spool.files()}
        if position in notes:
            return checksum == f"{notes[position].checksum:016x}"
        # It is behind what the spool still has: the first spooled file must follow on it.
        return position + 1 in {one.min_txid for one in self._spool.files()}

    def _applied(self, line: _Line, txid: int) -> Applied:
        assert line.chain is not None
        return apply_links(line.shipper.place, plan_links(line.chain, txid))

    def _fill(self, line: _Line) -> None:
        """Capture what leads a store to the newest txid, where the spool does not."""
        shipper = line.shipper
        position = shipper.position or 0
        if position >= self._capture.txid or shipper.next_of(self._spool.files()) is not None:
            return
        known = numpy.zeros(0, numpy.uint64)
        if position:
            known = self._applied(line, position).checksums
        self._say(f"{shipper.place.store.url} is at txid {position:016x}: bringing it here")
        self._capture.fill(known, position + 1)

    def _capture_until(self, stop: threading.Event) -> None:
        job = self._job
        wait, synced = _LOOK_SECONDS_MIN, job.monotonic()
        look_max = min(_LOOK_SECONDS_MAX, job.sync_seconds)
        while not stop.is_set():
            stop.wait(wait)
            try:
                has_found = self._look()
            except DatabaseBusy as error:
                self._warn(error.message, error.hint)
                wait = RETRY_SECONDS
                continue
            if self._capture.pending_size and job.monotonic() - synced >= job.sync_seconds:
                self._say_captured(self._capture.sync())
                synced = job.monotonic()
            wait = _LOOK_SECONDS_MIN if has_found else min(wait * 1.5, look_max)
        if not self._is_let_go:
            self._look()
            self._say_captured(self._capture.sync())

    def _look(self) -> bool:
        """Look once; let go of the database while the spool is full."""
        if self._is_let_go:
            if self._spool.size > self._job.spool_size_max // 2:
                return False
            self._is_let_go = False
            self._say_captured(self._capture.begin("the spool was full"))
            return True
        before = self._capture.counts.commit_count
        spooled = self._capture.look()
        self._say_captured(spooled)
        return spooled is not None or self._capture.counts.commit_count > before

    def _say_captured(self, spooled: Spooled | None) -> None:
        if spooled is None:
            return
        with self._changed:
            self._changed.notify_all()
        if self._spool.size > self._job.spool_size_max:
            self._capture.let_go()
            self._is_let_go = True
            self._warn(
                "the spool is full: the database is let go of until the stores have taken it",
                "Look why a store does not take what is captured, or raise spool_size_max.",
            )

    def _stop(self) -> None:
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()

    def _ship_all(self, line: _Line) -> None:
        """Ship until the stream stops; what fails is tried again."""
        while True:
            try:
                if line.shipper.position is None:
                    line.shipper.find_position()
                self._ship_waiting(line)
                if line.error is not None:
                    self._say(f"{line.shipper.place.store.url} takes the stream again")
                line.error = None
            except LeaseHeld as error:
                line.error = error
                self._warn(error.message, error.hint)
                return
            except FAILURES as error:
                if line.error is None or line.error.message != error.message:
                    self._warn(f"{line.shipper.place.store.url}: {error.message}", error.hint)
                line.error = error
            with self._changed:
                if self._is_stopping:
                    return
                if line.error is not None:
                    self._changed.wait(RETRY_SECONDS)
                elif line.shipper.next_of(self._spool.files()) is None:
                    self._changed.wait()

    def _ship_waiting(self, line: _Line) -> None:
        while (spooled := line.shipper.next_of(self._spool.files())) is not None:
            line.shipper.ship(spooled)
            self._forget_shipped()

    def _forget_shipped(self) -> None:
        """Remove from the spool what every store has."""
        with self._changed:
            positions = [line.shipper.position for line in self._lines]
            if any(position is None for position in positions):
                return
            everywhere = min((one for one in positions if one is not None), default=0)
            done = [one for one in self._spool.files() if one.max_txid <= everywhere]
            page_map = self._capture.page_map
            if not done or page_map is None or page_map.txid < done[-1].max_txid:
                return
            page_map.sync()
            for spooled in done:
                self._spool.remove(spooled)

    def _say(self, message: str) -> None:
        self._tell(self._job, Told(message))

    def _warn(self, message: str, hint: str | None) -> None:
        self._tell(self._job, Told(message, hint, is_warning=True))
