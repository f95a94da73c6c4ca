"""
A backup that is killed at any of its steps leaves no half snapshot in sight, the source as
it was, and nothing that the next backup does not tidy up.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.crash.nursery import Nursery, Run
from tests.servers.s3 import S3Server

TEMPORARY = re.compile(r"\.litekeep-[0-9a-f]{16}\.tmp")


@dataclass(frozen=True)
class Place:
    """A store as the command line names it, and what lies in it beside blobs."""

    url: str
    litter: Callable[[], list[str]]


@dataclass(frozen=True)
class Kept:
    """A database with a snapshot, in stores that hold nothing else."""

    nursery: Nursery
    database: Path
    rows: Mapping[str, Any]
    state: Path
    places: tuple[Place, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    _seconds: Iterator[int] = field(default_factory=lambda: itertools.count(2, 2))

    def backup(self, *more: str, **how: Any) -> Run:
        to = [word for place in self.places for word in ("--to", place.url)]
        return self.nursery.litekeep(
            *("backup", self.database, *to, *more),
            environment=self._environment(),
            ahead_seconds=next(self._seconds),
            **how,
        )

    def names(self, place: Place) -> list[str]:
        """Return the names of the restore points of a store, newest first."""
        run = self.nursery.litekeep("list", place.url, "--json", environment=self._environment())
        assert run.status == 0, run.errors
        return [point["name"] for point in run.json()["restore_points"]]

    def check_restores(self, place: Place, name: str) -> None:
        """The snapshot comes back whole, proved, and as the rows were."""
        output = self.state.with_name("restored.db")
        output.unlink(missing_ok=True)
        run = self.nursery.litekeep(
            *("restore", place.url, "--at", name, "--output", output, "--json"),
            environment=self._environment(),
        )
        assert run.status == 0, run.errors
        assert run.json()["proved"] is True
        assert self.nursery.call("read", str(output)) == self.rows

    def check_tidy(self, where: str) -> None:
        """Nothing half done is left anywhere, and every stored byte is as it must be."""
        left = [name for name in os.listdir(self.state) if not name.endswith(".lock")]
        assert left == [], where
        assert sorted(os.listdir(self.database.parent)) == ["app.db", "app.db-shm", "app.db-wal"]
        for place in self.places:
            assert place.litter() == [], where
            run = self.nursery.litekeep(
                *("verify", place.url, "--sample", "5%", "--json"),
                environment=self._environment() | {"LITEKEEP_STATE": f"{self.state}-of-verify"},
            )
            assert run.status == 0, f"{where}: {run.output}{run.errors}"
            assert run.json()["damaged"] == [], where

    def source_bytes(self) -> list[bytes]:
        return [Path(f"{self.database}{end}").read_bytes() for end in ("", "-wal")]

    def _environment(self) -> dict[str, str]:
        return {**self.environment, "LITEKEEP_STATE": str(self.state)}


def folder(path: Path) -> Place:
    """A directory; its litter is temporary files, and companions without a blob."""

    def litter() -> list[str]:
        files = [file for file in path.rglob("*") if file.is_file()]
        names = {file.name for file in files}
        return [
            name
            for name in names
            if TEMPORARY.fullmatch(name)
            or (name.endswith(".meta") and name[1:-5] not in names)
            or any(file.stat().st_nlink > 1 for file in files if file.name == name)
        ]

    return Place(str(path), litter)


def bucket(server: S3Server) -> Place:
    """A bucket of SeaweedFS; its litter is open uploads."""
    name = server.new_bucket()
    url = f"s3://{name}/sqlite-backup?endpoint={server.endpoint}&region=us-east-1"
    return Place(url, lambda: server.open_uploads(name))


def kept(
    nursery: Nursery,
    tmp_path: Path,
    places: tuple[Place, ...],
    environment: Mapping[str, str] | None = None,
    *,
    count: int = 30,
) -> Kept:
    """Make the database and its first snapshot; the newest rows are in its log alone."""
    database = tmp_path / "app" / "app.db"
    database.parent.mkdir()
    nursery.call("make", str(database), "wal", "checkpointed", count)
    nursery.call("commit_and_die", str(database), "in the log", 10)
    copy = tmp_path / "copy"
    shutil.copytree(database.parent, copy)
    rows = nursery.call("read", str(copy / "app.db"))
    assert rows["counts"]["in the log"] == 10
    made = Kept(nursery, database, rows, tmp_path / "state", places, environment or {})
    run = made.backup()
    assert run.status == 0, run.errors
    return made


# Every step of a directory alone is tried each time, of S3 alone every third one.  Where two
# stores are at work at once the steps are the same, in an order that changes: there the usual
# suite tries each fifth.  It begins where chance says, and tries three of many writes to the
# staging file, which are alike; the long suite tries all.
SOME = pytest.param(5, id="some")
ALL = pytest.param(1, id="all", marks=[pytest.mark.torture, pytest.mark.timeout(900)])


def thinned(steps: tuple[str, ...]) -> list[tuple[int, str]]:
    """Return the steps with their numbers; of writes to the staging file first, middle and last."""
    writes = [index for index, step in enumerate(steps) if step == "write staging"]
    alike = set(writes) - {writes[0], writes[len(writes) // 2], writes[-1]}
    return [(index, step) for index, step in enumerate(steps) if index not in alike]


def check_every_kill(made: Kept, *more: str, stride: int = 1) -> None:
    """
    Kill a backup at each of its steps; after each look, then back up again.

    With a stride above 1 only so many; the torture suite tries each single step.
    """
    source = made.source_bytes()
    dry = made.backup(*more)
    assert dry.status == 0, dry.errors
    first = random.randrange(stride)
    known = {place.url: set(made.names(place)) for place in made.places}
    steps = list(enumerate(dry.steps)) if stride == 1 else thinned(dry.steps)
    for index, step in steps[first::stride]:
        where = f"killed at {index}: {step}"
        run = made.backup(*more, fault={"kill": index})
        # With several stores at work at once a run may have a step less.
        assert run.was_killed or index >= len(run.steps), where
        assert made.source_bytes() == source, where
        for place in made.places:
            for name in set(made.names(place)) - known[place.url]:
                made.check_restores(place, name)
                known[place.url].add(name)
        again = made.backup("--no-check", "--json")
        assert again.status == 0, f"{where}: {again.errors}"
        for place in made.places:
            known[place.url].add(again.json()["name"])
        made.check_tidy(where)
        assert made.source_bytes() == source, where
    for place in made.places:
        made.check_restores(place, made.names(place)[0])


def test_a_backup_to_a_directory_killed_at_any_step(nursery: Nursery, tmp_path: Path):
    check_every_kill(kept(nursery, tmp_path, (folder(tmp_path / "kept"),)))


@pytest.mark.parametrize("stride", [SOME, ALL])
def test_a_backup_to_two_directories_killed_at_any_step(
    nursery: Nursery, tmp_path: Path, stride: int
):
    places = (folder(tmp_path / "one"), folder(tmp_path / "two"))
    check_every_kill(kept(nursery, tmp_path, places), "--no-check", stride=stride)


@pytest.mark.parametrize("stride", [pytest.param(3, id="third"), ALL])
def test_a_backup_to_s3_alone_killed_at_any_step(
    nursery: Nursery, tmp_path: Path, seaweedfs: S3Server, stride: int
):
    """
    The compressed bytes wait in the spool; they are noise enough for several parts.

    Here each third step is killed at, in the torture suite (`all`) each single one.
    """
    places = (bucket(seaweedfs),)
    made = kept(nursery, tmp_path, places, keys_of(seaweedfs), count=28_000)
    check_every_kill(made, "--no-check", stride=stride)


@pytest.mark.parametrize("stride", [SOME, ALL])
def test_a_backup_to_a_directory_and_s3_killed_at_any_step(
    nursery: Nursery, tmp_path: Path, seaweedfs: S3Server, stride: int
):
    places = (folder(tmp_path / "kept"), bucket(seaweedfs))
    made = kept(nursery, tmp_path, places, keys_of(seaweedfs))
    check_every_kill(made, "--no-check", stride=stride)


def test_hosts_that_write_to_one_bucket_in_one_second_overwrite_nothing(
    nursery: Nursery, tmp_path: Path, seaweedfs: S3Server
):
    place = bucket(seaweedfs)
    made = kept(nursery, tmp_path, (place,), keys_of(seaweedfs))
    before = made.names(place)
    pids = [
        nursery.start(
            *("backup", made.database, "--to", place.url, "--no-check"),
            environment=keys_of(seaweedfs) | {"LITEKEEP_STATE": str(tmp_path / f"host-{host}")},
            ahead_seconds=60,
        )
        for host in range(3)
    ]
    for pid in pids:
        run = nursery.wait(pid)
        assert run.status == 0, run.errors
    names = made.names(place)
    assert len(set(names)) == len(before) + 3
    for name in names[:3]:
        made.check_restores(place, name)


def keys_of(server: S3Server) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
    }
