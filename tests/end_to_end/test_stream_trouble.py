"""
A stream in trouble: stores that lag or come back as another's, damage, locks, a full spool.
"""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from litekeep import workers
from litekeep.clock import monotonic, sleep
from litekeep.errors import DatabaseBusy, StoreUnavailable
from litekeep.sqlite import tail as tail_module
from litekeep.sqlite.live import LiveView
from litekeep.sqlite.logstate import stable_log
from litekeep.store.base import Blob
from litekeep.store.directory import DirectoryStore
from litekeep.stream.chain import Place, read_chain
from litekeep.stream.job import Told
from litekeep.stream.running import opened_stream, run_streams, stream_once
from tests.end_to_end.test_stream import (
    _Down,
    app,
    bytes_of,
    job_of,
    path,
    place_of,
    reached,
    restored,
    stored_size,
    streaming,
)
from tests.writers.application import Application
from tests.writers.reading import copy_of

__all__ = ["app", "path"]  # the fixtures


class _Away(_Down):
    """A store that may not answer at all."""

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Blob]:
        if self.is_down:
            raise StoreUnavailable("the store is away", hint="Wait.")
        return super().list(prefix, start_after=start_after)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("streaming", "running"):
        monkeypatch.setattr(f"litekeep.stream.{module}.RETRY_SECONDS", 0.05)


def test_a_store_that_comes_back_with_another_history_is_led_here(app, path, tmp_path):
    """It was away when the stream began, and another host had written to it."""
    away = _Away(tmp_path / "away")
    places = (place_of(tmp_path / "near"), Place(away, "app/"))
    job = job_of(path, *places)
    whole = stream_once(job).stores[1].bytes
    other = tmp_path / "other.db"
    shutil.copy(path, other)
    other.write_bytes(bytes_of(places[1], tmp_path))
    theirs = replace(
        job, database=other, state=tmp_path / "other-state", host="other", places=places[1:]
    )
    with Application(other) as there:
        there.run("INSERT INTO t(a) VALUES ('there')")
    assert stream_once(theirs).stores[0].error is None
    kept = bytes_of(places[1], tmp_path, 2)

    app.run("INSERT INTO t(a) VALUES ('here')")
    away.is_down = True
    with streaming(job) as ended:
        reached(places[0], 2)
        away.is_down = False
        reached(places[1], 3)
        app.run("INSERT INTO t(a) VALUES ('behind')")
        reached(places[1], 4)
    assert ended[0].stores[1].error is None
    assert ended[0].stores[1].bytes < whole / 5
    assert bytes_of(places[1], tmp_path) == copy_of(path)
    assert bytes_of(places[1], tmp_path, 2) == kept


def test_a_store_that_lags_when_the_spool_is_full_holds_up_no_other(app, path, tmp_path):
    down = _Down(tmp_path / "down")
    places = (place_of(tmp_path / "up"), Place(down, "app/"))
    job = job_of(path, *places, spool_size_max=200_000)
    stream_once(job)
    app.run("PRAGMA wal_autocheckpoint=0")
    down.is_down = True
    with streaming(job) as ended:
        for number in range(8):
            app.run("INSERT INTO t(a) VALUES (randomblob(60000))")
            reached(places[0], 2 + number)
        # Beside what leads the other there, which is one file at a time.
        waiting = [each for each in (tmp_path / "state").rglob("*.ltx") if len(each.name) == 37]
        assert sum(each.stat().st_size for each in waiting) <= 200_000
        down.is_down = False
        reached(places[1], 2)
        app.run("INSERT INTO t(a) VALUES ('behind')")
        reached(places[0], 10)
        reached(places[1], 3)
    assert [store.error for store in ended[0].stores] == [None, None]
    assert bytes_of(places[1], tmp_path) == bytes_of(places[0], tmp_path) == copy_of(path)


