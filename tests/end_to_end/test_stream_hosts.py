"""
Two hosts at one place: nothing is overwritten, no txid exists twice, and what is restored is
the history of the one that held the fence.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from litekeep import workers
from litekeep.errors import LeaseHeld, UserError
from litekeep.store.base import Blob, Body
from litekeep.store.memory import MemoryStore
from litekeep.stream.chain import Place, read_chain
from litekeep.stream.job import StreamJob
from litekeep.stream.metadata import PARTIAL_KEY
from litekeep.stream.running import opened_stream, stream_once
from tests.end_to_end.test_stream import bytes_of
from tests.writers.application import Application
from tests.writers.reading import copy_of, opened


class Shared(MemoryStore):
    """Remembers every put that was done, and calls back before each."""

    def __init__(self) -> None:
        super().__init__()
        self.before_put: Callable[[str], object] = lambda _: None
        self.puts: list[str] = []

    def put(
        self,
        name: str,
        body: Body,
        *,
        create: bool = False,
        metadata: Mapping[str, str] | None = None,
        size_max: int | None = None,
    ) -> Blob:
        self.before_put(name)
        put = super().put(name, body, create=create, metadata=metadata, size_max=size_max)
        assert create, "nothing of a chain may be put so that it could replace"
        if name.endswith(".ltx"):
            self.puts.append(name)
        return put


@dataclass(frozen=True)
class Host:
    """A machine with its copy of the database and its own state."""

    folder: Path
    place: Place

    @property
    def path(self) -> Path:
        return self.folder / "app.db"

    @property
    def job(self) -> StreamJob:
        name = self.folder.name
        return StreamJob(self.path, "app", (self.place,), self.folder / "state", host=name)

    def commit(self, value: str) -> None:
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("INSERT INTO t(a) VALUES (?)", (value,))

    def rows(self, txid: int | None = None) -> list[str]:
        with opened(bytes_of(self.place, self.folder, txid)) as connection:
            return [a for (a,) in connection.execute("SELECT a FROM t WHERE a IS NOT NULL")]


def host_of(tmp_path: Path, name: str, place: Place, filler_size: int = 0) -> Host:
    folder = tmp_path / name
    folder.mkdir()
    host = Host(folder, place)
    with Application(host.path) as app:
        app.run("PRAGMA journal_mode=WAL; CREATE TABLE t(a, b)")
        app.run(f"INSERT INTO t(b) VALUES (randomblob({filler_size}))")
        app.close()
    host.commit(name)
    return host


@pytest.fixture
def place() -> Place:
    return Place(Shared(), "app/")


def check(place: Place, folder: Path) -> None:
    """No txid is there twice, each can be restored, and no object was put twice."""
    store = place.store
    assert isinstance(store, Shared)
    chain = read_chain(place)
    assert len(chain.txids()) == len(chain.links)
    assert len(store.puts) == len(set(store.puts))
    for link in chain.links:
        data = bytes_of(place, folder, link.max_txid)
        if PARTIAL_KEY not in store.head(link.object).metadata:
            with opened(data) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("filler_size", [0, 300_000], ids=["one file", "many files"])
def test_of_two_hosts_that_begin_at_once_one_holds_the_fence(
    tmp_path, place, monkeypatch, filler_size
):
    """Both see an empty place, and both put; a large database goes in many files."""
    monkeypatch.setattr("litekeep.stream.found.PART_SIZE_MAX", 40_000)
    hosts = [host_of(tmp_path, name, place, filler_size) for name in ("one", "two")]
    meeting = threading.Barrier(2)
    first = place.object_of(0, 1, 1)
    place.store.before_put = lambda name: meeting.wait(20) if name == first else None

    running = [workers.in_thread(partial(stream_once, host.job)) for host in hosts]
    results = [future.result() for future in running]
    errors = [result.stores[0].error for result in results]
    assert [type(error) for error in errors if error] == [LeaseHeld]
    winner = hosts[errors.index(None)]
    loser = hosts[1 - errors.index(None)]
    check(place, tmp_path)
    assert bytes_of(place, tmp_path) == copy_of(winner.path)
    assert (len(read_chain(place).links) > 5) == bool(filler_size)

    # Started again it goes on from there, with what differs.
    assert stream_once(loser.job).stores[0].error is None
    check(place, tmp_path)
    assert bytes_of(place, tmp_path) == copy_of(loser.path)


def test_a_packet_that_arrives_late_replaces_nothing(tmp_path, place):
    """It was sent before another host took over, which wrote that txid meanwhile."""
    stale = host_of(tmp_path, "stale", place)
    stream_once(stale.job)
    late, sent = threading.Event(), threading.Event()

    def hold(name: str) -> None:
        if threading.current_thread() is not threading.main_thread() and ".ltx" in name:
            sent.set()
            assert late.wait(20)

    stale.commit("late")
    place.store.before_put = hold
    running = workers.in_thread(lambda: stream_once(stale.job))
    assert sent.wait(20)
    fresh = host_of(tmp_path, "fresh", place)
    assert stream_once(fresh.job).stores[0].error is None
    fresh.commit("more")
    assert stream_once(fresh.job).stores[0].error is None
    late.set()
    assert isinstance(running.result().stores[0].error, LeaseHeld)
    check(place, tmp_path)
    assert [fresh.rows(txid) for txid in (1, 2, 3)] == [["stale"], ["fresh"], ["fresh", "more"]]


def test_a_host_that_was_paused_ships_nothing_of_what_waited(tmp_path, place):
    paused = host_of(tmp_path, "paused", place)
    with opened_stream(paused.job, lambda *_: None) as stream:
        stream.begin()
        stream.ship_once()
        for value in ("a", "b", "c"):
            paused.commit(value)
            stream._look()
            stream._capture.sync()  # three files wait in its spool
        other = Host(tmp_path / "other", place)
        other.folder.mkdir()
        other.path.write_bytes(bytes_of(place, tmp_path))
        other.commit("other")
        assert stream_once(other.job).stores[0].error is None
        stream.ship_once()
        result = stream.result()
    assert isinstance(result.stores[0].error, LeaseHeld)
    assert result.stores[0].file_count == 1
    assert other.rows() == ["paused", "other"]
    check(place, tmp_path)

    assert stream_once(paused.job).stores[0].error is None
    check(place, tmp_path)
    assert paused.rows() == ["paused", "a", "b", "c"]
    assert paused.rows(2) == ["paused", "other"]


def test_two_stores_that_went_apart_are_each_led_here(tmp_path):
    """Each by what differs from what it holds: the txids of neither are the other's."""
    places = [Place(Shared(), "app/") for _ in range(2)]
    host = host_of(tmp_path, "host", places[0], filler_size=200_000)
    both = StreamJob(host.path, "app", tuple(places), host.folder / "state")
    stream_once(both)
    for name, place, count in (("left", places[0], 2), ("right", places[1], 1)):
        other = Host(tmp_path / name, place)
        other.folder.mkdir()
        other.path.write_bytes(bytes_of(place, tmp_path))
        for number in range(count):
            other.commit(f"{name} {number}")
            stream_once(other.job)
    host.commit("here")

    result = stream_once(both)
    assert [store.error for store in result.stores] == [None, None]
    assert [store.bytes < 50_000 for store in result.stores] == [True, True]
    for place in places:
        assert bytes_of(place, tmp_path) == copy_of(host.path)
        check(place, tmp_path)
    host.commit("once more")
    assert [store.file_count for store in stream_once(both).stores] == [1, 1]
    for place in places:
        assert bytes_of(place, tmp_path) == copy_of(host.path)
        check(place, tmp_path)


class Careless(MemoryStore):
    """Ignores conditions, as some servers do."""

    def put(
        self,
        name: str,
        body: Body,
        *,
        create: bool = False,
        metadata: Mapping[str, str] | None = None,
        size_max: int | None = None,
    ) -> Blob:
        return super().put(name, body, metadata=metadata, size_max=size_max)


def test_a_store_that_ignores_conditions_is_refused(tmp_path):
    place = Place(Careless(), "app/")
    host = host_of(tmp_path, "host", place)
    with pytest.raises(UserError, match="must not be replaced") as caught:
        stream_once(host.job)
    assert caught.value.hint is not None
    assert read_chain(place).links == ()


def test_a_store_is_probed_once(tmp_path, place):
    host = host_of(tmp_path, "host", place)
    asked: list[str] = []
    place.store.before_put = asked.append
    stream_once(host.job)
    assert asked.count(".litekeep-probe") == 2
    host.commit("more")
    stream_once(host.job)
    assert asked.count(".litekeep-probe") == 2
