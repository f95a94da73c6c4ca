"""
Snapshots and stream of one database are one list of restore points.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import litekeep
from litekeep.engine import events
from litekeep.engine.plan import RestorePlan, plan_restore
from litekeep.engine.points import stream_place
from litekeep.engine.restore import RestoreResult, restore
from litekeep.errors import CorruptionError, GapFound, NotFound
from litekeep.ltx.decode import Decoder
from litekeep.ltx.merge import merge
from litekeep.repository.layout import Repository
from litekeep.store.base import Blob
from litekeep.store.directory import DirectoryStore
from litekeep.stream.chain import read_chain
from litekeep.stream.job import StreamJob
from litekeep.stream.running import stream_once
from litekeep.when import At, Before, Txid, When
from tests.writers.reading import copy_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Kept:
    """A database whose every step is streamed at a time of its own, minute by minute."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "app.db"
        self.store = DirectoryStore(folder / "store")
        self.repository = Repository(self.store, "app")
        self.states: dict[int, bytes] = {}
        self._folder = folder
        self._time = NOON
        with closing(sqlite3.connect(self.path)) as app:
            app.execute("PRAGMA journal_mode=WAL")
            app.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
            app.executemany(
                "INSERT INTO t VALUES (?, hex(zeroblob(1500)))", ((n,) for n in range(8))
            )
            app.commit()

    def commit(self, value: int) -> None:
        """Change the page of one of eight rows."""
        with closing(sqlite3.connect(self.path)) as app:
            text = f"{value:04}" * 750
            app.execute("UPDATE t SET a = ? WHERE id = ?", (text, value % 8))
            app.commit()

    def stream(self, after: timedelta = timedelta(minutes=1)) -> int:
        self._time += after
        job = StreamJob(
            self.path,
            "app",
            (stream_place(self.repository),),
            self._folder / "state",
            clock=lambda: self._time,
        )
        txid = stream_once(job).txid
        self.states[txid] = copy_of(self.path)
        return txid

    def back_up(self) -> str:
        to = [str(self.store.url)]
        return litekeep.backup(self.path, to=to, state_dir=self._folder / "state").name

    def plan(self, when: When | None = None, **options: object) -> RestorePlan:
        target = self._folder / "restored" / "app.db"
        target.parent.mkdir(exist_ok=True)
        target.unlink(missing_ok=True)
        return plan_restore([self.repository], target, when=when, **options)

    def restored(self, when: When | None = None) -> tuple[RestoreResult, bytes]:
        plan = self.plan(when)
        result = restore(plan)
        return result, plan.target.read_bytes()

    def file_of(self, txid: int) -> Path:
        (found,) = (self._folder / "store").rglob(f"*-{txid:016x}.ltx")
        return found


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    kept = Kept(tmp_path)
    for value in range(4):
        kept.commit(value)
        assert kept.stream() == value + 1
    return kept


def test_each_txid_is_restored_and_proved(kept):
    for txid, state in kept.states.items():
        result, data = kept.restored(Txid(txid))
        assert data == state
        assert result.is_proved
        assert result.point is not None
        assert result.point.txid == txid


def test_the_latest_is_the_newer_of_both_roads(kept):
    result, data = kept.restored()
    assert result.point.txid == 4
    kept.commit(99)
    name = kept.back_up()  # of now, which is later than the stream's clock
    result, data = kept.restored()
    assert (result.point.kind, result.point.name) == ("snapshot", name)
    assert data == copy_of(kept.path)


def test_a_time_means_the_newest_point_at_or_before_it(kept):
    for minutes, txid in ((1, 1), (1.5, 1), (2, 2), (3.99, 3), (600, 4)):
        plan = kept.plan(At(NOON + timedelta(minutes=minutes)))
        assert plan.point.txid == txid
        assert plan.distance == timedelta(minutes=minutes - min(4, int(minutes)))


def test_before_a_txid_is_the_one_before(kept):
    assert kept.plan(Before(3)).point.txid == 2
    with pytest.raises(NotFound) as caught:
        kept.plan(Before(1))
    assert "0000000000000001" in str(caught.value.hint)


def test_what_was_never_there_names_the_nearest(kept):
    with pytest.raises(NotFound) as caught:
        kept.plan(Txid(77))
    assert "0000000000000004" in str(caught.value.hint)
    with pytest.raises(NotFound):
        kept.plan(At(NOON - timedelta(days=1)))


