"""
Two runs that took one name, on a store whose server ignores conditions.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import apsw
import msgspec
import pytest

from litekeep.engine.backup import BackupJob, BackupResult, backup
from litekeep.errors import NameTaken
from litekeep.repository.catalog import read_contents
from litekeep.repository.layout import Repository, manifest_of
from litekeep.repository.manifest import ID_KEY, Manifest, encode
from litekeep.store.base import Blob
from litekeep.store.memory import MemoryStore
from litekeep.store.open import open_store
from tests.servers.s3 import S3Server
from tests.unit.repository.test_manifest import MANIFEST

TIME = datetime(2025, 9, 8, 12, 0, 1, tzinfo=UTC)
OBJECT = "2025/09/app_20250908_120001.db.gz"
THEIRS = {ID_KEY: "cd" * 16}
ROUNDS = 4


class Careless(MemoryStore):
    """Ignores the condition of a create; *rival* is called after each put."""

    def __init__(self) -> None:
        super().__init__()
        self.rival: Callable[[str, int], None] = lambda name, size: None

    def put(self, name, body, *, create=False, metadata=None, size_max=None) -> Blob:
        blob = super().put(name, body, metadata=metadata)
        self.rival(name, blob.size)
        return blob

    def put_theirs(self, name: str, body: bytes) -> None:
        super().put(name, body, metadata=THEIRS)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return make_database(tmp_path / "app.db", 10)


def make_database(path: Path, count: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE t(a)")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO t VALUES (?)", [(os.urandom(100),)] * count)
    connection.execute("COMMIT")
    connection.close()
    return path


def back_up(database: Path, repository: Repository, **changes: object) -> BackupResult:
    state = database.with_name("state")
    return backup(BackupJob(database, "app", (repository,), state, **changes))


def at_time(database: Path, store: Careless) -> BackupResult:
    """Back up in the second of `TIME`, and in the ones after it where that is taken."""
    clock = iter(TIME + timedelta(milliseconds=index) for index in range(10_000))
    return back_up(
        database, Repository(store, "app"), clock=lambda: next(clock), sleep=lambda _: None
    )


def their_manifest() -> Manifest:
    name = OBJECT.rpartition("/")[2].removesuffix(".db.gz")
    return msgspec.structs.replace(
        MANIFEST, object=OBJECT, name=name, id=THEIRS[ID_KEY], captured_at=TIME
    )


def test_who_claimed_a_name_last_has_it_and_the_other_takes_the_next(database: Path):
    store = Careless()
    store.rival = lambda name, size: (
        store.put_theirs(name, b"") if (name, size) == (OBJECT, 0) else None
    )
    result = at_time(database, store)

    assert result.failure is None
    assert [outcome.name for outcome in result.stores] == ["app_20250908_120002"]
    assert store.head(OBJECT).metadata == THEIRS


def test_data_of_another_run_is_not_replaced(database: Path):
    """It came between our claim and the end of our upload."""
    store = Careless()
    is_claimed = False

    def claims(name: str, size: int) -> None:
        nonlocal is_claimed
        is_claimed = is_claimed or name == OBJECT

    store.rival = claims
    heads = store.head

    def head(name: str) -> Blob:
        blob = heads(name)
        if is_claimed and name == OBJECT and blob.metadata != THEIRS:
            store.put_theirs(OBJECT, b"their data")  # right behind our look
        return blob

    store.head = head  # type: ignore[method-assign]
    result = at_time(database, store)

    assert isinstance(result.failure, NameTaken)
    assert store.read(OBJECT, size_max=100) == b"their data"
    assert [blob.name for blob in store.list()] == [OBJECT]


@pytest.mark.parametrize("what", ["data", "manifest"])
def test_a_run_whose_snapshot_was_replaced_does_not_say_that_it_stands(database: Path, what: str):
    """Theirs came after ours, so theirs stands, and ours is told as failed."""
    store = Careless()

    def replace(name: str, size: int) -> None:
        if name != manifest_of(OBJECT):
            return
        store.put_theirs(OBJECT, b"their data")
        if what == "manifest":
            store.put_theirs(name, encode(their_manifest()))

    store.rival = replace
    result = at_time(database, store)

    assert isinstance(result.failure, NameTaken)
    assert "prefix of its own" in (result.failure.hint or "")
    assert store.read(OBJECT, size_max=100) == b"their data"
    assert result.stores[0].is_settled


def test_of_two_hosts_with_one_name_no_backup_is_lost_in_silence(
    rclone_s3: S3Server, tmp_path: Path
):
    """Each snapshot that a run calls stored is there, with the run's own bytes."""
    url = f"s3://{rclone_s3.new_bucket()}/p"
    databases = [make_database(tmp_path / f"host-{n}" / "app.db", 100 * n) for n in (1, 2)]
    results: list[BackupResult] = []
    barrier = threading.Barrier(2)

    def run(database: Path) -> None:
        store = open_store(url, rclone_s3.options())
        found, rounds_met = store.list, set[int]()
        for number in range(ROUNDS):

            def met(
                prefix: str = "", *, start_after: str = "", number: int = number
            ) -> Iterator[Blob]:
                """Both look before either claims."""
                blobs = list(found(prefix, start_after=start_after))
                if number not in rounds_met:
                    rounds_met.add(number)
                    barrier.wait()
                return iter(blobs)

            store.list = met  # type: ignore[method-assign,assignment]
            clock = partial(TIME.__add__, timedelta(minutes=number))
            job = {"clock": clock, "sleep": lambda _: None}
            results.append(back_up(database, Repository(store, "app"), **job))
            barrier.wait()

    threads = [threading.Thread(target=run, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    contents = read_contents(Repository(open_store(url, rclone_s3.options()), "app"))
    kept = {item.manifest.database.sha256 for item in contents.snapshots if item.manifest}
    names = [r.stores[0].name for r in results if r.failure is None]
    assert len(results) == 2 * ROUNDS
    assert len(set(names)) == len(names)
    assert set(names) <= {item.name for item in contents.snapshots}
    assert {result.sha256 for result in results if result.failure is None} <= kept
