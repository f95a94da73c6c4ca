"""
Verify says ok of nothing that is not, and cries wolf of nothing that is.
"""

from __future__ import annotations

import contextlib
import gzip
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import litekeep
from litekeep.codec.formats import CODECS
from litekeep.engine import events
from litekeep.engine.backup import BackupJob, backup
from litekeep.engine.points import read_points
from litekeep.engine.prune import Policy, plan_prune, prune
from litekeep.engine.retain import Keep
from litekeep.engine.verify import PATIENCE_SECONDS_MAX, VerifyResult, verify
from litekeep.repository.layout import Repository
from litekeep.store.directory import DirectoryStore

TIME = datetime(2026, 3, 1, 12, tzinfo=UTC)
GZIP = CODECS[0]


class Place:
    """A database, and the stores that it is backed up to."""

    def __init__(self, folder: Path, *stores: str) -> None:
        self.folder = folder
        self.database = folder / "app.db"
        self.repositories = tuple(
            Repository(DirectoryStore(folder / store), "app") for store in stores
        )
        self.hours = 0
        self.write("CREATE TABLE t(a)")

    def write(self, statement: str = "INSERT INTO t VALUES (randomblob(5000))") -> None:
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            connection.execute(statement)
            connection.commit()

    def backup(self, *repositories: Repository, compression: str = "gzip") -> str:
        """Back up an hour after the last time; return the snapshot's object."""
        self.write()
        time = self.time()
        self.hours += 1
        job = BackupJob(
            database=self.database,
            name="app",
            repositories=repositories or self.repositories,
            state=self.folder / "state",
            format=compression,
            clock=lambda: time,
        )
        result = backup(job)
        assert result.failure is None
        return result.stores[0].object

    def time(self) -> datetime:
        return TIME + timedelta(hours=self.hours)

    def verify(self, report: events.Report = events.ignore, share: float = 1.0) -> VerifyResult:
        return verify(
            self.repositories,
            state=self.folder / "state",
            share=share,
            report=report,
            clock=lambda: self.time() + timedelta(hours=1),
        )

    def root(self, number: int = 0) -> Path:
        return Path(self.repositories[number].store.url)


def damage(result: VerifyResult) -> list[tuple[str, str]]:
    return [(one.object, one.error.message) for one in result.damaged]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, "store")


@pytest.fixture
def two(tmp_path: Path) -> Place:
    return Place(tmp_path, "near", "far")


def test_nothing_is_wrong_with_what_nobody_touched(two: Place) -> None:
    for compression in ("gzip", "gzip", "zstd"):
        two.backup(compression=compression)
    # A change of format takes the old `latest` with it.
    for number in (0, 1):
        (two.root(number) / "latest.db.gz").unlink(missing_ok=True)
        (two.root(number) / ".latest.db.gz.meta").unlink(missing_ok=True)
    result = two.verify()
    assert (damage(result), result.lacks, result.checked) == ([], (), 6)


def test_a_missing_latest_is_named(place: Place) -> None:
    place.backup()
    (place.root() / "latest.db.gz").unlink()
    assert damage(place.verify()) == [
        ("latest.db.gz", "latest.db.gz is missing; it should be app_20260301_120000")
    ]


def test_a_latest_that_is_an_older_snapshot_is_named(place: Place) -> None:
    older = place.backup()
    place.backup()
    shutil.copy(place.root() / older, place.root() / "latest.db.gz")
    newest = "and app_20260301_130000 is newer"
    assert damage(place.verify()) == [
        ("latest.db.gz", f"latest.db.gz is app_20260301_120000, {newest}"),
    ]


def test_a_latest_of_another_format_that_stayed_behind_is_named(place: Place) -> None:
    place.backup()
    stale = (place.root() / "latest.db.gz").read_bytes()
    place.backup(compression="zstd")
    (place.root() / "latest.db.gz").write_bytes(stale)
    ((name, message),) = damage(place.verify())
    assert name == "latest.db.gz"
    assert message == "latest.db.gz is app_20260301_120000, and latest.db.zst is newer"

    (place.root() / "latest.db.gz").write_bytes(b"")  # where none may delete
    assert damage(place.verify()) == []