def test_a_file_in_the_spool_that_was_damaged_is_made_again(app, path, tmp_path):
    store = _Down(tmp_path / "store")
    job = job_of(path, Place(store, "app/"))
    stream_once(job)
    store.is_down = True
    app.run("UPDATE t SET a = randomblob(300) WHERE id < 100")
    stream_once(job)
    (spooled,) = (tmp_path / "state").rglob("*.ltx")
    data = bytearray(spooled.read_bytes())
    data[random.randrange(len(data))] ^= 1
    spooled.write_bytes(data)
    store.is_down = False

    with streaming(job):
        reached(job.places[0], 2)
    assert bytes_of(job.places[0], tmp_path) == copy_of(path)
    assert not list((tmp_path / "state").rglob("*.ltx"))


@pytest.mark.parametrize("has_state", [True, False])
def test_a_chain_that_is_damaged_gets_the_whole_once_more(app, path, tmp_path, has_state):
    job = job_of(path)
    for number in range(3):
        app.run(f"INSERT INTO t(a) VALUES ({number})")
        stream_once(job)
    links = {link.max_txid: link for link in read_chain(job.places[0]).links}
    job.places[0].store.delete(links[2].object)
    app.run("INSERT INTO t(a) VALUES ('more')")
    if not has_state:
        shutil.rmtree(tmp_path / "state")
    told: list[Told] = []
    result = stream_once(job, lambda _, one: told.append(one))
    assert result.stores[0].error is None
    assert has_state or any(one.is_warning and one.hint for one in told)
    if not has_state:
        assert bytes_of(job.places[0], tmp_path) == copy_of(path)


def test_what_was_not_compared_to_its_end_is_compared_again(app, path, tmp_path, monkeypatch):
    """A lock in the midst of a comparison: the tail behind it must not be followed."""
    job = job_of(path)
    stream_once(job)
    refuse_changed, has_failed = LiveView.refuse_changed, threading.Event()

    def busy_once(live: LiveView) -> None:
        if not has_failed.is_set():
            has_failed.set()
            raise DatabaseBusy("a lock was in the way", hint="Wait.")
        refuse_changed(live)

    with opened_stream(job, lambda *_: None) as stream:
        stream.begin()
        copy = tmp_path / "copy.db"
        copy.write_bytes(copy_of_other(path, app))
        with Application(copy) as other:
            other.run("INSERT INTO t(a) VALUES ('another file')")
            other.run("PRAGMA journal_mode=DELETE")
            other.run("PRAGMA journal_mode=WAL")
            other.close()
        app.end()
        os.replace(copy, path)
        for end in ("-wal", "-shm"):
            Path(f"{path}{end}").unlink(missing_ok=True)
        monkeypatch.setattr(LiveView, "refuse_changed", busy_once)
        with pytest.raises(DatabaseBusy):
            stream._look()
        assert not list((tmp_path / "state").rglob("*.ltx")), "it has no name yet"
        stream._look()
        with Application(path) as other:
            other.run("INSERT INTO t(a) VALUES ('behind')")
            stream._look()
        stream._capture.sync()
        stream.ship_once()
    assert bytes_of(job.places[0], tmp_path) == copy_of(path)


def copy_of_other(path: Path, app: Application) -> bytes:
    """Return the database; this process has it open, so another one copies."""
    copy = path.with_name("vacuumed.db")
    app.run(f"VACUUM INTO '{copy}'")
    return copy.read_bytes()


def test_a_lock_while_helping_loses_nothing_of_what_was_read(app, path, tmp_path, monkeypatch):
    job = job_of(path, help_size=1)
    asked = 0

    def busy_second_time(*arguments: object) -> object:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise DatabaseBusy("a lock was in the way", hint="Wait.")
        return stable_log(*arguments)  # type: ignore[arg-type]

    with opened_stream(job, lambda *_: None) as stream:
        stream.begin()
        for value in ("helped", "read"):  # after help there is nothing to help with at first
            app.run(f"INSERT INTO t(a) VALUES ('{value}')")
            stream._look()
        app.run("INSERT INTO t(a) VALUES ('second')")
        monkeypatch.setattr(tail_module, "stable_log", busy_second_time)
        stream._look()
        assert asked == 2, "it failed behind the reading"
        app.run("INSERT INTO t(a) VALUES ('third')")
        stream._look()
        stream._capture.sync()
        assert stream._capture.counts.diff_count == 1
        stream.ship_once()
    assert bytes_of(job.places[0], tmp_path) == copy_of(path)


