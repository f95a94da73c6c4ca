"""
A drill tells the truth: it passes what is sound, fails what is not, and what it could not
check it does not call a pass.
"""

from __future__ import annotations

import gzip
import random
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import litekeep
from litekeep.engine import events
from litekeep.engine.drill import DrillJob, DrillResult, drill
from litekeep.engine.points import read_points
from litekeep.errors import AccessDenied, DrillFailed, ProofError, StoreUnavailable
from litekeep.repository.layout import Repository
from litekeep.sqlite.examine import Assertion
from litekeep.store.directory import DirectoryStore
from litekeep.when import Named


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "app.db"
    run(
        path,
        "CREATE TABLE parent(id INTEGER PRIMARY KEY)",
        "CREATE TABLE t(a, parent REFERENCES parent)",
        "INSERT INTO t(a) VALUES ('x')",
    )
    return path


def run(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def back_up(path: Path, *places: Path) -> str:
    places = places or (path.parent / "kept",)
    state = path.parent / "state"
    return litekeep.backup(path, to=[str(place) for place in places], state_dir=state).name


def repository(place: Path) -> Repository:
    return Repository(DirectoryStore(place), "app")


def job(path: Path, **changes: object) -> DrillJob:
    return replace(DrillJob((repository(path.parent / "kept"),)), **changes)


def answers(result: DrillResult) -> dict[str, bool | None]:
    return {found.name: found.ok for found in result.checks}


def data_of(place: Path, name: str) -> Path:
    (found,) = place.rglob(f"{name}.db.gz")
    return found


def test_a_sound_snapshot_passes_and_is_proved(app):
    back_up(app)

    result = drill(job(app))
    assert (result.result, result.failure, result.is_recorded) == ("pass", None, True)
    assert answers(result) == {
        "checksums": True,
        "integrity_check": True,
        "foreign_key_check": True,
        "row counts": True,
    }
    (point,) = read_points(job(app).repositories).points
    assert point.proof is not None
    assert (point.proof.result, point.state) == ("pass", "ok")


def test_damaged_bytes_fail_and_the_point_is_passed_over_from_then_on(app):
    good = back_up(app)
    bad = back_up(app)
    with data_of(app.parent / "kept", bad).open("r+b") as file:
        file.seek(40)
        file.write(b"!!!!")

    result = drill(job(app))
    assert result.result == "fail"
    assert isinstance(result.failure, DrillFailed)
    assert answers(result) == {"checksums": False}
    points = {point.name: point.state for point in read_points(job(app).repositories).points}
    assert points == {bad: "failed", good: "ok"}
    latest = (app.parent / "kept/latest.db.gz").read_bytes()
    assert latest == data_of(app.parent / "kept", good).read_bytes()
    assert drill(job(app)).point.name == good


def test_latest_stays_where_it_is_not_a_copy_of_what_failed(app):
    old = back_up(app)
    run(app, "INSERT INTO t(a) VALUES ('y')")
    back_up(app)
    before = (app.parent / "kept/latest.db.gz").read_bytes()
    data_of(app.parent / "kept", old).write_bytes(b"")

    assert drill(job(app, when=Named(old))).result == "fail"
    assert (app.parent / "kept/latest.db.gz").read_bytes() == before


@pytest.mark.parametrize(
    ("assertion", "result"),
    [
        (Assertion("SELECT count(*) FROM t", 1), "pass"),
        (Assertion("SELECT count(*) FROM t", 2), "fail"),
        (Assertion("SELECT count(*) FROM gone"), "fail"),
        (Assertion("SELECT length(zeroblob(900000000) || 'x')", 1), "inconclusive"),
    ],
)
def test_the_users_assertions_decide(app, assertion, result):
    back_up(app)

    assert drill(job(app, assertions=(assertion,))).result == result


def test_a_reference_to_nothing_fails_unless_the_application_lives_with_it(app):
    run(app, "INSERT INTO t(a, parent) VALUES ('orphan', 9)")
    back_up(app)

    assert drill(job(app, has_foreign_keys=False)).result == "pass"
    assert drill(job(app)).result == "fail"


def test_what_has_no_manifest_is_inconclusive(app):
    place = app.parent / "kept/2025/09"
    place.mkdir(parents=True)
    (place / "app_20250908_120001.db.gz").write_bytes(gzip.compress(app.read_bytes()))

    result = drill(job(app))
    assert result.result == "inconclusive"
    assert isinstance(result.failure, ProofError)
    assert answers(result)["checksums"] is None


def test_a_collation_of_the_application_is_no_pass(app):
    connection = sqlite3.connect(app)
    connection.create_collation("backwards", lambda a, b: (a < b) - (a > b))
    connection.execute("CREATE TABLE c(a COLLATE backwards PRIMARY KEY)")
    connection.execute("INSERT INTO c VALUES ('x')")
    connection.commit()
    connection.close()
    back_up(app)

    assert drill(job(app)).result == "inconclusive"


def test_the_newest_point_must_be_fresh_where_that_is_asked(app):
    back_up(app)
    made = read_points(job(app).repositories).points[0].time
    late = job(app, fresh_within=3600.0, clock=lambda: made + timedelta(hours=2))

    assert answers(drill(late))["freshness"] is False
    named = replace(late, when=Named(read_points(late.repositories).points[0].name))
    assert "freshness" not in answers(drill(named))


def test_any_point_that_is_fit_may_be_drawn(app):
    names = {back_up(app) for _ in range(3)}
    drawn = random.Random(7)

    found = {drill(job(app, when=None, choice=drawn.choice)).point.name for _ in range(12)}
    assert found == names


def test_the_store_that_has_gone_longest_without_a_proof_is_read(app):
    places = (app.parent / "a", app.parent / "b")
    name = back_up(app, *places)
    both = DrillJob(tuple(map(repository, places)), when=Named(name))

    first, second, third = drill(both), drill(both), drill(both)
    assert {first.store, second.store} == set(map(str, places))
    assert third.store == first.store


def test_a_store_that_does_not_answer_is_named(app):
    class Silent(DirectoryStore):
        def list(self, prefix="", *, start_after=""):
            raise StoreUnavailable("no answer", hint="Wait.")

    back_up(app)
    silent = Repository(Silent(app.parent / "away"), "app")
    both = job(app, repositories=(repository(app.parent / "kept"), silent))
    said: list[events.Event] = []

    assert drill(both, said.append).result == "pass"
    told = [event.message for event in said if isinstance(event, events.Warned)]
    assert told == [f"nothing of {app.parent / 'away'} is drilled: no answer"]


def test_drills_that_end_in_one_second_are_each_recorded(app):
    back_up(app)
    instant = datetime(2100, 1, 1, tzinfo=UTC)

    results = [drill(job(app, clock=lambda: instant)) for _ in range(3)]
    assert all(result.is_recorded for result in results)
    assert len(list((app.parent / "kept").rglob("*.proof-*"))) == 3


def test_a_proof_that_cannot_be_recorded_is_said_and_the_result_stands(app):
    class ReadOnly(DirectoryStore):
        def put(self, *arguments, **options):
            raise AccessDenied("it may only be read", hint="Allow it.")

    back_up(app)
    heard: list[events.Event] = []
    only = Repository(ReadOnly(app.parent / "kept"), "app")
    result = drill(DrillJob((only,)), heard.append)

    assert (result.result, result.is_recorded) == ("pass", False)
    assert any("proof was not recorded" in getattr(event, "message", "") for event in heard)


def test_the_scratch_folder_is_left_empty(app):
    back_up(app)
    scratch = app.parent / "scratch"
    scratch.mkdir()

    drill(job(app, scratch=scratch))
    assert list(scratch.iterdir()) == []


def test_latest_of_a_bad_snapshot_goes_though_the_good_one_has_another_format(app):
    """What the last good one is called does not matter to who takes `latest`."""
    state = app.parent / "state"
    kept = app.parent / "kept"
    good = litekeep.backup(app, to=[str(kept)], state_dir=state, format="zstd").name
    bad = back_up(app)
    data_of(kept, bad).write_bytes(b"\x1f\x8b nothing")

    assert drill(job(app)).result == "fail"
    assert [path.name for path in kept.glob("latest.*")] == ["latest.db.zst"]
    (whole,) = kept.rglob(f"{good}.db.zst")
    assert (kept / "latest.db.zst").read_bytes() == whole.read_bytes()