def script(place: Place, time: datetime, *, latest: bool = False) -> Path:
    """Keep the database as an older script would."""
    name = place.repositories[0].name_at(time)
    file = place.root() / place.repositories[0].object_of(name, GZIP)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(place.database.read_bytes()))
    if latest:
        shutil.copy(file, place.root() / "latest.db.gz")
    return file


def test_a_latest_of_another_database_is_named_beside_a_scripts_snapshots(place: Place) -> None:
    script(place, TIME - timedelta(days=9))
    place.backup()
    other = gzip.compress(b"SQLite format 3\0" + place.database.read_bytes()[16:] + bytes(4096))
    (place.root() / "latest.db.gz").write_bytes(other)
    assert damage(place.verify()) == [("latest.db.gz", "latest.db.gz is none of the snapshots")]


def test_a_latest_that_a_script_moved_is_right(place: Place) -> None:
    script(place, TIME - timedelta(days=9), latest=True)
    assert damage(place.verify()) == [], "a script's alone"
    place.backup()
    assert damage(place.verify()) == [], "ours, beside a script's"
    script(place, TIME + timedelta(days=9), latest=True)
    assert damage(place.verify()) == [], "a script's, newer than ours"


@pytest.mark.parametrize("is_there", [True, False])
def test_an_emptied_store_is_named(two: Place, is_there: bool) -> None:
    """Or a disk that is not mounted."""
    two.backup()
    shutil.rmtree(two.root(1))
    if is_there:
        two.root(1).mkdir()
    ((name, message),) = damage(two.verify())
    assert name == ""
    assert message == f"{two.root(1)} holds no snapshots, and {two.root(0)} holds 1"
    assert two.verify().failure is not None
    (lack,) = read_points(two.repositories).lacks
    assert lack.message == message


def test_what_a_store_lacks_is_named_and_the_newest_is_a_failure(two: Place) -> None:
    two.backup()
    two.backup(two.repositories[0])
    two.backup()
    result = two.verify()
    assert damage(result) == [], "in between: it may be retention's"
    assert [lack.names for lack in result.lacks] == [("app_20260301_130000",)]

    two.backup(two.repositories[0])
    ((name, message),) = damage(two.verify())
    assert name == ""
    assert message.startswith(f"{two.root(1)} lacks the newest snapshot, app_20260301_150000, ")


def test_what_a_backup_still_brings_is_not_lacking(two: Place) -> None:
    two.backup()
    newest = two.backup(two.repositories[0])
    claim = two.root(1) / newest
    claim.write_bytes(b"")
    assert damage(two.verify()) == []


def test_what_retention_took_in_one_store_is_not_lacking(two: Place) -> None:
    for _ in range(4):
        two.backup()
    policy = Policy(two.repositories[1], Keep(last=1))
    prune(plan_prune(policy, clock=two.time), clock=two.time)
    result = two.verify()
    assert (damage(result), result.lacks) == ([], ())


@pytest.mark.parametrize("kind", ["snapshot", "latest"])
def test_flipped_bits_of_the_metadata_are_seen(place: Place, kind: str) -> None:
    data = place.backup()
    if kind == "latest":
        data = "latest.db.gz"
    path = place.root() / data
    companion = path.with_name(f".{path.name}.meta")
    stored = companion.read_bytes()
    for offset in range(0, len(stored), 7):
        companion.write_bytes(stored[:offset] + bytes([stored[offset] ^ 4]) + stored[offset + 1 :])
        assert [name for name, _ in damage(place.verify())] == [data], offset


def test_metadata_of_another_snapshot_is_seen(place: Place) -> None:
    first, second = place.backup(), place.backup()
    store = place.repositories[0].store
    data = store.read(second, size_max=1 << 20)
    store.put(second, data, metadata=store.head(first).metadata)
    ((name, message),) = damage(place.verify())
    assert (name, "is marked as snapshot" in message) == (second, True)
    store.put(second, data)  # as a tool that knows no metadata copies it
    assert damage(place.verify()) == []