def test_a_missing_file_is_a_gap_with_its_two_sides(kept):
    kept.file_of(3).unlink()
    for txid in (3, 4):
        with pytest.raises((GapFound, NotFound)) as caught:
            kept.plan(Txid(txid))
        assert "0000000000000002" in str(caught.value.hint)
    assert kept.plan().point.txid == 2


def test_a_damaged_stream_falls_back_to_the_snapshot_and_says_so(kept):
    name = kept.back_up()
    kept.commit(100)
    kept.stream(timedelta(days=3650))  # later than the snapshot
    newest = kept.file_of(5)
    data = bytearray(newest.read_bytes())
    data[-30] ^= 1
    newest.write_bytes(data)

    heard: list[events.Event] = []
    plan = kept.plan(At(NOON + timedelta(days=9999)))
    assert plan.point.txid == 5
    result = restore(plan, heard.append)
    assert result.point is not None
    assert (result.point.name, result.is_proved) == (name, True)
    assert any(isinstance(one, events.Warned) and "ltx" in one.message for one in heard)


def test_a_damaged_stream_alone_is_an_error_and_no_file(kept):
    data = bytearray(kept.file_of(2).read_bytes())
    data[-30] ^= 1
    kept.file_of(2).write_bytes(data)

    plan = kept.plan(Txid(4))
    with pytest.raises(CorruptionError):
        restore(plan)
    assert not plan.target.exists()
    assert kept.restored(Txid(1))[1] == kept.states[1]


def test_files_of_another_history_are_not_believed(kept, tmp_path):
    """Each is whole; together they are not what was captured."""
    (tmp_path / "other").mkdir()
    other = Kept(tmp_path / "other")
    for value in range(3):
        other.commit(value + 50)
        other.stream()
    kept.file_of(2).write_bytes(other.file_of(2).read_bytes())

    with pytest.raises(CorruptionError):
        restore(kept.plan(Txid(4)))


def test_a_file_that_vanishes_after_planning_leads_to_a_new_plan(kept):
    """Retention elsewhere merged two files, and removed them."""
    plan = kept.plan(Txid(4))
    place = stream_place(kept.repository)
    chain = read_chain(place)
    merged = place.object_of(1, 2, 3)

    links = [link for link in chain.links if link.max_txid in (2, 3)]
    parts: list[bytes] = []
    merge([Decoder(kept.store.get(link.object)) for link in links], parts.append)
    kept.store.put(merged, b"".join(parts))
    for link in links:
        kept.store.delete(link.object)

    assert restore(plan).is_proved
    assert plan.target.read_bytes() == kept.states[4]


def test_a_time_in_a_gap_is_an_error_that_names_both_sides(kept):
    class Marked(DirectoryStore):
        def head(self, name: str) -> Blob:
            blob = super().head(name)
            since = (NOON + timedelta(minutes=2)).isoformat()
            is_it = name.endswith("0000000000000003.ltx")
            return (
                replace(blob, metadata={**blob.metadata, "litekeep-gap-since": since})
                if is_it
                else blob
            )

    kept.repository = Repository(Marked(Path(kept.store.url)), "app")
    with pytest.raises(GapFound) as caught:
        kept.plan(At(NOON + timedelta(minutes=2, seconds=30)))
    assert "0000000000000002" in str(caught.value.hint)
    assert "0000000000000003" in str(caught.value.hint)
    assert kept.plan(At(NOON + timedelta(minutes=3))).point.txid == 3


def test_a_txid_that_is_a_step_to_the_next_is_no_restore_point(kept):
    class Marked(DirectoryStore):
        def head(self, name: str) -> Blob:
            blob = super().head(name)
            is_it = name.endswith(("0000000000000003.ltx", "0000000000000004.ltx"))
            more = {"litekeep-partial": "yes"} if is_it else {}
            return replace(blob, metadata={**blob.metadata, **more})

    kept.repository = Repository(Marked(Path(kept.store.url)), "app")
    for when in (None, At(NOON + timedelta(days=1)), Before(4), Before(77)):
        assert kept.plan(when).point.txid == 2
    with pytest.raises(NotFound, match="step to a later txid"):
        kept.plan(Txid(3))
