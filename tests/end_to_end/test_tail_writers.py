"""
A tail behind several processes that write, checkpoint and vacuum as they like.

Its copy is looked at again and again, and is a commit each time, never an older one than
before; and at the end it is, byte for byte, what a view shows.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from litekeep.sqlite.tail import Lost, follow
from tests.end_to_end.test_live_writers import final_commit, hostile
from tests.writers.ledger import at_work, commit_number, make_ledger
from tests.writers.reading import log_salts, opened
from tests.writers.replica import Replica

SECONDS = 4.0
PATIENCE_SECONDS = 60.0


class Follower:
    """Follows in a thread of its own, so that nobody ever waits for our mark."""

    def __init__(self, path: Path, help_size: int | None) -> None:
        self.seen: Counter[str] = Counter()
        self.data = b""
        self._path = path
        self._help_size = help_size
        self.has_helped = threading.Event()
        self._is_over = threading.Event()
        self._last = 0

    def run(self) -> None:
        """Follow until `stop`, then to the end; begin again where the log was lost."""
        while not self._follow():
            self.seen["lost"] += 1

    def _follow(self) -> bool:
        salts = b""
        with follow(self._path, help_size=self._help_size) as tail:
            assert tail is not None
            replica = Replica(tail.first)
            while (changes := tail.look()) is not None or not self._is_over.is_set():
                if tail.helped_count:
                    self.has_helped.set()
                if changes is None:
                    self.seen["quiet"] += 1
                    self._is_over.wait(0.001)
                    continue
                if isinstance(changes, Lost):
                    return False
                replica.apply(changes)
                self.seen["looks"] += 1
                self.seen["restarts"] += log_salts(self._path) != salts
                salts = log_salts(self._path)
                if self.seen["looks"] % 20 == 1:
                    self._look_at(bytes(replica.data))
            self.data = bytes(replica.data)
        return True

    def stop(self) -> None:
        """No more is written."""
        self._is_over.set()

    def _look_at(self, data: bytes) -> None:
        with opened(data) as connection:
            number = commit_number(connection)
        assert number >= self._last
        self._last = number


def run_tail(
    folder: Path, seconds: float, *, page_size: int = 4096, help_size: int | None = 1 << 20
) -> Counter[str]:
    """Follow hostile writers for some time; return what was seen on the way."""
    path = folder / "app.db"
    make_ledger(path, page_size=page_size)
    follower = Follower(path, help_size)
    with ThreadPoolExecutor(1) as pool:
        try:
            with at_work(hostile(path)) as did:
                running = pool.submit(follower.run)
                with contextlib.suppress(TimeoutError):
                    running.result(seconds)
                if help_size is not None:
                    assert follower.has_helped.wait(PATIENCE_SECONDS)
        finally:
            follower.stop()
        running.result()
    with opened(follower.data) as connection:
        assert commit_number(connection) == final_commit(path)
    return follower.seen + did


@pytest.mark.parametrize("help_size", [None, 1 << 18], ids=["alone", "helping"])
def test_a_tail_behind_hostile_writers_misses_no_commit(tmp_path, help_size):
    seen = run_tail(tmp_path, SECONDS, help_size=help_size)

    assert seen["restarts"] > 3
    assert seen["lost"] == 0
    assert all(seen[mode] for mode in ("PASSIVE", "FULL", "RESTART", "TRUNCATE")), seen
    assert seen["vacuums"] > 0


@pytest.mark.torture
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_a_tail_misses_no_commit_for_a_minute(tmp_path, page_size):
    assert run_tail(tmp_path, 60.0, page_size=page_size, help_size=1 << 20)["restarts"] > 0