def test_a_scripts_snapshot_that_was_cut_between_members_is_seen(place: Place) -> None:
    whole = place.database.read_bytes()
    for _ in range(3):
        place.write()
    whole = place.database.read_bytes()
    file = script(place, TIME)
    file.write_bytes(gzip.compress(whole[:4096]) + gzip.compress(whole[4096:8192]))
    ((_, message),) = damage(place.verify())
    assert f"holds 2 of the {len(whole) // 4096} pages" in message


def test_a_scripts_snapshot_is_read_up_to_what_its_header_counts(place: Place) -> None:
    """What lies behind is no part of the database: nobody's disk is filled with it."""
    file = script(place, TIME)
    size = place.database.stat().st_size
    file.write_bytes(gzip.compress(place.database.read_bytes() + bytes(64 << 20)))
    assert damage(place.verify()) == []
    restored = litekeep.restore(file, place.folder / "copy.db")
    assert restored.size == size
    assert (place.folder / "copy.db").read_bytes() == place.database.read_bytes()


def test_a_file_of_nothing_is_passed_over_unless_it_is_named(place: Place) -> None:
    """`sqlite3 app.db .dump-that-failed | gzip > app_....db.gz`."""
    place.backup()
    later = script(place, TIME + timedelta(hours=5))
    later.write_bytes(gzip.compress(b""))
    name = later.name.removesuffix(".db.gz")

    plan = litekeep.plan(place.root(), place.folder / "copy.db")
    assert plan.point is not None
    assert plan.point.name == "app_20260301_120000"
    assert [(one.name, one.reason) for one in plan.passed_over] == [(name, "suspect")]
    assert litekeep.plan(place.root(), place.folder / "copy.db", at=name).point is not None


def during(place: Place, work: Callable[[], object]) -> VerifyResult:
    """Verify, and do *work* after the first snapshot was read."""
    steps: Iterator[None] = iter([None])

    def hear(event: events.Event) -> None:
        if isinstance(event, events.Progress):
            for _ in steps:
                work()

    return place.verify(hear)


def test_a_backup_meanwhile_is_no_damage(two: Place) -> None:
    two.backup()
    two.backup()
    assert damage(during(two, two.backup)) == []


def test_a_removal_meanwhile_is_no_damage(place: Place) -> None:
    objects = [place.backup() for _ in range(3)]

    def remove() -> None:
        for name in objects[:2]:
            place.repositories[0].store.delete(f"{name}.json")
            place.repositories[0].store.delete(name)

    assert damage(during(place, remove)) == []


def test_damage_meanwhile_is_damage(place: Place) -> None:
    objects = [place.backup() for _ in range(3)]

    def hurt() -> None:
        (place.root() / objects[1]).unlink()

    assert [name for name, _ in damage(during(place, hurt))] == [objects[1]]


def test_a_backup_that_has_not_moved_latest_yet_is_no_damage(place: Place) -> None:
    """The manifest stands before `latest` moves, which takes its time: it is waited for."""
    place.backup()
    before = (place.root() / "latest.db.gz").read_bytes()
    place.backup()
    after = (place.root() / "latest.db.gz").read_bytes()
    (place.root() / "latest.db.gz").write_bytes(before)
    waited: list[float] = []

    def finish(seconds: float) -> None:
        waited.append(seconds)
        (place.root() / "latest.db.gz").write_bytes(after)

    (newest,) = read_points(place.repositories).points[:1]
    state = place.folder / "state"
    result = verify(place.repositories, state=state, clock=lambda: newest.time, sleep=finish)
    assert damage(result) == []
    assert 0 < waited[0] <= PATIENCE_SECONDS_MAX

    (place.root() / "latest.db.gz").write_bytes(before)
    still = verify(place.repositories, state=state, clock=lambda: newest.time, sleep=waited.append)
    assert damage(still) == [], "it takes longer than a verify waits"
    assert damage(place.verify()) != [], "it is done long since"
