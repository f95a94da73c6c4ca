"""
What a restore takes, what it passes over, and that it says so.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from litekeep.engine.plan import RestorePlan, plan_restore
from litekeep.errors import CorruptionError, NoSpace, NotFound
from litekeep.repository.layout import Repository, manifest_of
from litekeep.store.memory import MemoryStore
from litekeep.when import At, Named
from tests.unit.repository.test_catalog import TIME, put

DAY = timedelta(days=1)
NEWEST = "app_20250910_120001"
NEWEST_OBJECT = f"2025/09/{NEWEST}.db.gz"


@pytest.fixture
def repository() -> Repository:
    """Three snapshots, a day apart."""
    repository = Repository(MemoryStore(), "app")
    for number in range(3):
        put(repository, TIME + number * DAY, id=f"{number:032x}")
    return repository


def plan(*repositories: Repository, folder: Path, **how: object) -> RestorePlan:
    return plan_restore(repositories, folder / "out.db", **how)  # type: ignore[arg-type]


def break_newest(repository: Repository, how: str) -> None:
    store = repository.store
    if how == "manifest overwritten":
        store.put(manifest_of(NEWEST_OBJECT), b"{}")
    elif how == "manifest missing":
        store.delete(manifest_of(NEWEST_OBJECT))
    else:
        store.delete(NEWEST_OBJECT)


@pytest.mark.parametrize("how", ["manifest overwritten", "manifest missing", "data missing"])
def test_an_older_point_is_never_taken_in_silence(
    repository: Repository, tmp_path: Path, how: str
) -> None:
    break_newest(repository, how)

    found = plan(repository, folder=tmp_path)
    assert found.point is not None
    assert found.point.name == "app_20250909_120001"
    (passed_over,) = found.passed_over
    assert passed_over.name == NEWEST
    assert [warned.message for warned in found.warnings] == [
        f"passing over {NEWEST}: {passed_over.reason}"
    ]

    with pytest.raises(CorruptionError, match=r"not a manifest|has no manifest|is missing"):
        plan(repository, folder=tmp_path, when=Named(NEWEST))


def test_what_is_damaged_outside_of_what_was_asked_is_not_mentioned(
    repository: Repository, tmp_path: Path
) -> None:
    break_newest(repository, "data missing")
    repository.store.delete("2025/09/app_20250908_120001.db.gz")

    assert plan(repository, folder=tmp_path, when=At(TIME + 1.5 * DAY)).passed_over == ()
    later = plan(repository, folder=tmp_path, when=At(TIME + 3 * DAY)).passed_over
    assert [one.name for one in later] == [NEWEST]


def test_what_is_whole_in_another_store_is_not_passed_over(
    repository: Repository, tmp_path: Path
) -> None:
    other = Repository(MemoryStore(), "app")
    for number in range(3):
        put(other, TIME + number * DAY, id=f"{number:032x}")
    break_newest(repository, "data missing")

    found = plan(repository, other, folder=tmp_path)
    assert found.point is not None
    assert (found.point.name, found.passed_over) == (NEWEST, ())


def test_where_nothing_is_whole_the_newest_damage_is_the_error(tmp_path: Path) -> None:
    repository = Repository(MemoryStore(), "app")
    for number in range(2):
        repository.store.delete(put(repository, TIME + number * DAY))

    with pytest.raises(CorruptionError, match="app_20250909_120001"):
        plan(repository, folder=tmp_path)


def test_a_name_that_nothing_has_names_the_nearest(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        plan(repository, folder=tmp_path, when=Named("app_20250910_120002"))
    assert NEWEST in str(caught.value.hint)


def test_the_distance_within_the_named_second_is_not_hidden(tmp_path: Path) -> None:
    """Names show seconds; the commit lies 0.407 s after the beginning of its own."""
    repository = Repository(MemoryStore(), "app")
    put(repository, TIME + timedelta(seconds=0.407))

    assert plan(repository, folder=tmp_path, when=At(TIME)).distance == timedelta(seconds=-0.407)


def test_a_small_database_fits_on_a_small_file_system(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has to be free beside the database is in proportion to it, and is said."""

    class Room:
        f_bavail = 13_100
        f_frsize = 1

    monkeypatch.setattr(os, "statvfs", lambda _: Room)
    plan(repository, folder=tmp_path)
    Room.f_bavail = 12_300
    with pytest.raises(NoSpace, match=r"needs 12.0 KiB, and 768 B to spare"):
        plan(repository, folder=tmp_path)