def test_two_writes_of_one_time_to_a_database_without_a_log_are_both_seen(tmp_path):
    """The clock of a file system ticks every few milliseconds, and a small write is faster."""
    path = tmp_path / "app.db"
    job = job_of(path)
    with Application(path) as app:
        app.run("CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t(a) VALUES (1)")
        with streaming(job):
            app.run("UPDATE t SET a = 2")
            time = path.stat().st_mtime_ns
            reached(job.places[0], 2)
            app.run("UPDATE t SET a = 3")
            os.utime(path, ns=(time, time))
            reached(job.places[0], 3)
        app.close()
    assert bytes_of(job.places[0], tmp_path) == copy_of(path)


def test_a_large_comparison_is_cut_into_files_that_are_marked(app, path, tmp_path, monkeypatch):
    """A database that grew, and one that shrank: each file follows on the one before."""
    monkeypatch.setattr("litekeep.stream.found.PART_SIZE_MAX", 100_000)
    job = job_of(path)
    for statement in ("SELECT 1", "UPDATE t SET a = randomblob(500)", "DELETE FROM t; VACUUM"):
        app.run(statement)
        stream_once(job)
        assert bytes_of(job.places[0], tmp_path) == copy_of(path)
    links = sorted(read_chain(job.places[0]).links, key=lambda link: link.max_txid)
    assert len(links) > 10
    store = job.places[0].store
    is_partial = ["litekeep-partial" in store.head(link.object).metadata for link in links]
    assert is_partial.count(False) == 3
    assert not is_partial[-1]
    out = tmp_path / "out.db"
    made = [restored(job.places[0], out, link.max_txid) for link in links]
    assert all(applied.is_proved for applied in made)
    assert [applied.is_partial for applied in made] == is_partial
    second = place_of(tmp_path / "second")
    stream_once(job_of(path, job.places[0], second))
    assert bytes_of(second, tmp_path) == copy_of(path)


def test_a_store_that_answers_late_is_no_reason_not_to_begin(app, path, tmp_path):
    """With what is known here the stream begins; without, it is tried again."""
    away = _Away(tmp_path / "away")
    job = job_of(path, Place(away, "app/"))
    away.is_down = True
    stop = threading.Event()
    told: list[str] = []
    running = workers.in_thread(
        lambda: run_streams([job], stop, lambda _, one: told.append(one.message))
    )
    end = monotonic() + 20
    while not told:
        assert monotonic() < end
        sleep(0.01)
    away.is_down = False
    reached(job.places[0], 1)
    stop.set()
    running.result(20)
    assert len(told) == len(set(told)), "nothing is said twice"
    away.is_down = True
    app.run("INSERT INTO t(a) VALUES ('meanwhile')")
    with streaming(job):
        away.is_down = False
        reached(job.places[0], 2)
    assert bytes_of(job.places[0], tmp_path) == copy_of(path)
    assert stored_size(job.places[0]) > 0
    assert isinstance(away, DirectoryStore)


def test_a_large_first_run_goes_through_a_small_spool(app, path, tmp_path, monkeypatch):
    """What does not fit waits in the database; a store that is added gets it so, too."""
    monkeypatch.setattr("litekeep.stream.found.PART_SIZE_MAX", 50_000)
    places = (place_of(tmp_path / "store"), place_of(tmp_path / "second"))
    app.run("UPDATE t SET a = randomblob(300)")
    once = job_of(path, places[0], spool_size_max=120_000)
    assert stream_once(once).spooled_count == 0
    assert bytes_of(places[0], tmp_path) == copy_of(path)
    with streaming(job_of(path, *places, spool_size_max=120_000)):
        end = monotonic() + 30
        while read_chain(places[1]).last_txid < len(read_chain(places[0]).links):
            assert monotonic() < end
            sleep(0.05)
    assert bytes_of(places[1], tmp_path) == copy_of(path)
    store = places[1].store
    newest = max(read_chain(places[1]).links, key=lambda link: link.max_txid)
    assert "litekeep-partial" not in store.head(newest.object).metadata
