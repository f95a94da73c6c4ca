"""
Keeping one store's chain in shape while it grows: merging, and removing what no longer stays.

It runs on the thread that ships to this store, when that has nothing to ship.  What lies in
the store is listed once, and known from then on by what was shipped and merged here; so while
nothing new was shipped, no request is made.  A store is listed again before anything is
removed: where somebody else has written to it meanwhile, he decides what goes.

    <spool>/<hash of the place>.times    a line with when files were removed last, and one with
                                         the time of each txid, which a list does not tell

The file is written anew when files are removed, and gets a line for each merge.  It may be
lost, or end in half a line: the times are asked of the store then, those that decide something.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from litekeep import faults, workers
from litekeep.clock import Clock, now
from litekeep.errors import BlobNotFound, LeaseHeld, LitekeepError
from litekeep.store.base import FAILURES
from litekeep.store.files import translated, write_all
from litekeep.store.temporary import temporary_file
from litekeep.stream.chain import Chain, Link, Place, chain_of, read_chain
from litekeep.stream.compact import apply_merge, plan_compaction
from litekeep.stream.history import History
from litekeep.stream.metadata import TIME_KEY, read_time, time_ms_of
from litekeep.stream.policy import StreamPolicy
from litekeep.stream.retention import apply_retention, drilled, plan_retention

#: Of plans in a row: levels, and what early merges add to them.
_ROUNDS_MAX = 100
_REQUESTS_AT_ONCE = 8
_TIMES_SIZE_MAX = 256 << 20
#: After a failure that trying again does not mend.
_REST_MS = 3_600_000


class Stopping(Exception):
    """What `pause` raises when the stream ends: what is being merged is given up."""


@dataclass(frozen=True, slots=True)
class _Remembered:
    """What the file of times says."""

    retained_ms: int = 0
    txid: int = 0
    times: dict[int, int] = field(default_factory=dict)


class Keeping:
    """
    Merges and removes files of one chain.

    Args:
        place: Where the chain lies.

        folder: The spool's, for temporary files and the file of times.

        policy: What is merged and what stays.

        clock: Tells which windows have ended.

        warn: Is told what went wrong, and what to do.
    """

    def __init__(
        self,
        place: Place,
        folder: Path,
        policy: StreamPolicy,
        *,
        clock: Clock = now,
        warn: Callable[[str, str | None], object] = lambda _, __: None,
    ) -> None:
        self._place = place
        self._folder = folder
        self._policy = policy
        self._clock = clock
        self._warn = warn
        key = hashlib.sha256(f"{place.store.address}\n{place.root}".encode()).hexdigest()[:12]
        self._times_path = folder / f"{key}.times"
        self._remembered = _read_times(self._times_path)
        self._history: History | None = None
        #: When all was done that was to be, when something was shipped last, how much since.
        self._done_ms = 0
        self._shipped_ms = 0
        self._new_count = 0
        self._rest_until_ms = 0

    def know(self, chain: Chain) -> None:
        """Take what was listed just now."""
        self._history = History(chain.links, self._remembered.times)
        if self._history.ends:
            self._shipped_ms = self._history.time_ms(self._history.last_txid)

    def shipped(self, link: Link, time_ms: int) -> None:
        """Take what was shipped just now, and its time."""
        self._shipped_ms = max(self._shipped_ms, time_ms_of(self._clock()))
        self._new_count += 1
        if self._history is not None:
            self._history.add(link, time_ms)

    def seconds_until_due(self) -> float | None:
        """Say when there may be something to do; None if only what is shipped can change that."""
        now_ms = time_ms_of(self._clock())
        due_ms = self._due_ms()
        return None if due_ms is None else max(0.0, (due_ms - now_ms) / 1000)

    def work(self, pause: Callable[[], object]) -> None:
        """
        Merge and remove what is to be by now.

        Args:
            pause: Is called often; it ships what waits, or raises `Stopping`.

        Raises:
            StoreError, UserError: The store failed, here or in *pause*.

            LeaseHeld: Somebody else writes to this chain.
        """
        now_ms = time_ms_of(self._clock())
        due_ms = self._due_ms()
        if due_ms is None or due_ms > now_ms:
            return
        try:
            self._compact(now_ms, pause)
            self._retain(now_ms, pause)
        except Stopping:
            return
        except BlobNotFound:
            self._history = None  # somebody else removed files: list them again
        except (LeaseHeld, *FAILURES):
            raise
        except LitekeepError as error:
            self._warn(f"{self._place.store.url}: {error.message}", error.hint)
            self._rest_until_ms = now_ms + _REST_MS
        self._done_ms = now_ms
        self._new_count = 0

    def _due_ms(self) -> int | None:
        """When there may be something to do, for the first time since all was done."""
        if not self._shipped_ms:
            return None
        due = []
        for seconds in self._policy.windows_seconds:
            window_ms = seconds * 1000
            began_ms = self._done_ms // window_ms * window_ms
            if self._shipped_ms >= began_ms:
                due.append(began_ms + window_ms)
        if self._new_count >= self._policy.members_max:
            due.append(self._shipped_ms)
        if self._history is not None and self._history.last_txid != self._remembered.txid:
            due.append(self._remembered.retained_ms + self._policy.retention_seconds * 1000)
        return max(min(due), self._rest_until_ms) if due else None

    def _compact(self, now_ms: int, pause: Callable[[], object]) -> None:
        history = self._listed()
        # A merged file may have come long after what is in it.
        self._learn(history, history.merged(), pause)
        for _ in range(_ROUNDS_MAX):
            merges = plan_compaction(history, self._policy, now_ms).merges
            for merge in merges:
                pause()
                link = apply_merge(self._place, merge, self._folder, pause=pause)
                time_ms = history.time_ms(link.max_txid)
                history.add(link, time_ms)
                self._add_time(link.max_txid, time_ms)
            if not merges:
                return

    def _retain(self, now_ms: int, pause: Callable[[], object]) -> None:
        history = self._listed()
        due_ms = self._remembered.retained_ms + self._policy.retention_seconds * 1000
        if history.last_txid == self._remembered.txid or now_ms < due_ms:
            return
        if plan_retention(history, self._policy.keep).removed:
            history, held = self._again(history, pause)
            plan = plan_retention(history, self._policy.keep, held=held)
            apply_retention(self._place, plan.removed, pause=pause, gone=history.remove)
        self._remember(_Remembered(now_ms, history.last_txid, dict(history.known_times)))

    def _again(
        self, before: History, pause: Callable[[], object]
    ) -> tuple[History, dict[int, str]]:
        """List the store, and ask it for the times that decide something; say what is held."""
        pause()
        blobs = tuple(self._place.store.list(self._place.root))
        chain = chain_of(self._place, blobs)
        if chain.last_txid > before.last_txid:
            raise LeaseHeld(
                f"{self._place.store.url} holds txid {chain.last_txid:016x} of somebody else",
                hint="Two hosts stream to one place: nothing was removed. End one of them.",
            )
        # What is shipped from now on comes to this one.
        history = self._history = History(chain.links, before.known_times)
        # What is so young that every sync stays need not be told apart.
        young = [tier.within_seconds for tier in self._policy.keep if not tier.every_seconds]
        oldest_ms = history.time_ms(history.last_txid) - max(young, default=0) * 1000
        old = [link for link in history.links if history.time_ms(link.max_txid) < oldest_ms]
        self._learn(history, old, pause)
        names = (blob.name.removeprefix(self._place.root) for blob in blobs)
        return history, dict.fromkeys(drilled(names), "a drill restored it")

    def _learn(self, history: History, links: Sequence[Link], pause: Callable[[], object]) -> None:
        """Ask the store for the times of these that are not known."""
        known = history.known_times
        asked = {link.max_txid: link for link in links if link.max_txid not in known}
        if not asked:
            return
        told = workers.ordered(self._ask_time, asked.values(), threads=_REQUESTS_AT_ONCE)
        times = {}
        for txid, time_ms in zip(asked, told, strict=True):
            pause()
            times[txid] = time_ms
            self._add_time(txid, time_ms)
        history.learn(times)

    def _ask_time(self, link: Link) -> int:
        blob = self._place.store.head(link.object)
        told = read_time(blob.metadata.get(TIME_KEY))
        return time_ms_of(blob.modified) if told is None else told

    def _listed(self) -> History:
        if self._history is None:
            self.know(read_chain(self._place))
        assert self._history is not None
        return self._history

    def _remember(self, remembered: _Remembered) -> None:
        """Write the file of times; a kill before the rename leaves the old one."""
        self._remembered = remembered
        lines: list[list[object]] = [[remembered.retained_ms, remembered.txid, "retained"]]
        lines += [[txid, time_ms] for txid, time_ms in remembered.times.items()]
        data = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
        with translated(self._times_path), temporary_file(self._folder) as (temporary, file):
            write_all(file, data, self._times_path.name)
            # Not made durable: what a crash of the machine leaves of it is a file that was lost.
            faults.reach("rename times")
            temporary.replace(self._times_path)

    def _add_time(self, txid: int, time_ms: int) -> None:
        """Write one more line: the next run need not ask for it."""
        with translated(self._times_path), self._times_path.open("ab", buffering=0) as file:
            file.write(f"[{txid}, {time_ms}]\n".encode())


def _read_times(path: Path) -> _Remembered:
    """Return what the file says; lines that are damaged are passed over."""
    retained_ms = last_txid = 0
    times: dict[int, int] = {}
    try:
        with path.open("rb") as file:
            lines = file.read(_TIMES_SIZE_MAX).splitlines()
    except OSError:
        return _Remembered()
    for line in lines:
        with contextlib.suppress(ValueError, TypeError):
            match json.loads(line):
                case [int(txid), int(time_ms)]:
                    times[txid] = time_ms
                case [int(time_ms), int(txid), "retained"]:
                    retained_ms, last_txid = time_ms, txid
    return _Remembered(retained_ms, last_txid, times)
