"""
A stream from a live database to its stores, and back: by us and by the real Litestream.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from litekeep import workers
from litekeep.clock import monotonic, sleep
from litekeep.errors import LeaseHeld, StoreUnavailable
from litekeep.store.base import Blob, Body
from litekeep.store.directory import DirectoryStore
from litekeep.stream.chain import Place, plan_links, read_chain
from litekeep.stream.job import StreamJob, StreamResult
from litekeep.stream.rebuild import Applied, apply_links
from litekeep.stream.running import run_streams, stream_once
from tests.end_to_end.test_live_writers import final_commit, hostile
from tests.writers.application import Application
from tests.writers.ledger import at_work, commit_number, make_ledger
from tests.writers.litestream import restore as litestream_restore
from tests.writers.reading import copy_of, opened, plain_checksum

FILL = (
    "WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
    "INSERT INTO t(a) SELECT randomblob(300) FROM n"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


@pytest.fixture
def app(path: Path) -> Iterator[Application]:
    with Application(path) as application:
        application.run("PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
        application.run(FILL)
        yield application


def place_of(folder: Path) -> Place:
    return Place(DirectoryStore(folder), "app/")


def job_of(path: Path, *places: Place, **changes: object) -> StreamJob:
    places = places or (place_of(path.parent / "store"),)
    return replace(StreamJob(path, "app", places, path.parent / "state", 0.05), **changes)


@contextmanager
def streaming(job: StreamJob) -> Iterator[list[StreamResult]]:
    """Stream while the block lasts; how it ended is in the list afterwards."""
    stop, begun = threading.Event(), threading.Event()
    ended: list[StreamResult] = []
    running = workers.in_thread(lambda: run_streams([job], stop, begun=begun.set))
    try:
        assert begun.wait(30)
        yield ended
    finally:
        stop.set()
        (result,) = running.result(60)
    assert isinstance(result, StreamResult), result
    ended.append(result)


def restored(place: Place, out: Path, txid: int | None = None) -> Applied:
    chain = read_chain(place)
    links = plan_links(chain, txid or chain.last_txid)
    with out.open("w+b") as file:
        return apply_links(
            place,
            links,
            write=lambda offset, data: os.pwrite(file.fileno(), data, offset),
            resize=file.truncate,
        )


def bytes_of(place: Place, folder: Path, txid: int | None = None) -> bytes:
    out = folder / "restored.db"
    applied = restored(place, out, txid)
    data = out.read_bytes()
    assert applied.is_proved
    assert applied.checksum == plain_checksum(data, applied.page_size)
    return data


def reached(place: Place, txid: int) -> None:
    """Wait until the store holds this txid."""
    end = monotonic() + 30
    while read_chain(place).last_txid < txid:
        assert monotonic() < end
        sleep(0.02)


def stored_size(place: Place) -> int:
    return sum(link.size for link in read_chain(place).links)


def test_what_hostile_writers_commit_is_restored_at_every_txid(tmp_path):
    """By us and, byte for byte the same, by the real Litestream; each txid is one commit."""
    path = tmp_path / "app.db"
    make_ledger(path)
    job = job_of(path, help_size=1 << 20)
    with at_work(hostile(path)), streaming(job) as ended:
        reached(job.places[0], 25)
    # The writers ended last: once more, for what they committed after the stream.
    stream_once(job)

    chain = read_chain(job.places[0])
    last = 0
    for txid in chain.txids():
        data = bytes_of(job.places[0], tmp_path, txid)
        with opened(data) as connection:
            number = commit_number(connection)
        assert number >= last
        last = number
    assert last == final_commit(path)
    assert ended[0].counts.commit_count > 25
    middle = chain.txids()[len(chain.txids()) // 2]
    for txid in (middle, chain.last_txid):
        theirs = litestream_restore(
            tmp_path / "store" / "app", tmp_path / f"theirs-{txid}.db", txid
        )
        assert theirs == bytes_of(job.places[0], tmp_path, txid)


def test_a_second_run_sends_what_changed_and_a_third_nothing(app, path, tmp_path):
    job = job_of(path)
    whole = stream_once(job).stores[0].bytes
    app.run("UPDATE t SET a = 'x' WHERE id = 1000")
    second = stream_once(job).stores[0]
    assert (second.file_count, second.bytes < whole / 50) == (1, True)
    assert stream_once(job).stores[0].file_count == 0
    assert bytes_of(job.places[0], tmp_path) == copy_of(path)


@pytest.mark.parametrize("lost", ["state", "map", "spool is of another history", "nothing"])
def test_after_a_gap_only_changed_pages_are_sent(app, path, tmp_path, lost):
    """Whatever became of the local state meanwhile."""
    job = job_of(path)
    whole = stream_once(job).stores[0].bytes
    (folder,) = (tmp_path / "state" / "stream").iterdir()
    app.run("UPDATE t SET a = 'x' WHERE id % 500 = 1")
    app.checkpoint("TRUNCATE")
    match lost:
        case "state":
            shutil.rmtree(tmp_path / "state")
        case "map":
            (folder / "pages.map").write_bytes(b"damaged")
        case "spool is of another history":
            stream_once(replace(job, places=(place_of(tmp_path / "elsewhere"),)))
            app.run("UPDATE t SET a = 'y' WHERE id = 7")

    result = stream_once(job)
    assert 0 < result.stores[0].bytes < whole / 10
    assert result.stores[0].file_count <= 2
    assert bytes_of(job.places[0], tmp_path) == copy_of(path)


def test_another_host_takes_over_with_a_diff(app, path, tmp_path):
    job = job_of(path)
    whole = stream_once(job).stores[0].bytes
    app.close()
    other = tmp_path / "other.db"
    shutil.copy(path, other)
    with Application(other) as there:
        there.run("INSERT INTO t(a) VALUES ('there')")
    taken = replace(job, database=other, state=tmp_path / "other-state", host="other")

    result = stream_once(taken)
    assert result.stores[0].bytes < whole / 10
    assert bytes_of(job.places[0], tmp_path) == copy_of(other)


def test_a_host_that_comes_back_replaces_nothing(app, path, tmp_path):
    """It finds other bytes under its next name, and adopts what the store holds at its start."""
    job = job_of(path)
    stream_once(job)
    with streaming(job) as ended:
        other = tmp_path / "other.db"
        restored(job.places[0], other)
        with Application(other) as there:
            there.run("INSERT INTO t(a) VALUES ('there')")
        stream_once(replace(job, database=other, state=tmp_path / "other-state", host="other"))
        theirs = bytes_of(job.places[0], tmp_path, 2)
        app.run("INSERT INTO t(a) VALUES ('here')")
        end = monotonic() + 30
        while not any((tmp_path / "state").rglob("*.ltx")):
            assert monotonic() < end
            sleep(0.02)
        sleep(0.2)  # it must not be shipped however long one waits
    assert isinstance(ended[0].stores[0].error, LeaseHeld)
    assert bytes_of(job.places[0], tmp_path, 2) == theirs

    again = stream_once(job)
    assert again.stores[0].error is None
    assert bytes_of(job.places[0], tmp_path) == copy_of(path)
    assert bytes_of(job.places[0], tmp_path, 2) == theirs


class _Down(DirectoryStore):
    """A store that may be away."""

    is_down = False

    def put(
        self,
        name: str,
        body: Body,
        *,
        create: bool = False,
        metadata: Mapping[str, str] | None = None,
        size_max: int | None = None,
    ) -> Blob:
        if self.is_down:
            raise StoreUnavailable("the store is away", hint="Wait.")
        return super().put(name, body, create=create, metadata=metadata, size_max=size_max)


def test_a_store_that_is_down_holds_up_no_other_and_catches_up(app, path, tmp_path, monkeypatch):
    monkeypatch.setattr("litekeep.stream.streaming.RETRY_SECONDS", 0.05)
    down = _Down(tmp_path / "down")
    places = (place_of(tmp_path / "up"), Place(down, "app/"))
    job = job_of(path, *places)
    stream_once(job)
    down.is_down = True
    with streaming(job) as ended:
        for value in range(3):
            app.run(f"INSERT INTO t(a) VALUES ({value})")
            reached(places[0], 2 + value)
        assert read_chain(places[1]).last_txid == 1
        down.is_down = False
        reached(places[1], 4)
    assert [store.txid for store in ended[0].stores] == [4, 4]
    assert ended[0].spooled_count == 0
    assert bytes_of(places[1], tmp_path) == copy_of(path)


def test_a_store_that_is_added_later_gets_the_whole_and_the_first_nothing(app, path, tmp_path):
    first, second = place_of(tmp_path / "first"), place_of(tmp_path / "second")
    stream_once(job_of(path, first))
    app.run("INSERT INTO t(a) VALUES ('later')")
    stream_once(job_of(path, first))
    before = stored_size(first)

    result = stream_once(job_of(path, first, second))
    assert stored_size(first) == before
    # Each store counts by itself: its chain begins with one name that only one host can create.
    assert [store.txid for store in result.stores] == [result.txid, 1] == [2, 1]
    assert bytes_of(second, tmp_path) == bytes_of(first, tmp_path) == copy_of(path)


def test_an_idle_database_asks_nothing_of_its_store(app, path, tmp_path):
    asked: list[str] = []

    class Counting(DirectoryStore):
        def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Blob]:
            asked.append("list")
            return super().list(prefix, start_after=start_after)

        def head(self, name: str) -> Blob:
            asked.append("head")
            return super().head(name)

        def put(self, name: str, body: Body, **options: object) -> Blob:
            asked.append("put")
            return super().put(name, body, **options)

    job = job_of(path, Place(Counting(tmp_path / "store"), "app/"))
    stream_once(job)
    with streaming(job):
        asked.clear()
        sleep(1.0)  # nothing is to come, so there is nothing to wait for
        assert asked == []


@pytest.mark.parametrize("mode", ["DELETE", "TRUNCATE", "PERSIST"])
def test_a_database_without_a_log_is_streamed_by_comparing(tmp_path, mode):
    path = tmp_path / "app.db"
    with Application(path) as app:
        app.run(f"PRAGMA journal_mode={mode}; CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
        app.run(FILL)
        job = job_of(path)
        with streaming(job):
            app.run("INSERT INTO t(a) VALUES ('more')")
            reached(job.places[0], 2)
            app.run("PRAGMA journal_mode=WAL")
            app.run("INSERT INTO t(a) VALUES ('in a log')")
            reached(job.places[0], 3)
        app.close()
    stream_once(job)
    assert bytes_of(job.places[0], tmp_path) == copy_of(path)


def test_a_new_page_size_begins_a_new_chain_and_the_old_one_stays(app, path, tmp_path):
    job = job_of(path)
    stream_once(job)
    before = bytes_of(job.places[0], tmp_path)
    app.run("PRAGMA journal_mode=DELETE")
    app.run("PRAGMA page_size=1024; VACUUM")
    app.run("PRAGMA journal_mode=WAL")

    stream_once(job)
    app.run("INSERT INTO t(a) VALUES ('small')")
    stream_once(job)
    assert bytes_of(job.places[0], tmp_path) == copy_of(path)
    assert bytes_of(job.places[0], tmp_path, 1) == before


def test_a_spool_that_is_full_lets_go_and_takes_up_again(app, path, tmp_path, monkeypatch):
    monkeypatch.setattr("litekeep.stream.streaming.RETRY_SECONDS", 0.05)
    down = _Down(tmp_path / "down")
    job = job_of(path, Place(down, "app/"), spool_size_max=100_000)
    stream_once(job)
    down.is_down = True
    with streaming(job) as ended:
        for _ in range(4):
            app.run("INSERT INTO t(a) SELECT randomblob(60000)")
            sleep(0.15)
        app.run("PRAGMA journal_mode=DELETE")  # nobody holds a mark any more
        app.run("PRAGMA journal_mode=WAL")
        down.is_down = False
        end = monotonic() + 30
        while ended == [] and monotonic() < end:
            chain = read_chain(job.places[0])
            if chain.last_txid > 1 and not list((tmp_path / "state").rglob("*.ltx")):
                break
            sleep(0.05)
        app.run("INSERT INTO t(a) VALUES ('behind')")
        reached(job.places[0], read_chain(job.places[0]).last_txid + 1)
    assert ended[0].counts.diff_count >= 2
    stream_once(job)
    assert bytes_of(job.places[0], tmp_path) == copy_of(path)
