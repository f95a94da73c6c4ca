"""
Streaming: one database to its stores, capture and shipping side by side.

    capture (this thread)    begin, then look after look; a sync at most once an interval
    shippers (one a store)   the spool's files in order, as fast as the store takes them

A store that is down holds up neither the others nor the capture: its files wait in the
spool.  When the spool is full, capture lets go of the database, and takes it up again with
a comparison once there is room.  While nothing is committed, no store is asked anything.

At the start, in order:

    1  ask each store where it stands: at a txid of ours, or elsewhere
    2  where none is at one of ours, go on from what the furthest holds.  So a machine that
       lost its state, or took over from another, uploads what differs and no more
    3  begin: compare the database with the page map, and capture what differs
    4  for each store that is elsewhere, capture what leads it here

A store that does not answer then is asked again while the others go on.  One that lags when
the spool is full is no longer waited for while another does not lag: later it is led here by
what differs then.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import partial

from litekeep import workers
from litekeep.errors import (
    BlobNotFound,
    ChecksumMismatch,
    DatabaseBusy,
    LeaseHeld,
)
from litekeep.store.base import FAILURES
from litekeep.stream.capture import Capture
from litekeep.stream.foreign import origin_of
from litekeep.stream.job import StoreState, StreamJob, StreamResult, Tell, Told
from litekeep.stream.keeping import Stopping
from litekeep.stream.line import UNUSABLE, Line, lines_of
from litekeep.stream.spool import Spool, Spooled

#: After a look that found something the next one comes soon: little is left to read then.
_LOOK_SECONDS_MIN = 0.02
_LOOK_SECONDS_BUSY = 0.1
_LOOK_SECONDS_MAX = 0.25
#: Of log, that a look is to find.
_LOOK_SIZE = 1 << 20
#: How long a store that failed is left in peace, and a database that was busy.
RETRY_SECONDS = 5.0
BUSY_SECONDS = 0.5
#: How long a stop waits for what is captured to be shipped.
STOP_SECONDS = 10.0


class Stream:
    """One database's stream; `opened_stream` makes and ends it."""

    def __init__(self, job: StreamJob, spool: Spool, capture: Capture, tell: Tell) -> None:
        self._job = job
        self._spool = spool
        self._capture = capture
        self._tell = tell
        self._lines = lines_of(
            job.places,
            spool,
            job.policy,
            job.clock,
            self._warn,
            origin=origin_of(job.database, job.host),
            takes_over=job.takes_over,
        )
        self._changed = threading.Condition()
        self._is_stopping = False
        self._is_left = False
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
        self._spool.remove_fills()
        self._capture.replay()
        known = [line for line in self._lines if self._ask(line)]
        if not known and self._capture.txid == 0 and self._lines:
            assert self._lines[0].error is not None
            raise self._lines[0].error
        if known and all(line.shipper.position is None for line in known):
            self._go_on_from(max(known, key=lambda line: line.head))
        elsewhere = [line for line in known if line.shipper.position is None]
        for line in elsewhere:
            if not line.shipper.find_position(*self._capture.state):
                self._noting(line, line.fall_behind)
        self._say_captured(self._capture.begin("the stream was started", is_gap=is_gap))
        self._fill()

    def run(self, stop: threading.Event) -> None:
        """Capture and ship until *stop* is set."""
        futures = [workers.in_thread(partial(self._ship_all, line)) for line in self._lines]
        try:
            self._capture_until(stop)
        finally:
            self._notify(is_stopping=True)
            end = self._job.monotonic() + STOP_SECONDS
            for future in futures:
                with contextlib.suppress(TimeoutError):
                    future.result(max(0.0, end - self._job.monotonic()))
            with self._changed:
                self._is_left = True  # who still waits for a store does nothing more

    def ship_once(self) -> None:
        """Ship what is captured, and return when every store has it or has failed."""
        while True:
            for line in self._lines:
                if line.error is None:
                    self._noting(line, partial(self._ship_and_keep, line))
            self._forget_shipped()
            is_more = not self._capture.is_complete or self._is_asked_to_fill()
            if not is_more or self._spool.is_full:
                return
            self._capture.begin("the spool was full", is_gap=False)
            self._fill()

    def result(self) -> StreamResult:
        """Say how it stands."""
        return StreamResult(
            txid=self._capture.txid,
            counts=self._capture.counts,
            stores=tuple(
                StoreState(
                    url=line.url,
                    txid=line.shipper.head,
                    file_count=line.shipper.file_count,
                    bytes=line.shipper.byte_count,
                    error=line.error,
                )
                for line in self._lines
            ),
            spooled_count=len(self._spool.files()),
        )

    def _ask(self, line: Line) -> bool:
        return self._noting(line, lambda: line.begin(*self._capture.state))

    def _noting(self, line: Line, work: Callable[[], object]) -> bool:
        """Do it, and say whether it was done; what the store fails with is kept, and said once."""
        try:
            work()
        except (LeaseHeld, *FAILURES) as error:
            if line.error is None or line.error.message != error.message:
                about = "" if line.url in error.message else f"{line.url}: "
                self._warn(f"{about}{error.message}", error.hint)
            line.error = error
            line.is_over = isinstance(error, LeaseHeld)
            return False
        return True

    def _go_on_from(self, line: Line) -> None:
        """Have the page map of what the furthest store holds: it is not ours."""
        if line.head == 0:
            return
        self._say(f"{line.url} is at txid {line.head:016x}, which is not from here: reading it")

        def read() -> None:
            try:
                applied = line.read()
            except UNUSABLE as error:
                self._warn(f"{line.url}: {error.message}", "It gets the whole database once more.")
                return
            self._capture.adopt(applied)
            line.shipper.position = applied.txid

        self._noting(line, read)

    def _fill(self) -> None:
        """Capture what leads each store that is behind to where we are."""
        if not self._capture.is_complete:
            return  # there is no txid yet to lead it to
        for line in self._lines:
            if (behind := line.behind) is not None:
                self._say(f"{line.url} is at txid {line.head:016x}: bringing it here")
                is_captured, rest = self._capture.fill(behind)
                line.fill_captured(self._capture.txid, is_here=not is_captured, rest=rest)
        self._notify()

    def _is_asked_to_fill(self) -> bool:
        return any(line.behind is not None for line in self._lines)

    def _capture_until(self, stop: threading.Event) -> None:
        job = self._job
        wait, synced = _LOOK_SECONDS_MIN, job.monotonic()
        look_max = min(_LOOK_SECONDS_MAX, job.sync_seconds)
        while not stop.wait(wait):
            try:
                has_found = self._look()
                if self._is_asked_to_fill() and not self._is_let_go:
                    self._say_captured(self._capture.sync())
                    self._say_captured(self._capture.begin("a store was behind"))
                    self._fill()
            except DatabaseBusy as error:
                self._warn(error.message, error.hint)
                wait = BUSY_SECONDS
                continue
            self._say_captured(self._capture.synced())
            if self._capture.pending_size and job.monotonic() - synced >= job.sync_seconds:
                self._capture.start_sync()
                synced = job.monotonic()
            wait = self._wait_after(wait, look_max, has_found=has_found)
        if not self._is_let_go:
            try:
                self._look()
            except DatabaseBusy as error:
                self._warn(error.message, error.hint)
            self._say_captured(self._capture.sync())

    def _wait_after(self, waited: float, longest: float, *, has_found: bool) -> float:
        """Return when to look again: soon where much is written, or a sync is under way."""
        if self._capture.is_syncing:
            return _LOOK_SECONDS_MIN
        if not has_found:
            return min(waited * 1.3, longest)
        factor = min(2.0, _LOOK_SIZE / max(1, self._capture.found_size))
        return min(max(_LOOK_SECONDS_MIN, waited * factor), _LOOK_SECONDS_BUSY, longest)

    def _look(self) -> bool:
        """Look once; let go of the database while the spool is full."""
        if self._is_let_go:
            self._drop_laggards()
            if self._spool.size > self._job.spool_size_max // 2:
                return False
            self._say_captured(self._capture.begin("the spool was full"))
            self._is_let_go = False
            return True
        before = self._capture.counts
        self._say_captured(self._capture.look())
        after = self._capture.counts
        if after.sync_count > before.sync_count:
            self._notify()
        return (after.sync_count, after.commit_count) > (before.sync_count, before.commit_count)

    def _say_captured(self, spooled: Spooled | None) -> None:
        if spooled is None:
            return
        self._notify()
        if self._spool.is_full:
            self._drop_laggards()
        if self._spool.is_full:
            self._capture.sync()
            self._capture.let_go()
            self._is_let_go = True
            self._warn(
                "the spool is full: the database is let go of until the stores have taken it",
                "Look why a store does not take what is captured, or raise spool_size_max.",
            )

    def _drop_laggards(self) -> None:
        """Wait no longer for stores that lag, if one does not."""
        with self._changed:
            needed = {line: line.needed_after for line in self._lines}
            newest = max((one for one in needed.values() if one is not None), default=0)
            size_after = sum(f.note.size for f in self._spool.files() if f.max_txid > newest)
            if size_after > self._job.spool_size_max // 2:
                return
            for line, after in needed.items():
                # What leads one here is not thrown away while it is on its way.
                may_go = line.error is not None or line.shipper.position is not None
                if after is not None and after < newest and may_go:
                    line.drop()
                    self._spool.remove_fills(line.shipper.tag)
        self._forget_shipped()

    def _notify(self, *, is_stopping: bool = False) -> None:
        with self._changed:
            self._is_stopping = self._is_stopping or is_stopping
            self._changed.notify_all()

    def _ship_all(self, line: Line) -> None:
        """Ship until the stream stops; what fails is tried again."""
        while True:
            if self._noting(line, lambda: self._ship_and_keep(line)) and line.error is not None:
                line.error = None
                self._say(f"{line.url} takes the stream again")
            with self._changed:
                if line.is_over or self._is_left:
                    return
                if line.error is not None:
                    if self._is_stopping:
                        return
                    self._changed.wait(RETRY_SECONDS * line.patience)
                elif line.is_dropped:
                    self._changed.wait(RETRY_SECONDS * line.patience)
                elif line.shipper.next_file() is not None:
                    continue
                elif self._is_stopping:
                    return
                else:
                    self._changed.wait(line.keeping.seconds_until_due())

    def _ship_and_keep(self, line: Line) -> None:
        """Ship what waits; then merge and remove files, past which what comes is shipped."""
        self._ship_waiting(line)

        def pause() -> None:
            if self._is_stopping:
                raise Stopping
            self._ship_waiting(line)

        if not self._is_stopping:
            line.keeping.work(pause)

    def _ship_waiting(self, line: Line) -> None:
        if line.is_dropped or line.shipper.head is None:
            line.behind = None
            if not line.begin(*self._capture.state):
                line.fall_behind()
        while not self._is_left and (spooled := line.shipper.next_file()) is not None:
            try:
                link, time_ms = line.shipper.ship(spooled)
            except BlobNotFound:
                if not line.is_dropped:  # else it is gone from the spool
                    raise
                return
            except ChecksumMismatch:
                line.is_dropped = True
                self._spool.remove(spooled)
                return
            line.keeping.shipped(link, time_ms)
            self._forget_shipped()
        line.ask_for_rest()

    def _forget_shipped(self) -> None:
        """Remove from the spool what every store has."""
        with self._changed:
            needed = [line.needed_after for line in self._lines]
            if self._is_left or all(one is None for one in needed):
                return
            everywhere = min(one for one in needed if one is not None)
            files = self._spool.files()
            done = [one for one in files if one.tag is None and one.max_txid <= everywhere]
            page_map = self._capture.page_map
            if not done or page_map is None or not page_map.sync(done[-1].max_txid):
                return
            for spooled in done:
                self._spool.remove(spooled)

    def _say(self, message: str) -> None:
        self._tell(self._job, Told(message))

    def _warn(self, message: str, hint: str | None) -> None:
        self._tell(self._job, Told(message, hint, is_warning=True))
