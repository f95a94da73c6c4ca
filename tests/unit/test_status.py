"""
Whether a database is safe, told from what its stores hold.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from litekeep.engine.job import Begun, exclusive_job
from litekeep.engine.local import Local
from litekeep.errors import Stale, StoreUnavailable
from litekeep.host.processes import is_locked
from litekeep.repository.layout import Repository, proof_of
from litekeep.repository.marks import Proof, encode_mark
from litekeep.sources import Source
from litekeep.status import DatabaseStatus, Freshness, status_of
from litekeep.store.memory import MemoryStore
from litekeep.stream.spool import Note, open_spool
from tests.unit.repository.test_catalog import put

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Deaf(MemoryStore):
    """A store that does not answer."""

    def list(self, prefix="", *, start_after=""):
        raise StoreUnavailable("no answer", hint="Wait.")


def repository(store: MemoryStore | None = None) -> Repository:
    return Repository(store or MemoryStore(), "app")


def looked(*repositories: Repository, hours: float = 26, proof: float | None = None):
    limits = Freshness(hours * 3600, proof)
    return status_of(Source("app", None, repositories), limits, clock=lambda: NOON)


def prove(
    where: Repository, data_object: str, result: str, time: datetime, *, id: str = "ab" * 16
) -> None:
    mark = Proof(
        tool="t",
        id=id,
        sha256="0" * 64,
        time=time,
        result=result,
        seconds=1.0,
        checks=(),
    )
    where.store.put(proof_of(data_object, time), encode_mark(mark))


def test_a_fresh_snapshot_in_every_store_is_ok():
    stores = repository(), repository()
    for store in stores:
        put(store, NOON - HOUR)

    found = looked(*stores)
    assert (found.health, found.reasons, found.failure) == ("ok", (), None)
    assert found.last_snapshot is not None
    assert found.last_snapshot.time == NOON - HOUR


@pytest.mark.parametrize("hours", [27, 24 * 400])
def test_an_old_snapshot_is_stale(hours):
    store = repository()
    put(store, NOON - hours * HOUR)

    found = looked(store)
    assert found.health == "fail"
    assert isinstance(found.failure, Stale)
    assert found.failure.exit_code == 42
    assert "at most 26 h 0 min is allowed" in found.reasons[0]


def test_a_store_that_gets_nothing_any_more_is_not_hidden_by_one_that_does():
    near, far = repository(), repository()
    put(near, NOON - HOUR)
    put(far, NOON - 100 * HOUR)

    assert looked(near, far).health == "fail"
    assert looked(near, repository()).health == "fail"


def test_what_lies_in_the_future_is_no_fresh_snapshot_and_no_proof():
    store = repository()
    ahead = put(store, NOON + 400 * HOUR, id="cd" * 16)
    prove(store, ahead, "pass", NOON + 400 * HOUR, id="cd" * 16)

    assert "no good snapshot" in looked(store).reasons[0]
    put(store, NOON - 27 * HOUR)
    found = looked(store)
    assert isinstance(found.failure, Stale)
    assert "lies in the future does not count" in found.reasons[0]
    assert found.last_snapshot is not None
    assert found.last_snapshot.time == NOON - 27 * HOUR
    assert found.last_proof is None


def test_what_lies_in_the_future_hides_nothing_that_was_set_aside():
    store = repository()
    put(store, NOON - 2 * HOUR)
    put(store, NOON - HOUR, id="ef" * 16, state="suspect")
    put(store, NOON + 400 * HOUR, id="cd" * 16)

    assert "is suspect" in looked(store).reasons[0]


def test_nothing_at_all_is_stale():
    found = looked(repository())
    assert (found.health, found.last_snapshot) == ("fail", None)
    assert "no good snapshot" in found.reasons[0]


def test_a_store_that_does_not_answer_fails_with_its_own_code():
    near = repository()
    put(near, NOON - HOUR)
    for found in (looked(near, repository(Deaf())), looked(repository(Deaf()))):
        assert found.health == "fail"
        assert isinstance(found.failure, StoreUnavailable)


@pytest.mark.parametrize("state", ["suspect", "failed"])
def test_what_is_set_aside_is_no_fresh_snapshot_and_is_said(state):
    store = repository()
    put(store, NOON - 2 * HOUR)
    put(store, NOON - HOUR, id="cd" * 16, state=state)

    found = looked(store)
    assert found.health == "warn"
    assert f"is {state}" in found.reasons[0]
    assert found.last_snapshot is not None
    assert found.last_snapshot.time == NOON - 2 * HOUR
    assert looked(store, hours=1.5).health == "fail"


@pytest.mark.parametrize(
    ("result", "age", "health"),
    [
        ("pass", HOUR, "ok"),
        ("pass", 30 * HOUR, "warn"),
        ("inconclusive", HOUR, "warn"),
        (None, HOUR, "warn"),
    ],
)
def test_a_proof_is_asked_for_where_it_is_configured(result, age, health):
    store = repository()
    data_object = put(store, NOON - HOUR)
    if result is not None:
        prove(store, data_object, result, NOON - age)

    found: DatabaseStatus = looked(store, proof=24 * 3600.0)
    assert found.health == health
    assert looked(store).health == "ok"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def here(state: Path, *stores: Repository, time: datetime | None = None) -> DatabaseStatus:
    """Look at a database on this machine, whose one snapshot is fresh."""
    time = time or datetime.now(UTC)
    if not stores:
        stores = (repository(),)
        put(stores[0], time - HOUR)
    source = Source("app", state.parent / "app.db", stores)
    limits = Freshness(26 * 3600, None)
    return status_of(source, limits, state=state, clock=lambda: time)


def spool(state: Path, *names: str) -> None:
    """Capture something to wait in the spool; a name with a tag is a fill's."""
    note = Note("0" * 64, 3, 1, 1, 0, 1, 1, 1)
    with open_spool(state, "app", str(state.parent / "app.db"), 1 << 20) as opened:
        for number, name in enumerate(names, 1):

            def write(take):
                take(b"abc")
                return note

            opened.add(number, number, write, tag=name or None)


def test_where_nothing_lies_here_nothing_is_said_and_no_folder_is_made(state):
    found = here(state)
    assert (found.health, found.local) == ("ok", Local())
    assert not state.exists()


def test_what_a_killed_backup_left_is_said_once_no_run_holds_the_lock(state):
    database = os.path.realpath(state.parent / "app.db")
    with exclusive_job(state, "app", database) as job:
        job.begin(Begun("ab" * 16, {"s3://bucket": "app.db.gz"}))
        assert here(state).local == Local()
        (lock,) = state.glob("*.lock")
        assert is_locked(lock) is True
    if is_locked(lock) is None:
        pytest.skip("the locks of processes outside this namespace are not seen")

    found = here(state)
    assert found.local is not None
    assert (found.health, found.local.killed_count) == ("warn", 1)
    assert found.local.killed_since is not None
    assert "a backup that was killed left 1 unfinished snapshot" in found.reasons[0]
    with exclusive_job(state, "app", database) as job:
        job.end()
    assert here(state).local == Local()


def test_what_waits_in_the_spool_is_counted_and_is_said_after_five_minutes(state):
    spool(state, "", "", "fill")
    before = sorted(state.rglob("*"))

    found = here(state)
    assert found.local is not None
    assert (found.health, found.local.spooled_count, found.local.spooled_size) == ("ok", 2, 6)
    since = found.local.spooled_since
    assert since is not None
    assert here(state, time=since + timedelta(seconds=299)).health == "ok"
    late = here(state, time=since + timedelta(seconds=361))
    assert late.health == "warn"
    assert "2 captured files (6 B)" in late.reasons[0]
    assert "the oldest for 6 min 1 s" in late.reasons[0]
    assert sorted(state.rglob("*")) == before


def test_what_waits_here_is_said_too_where_no_store_answers(state):
    spool(state, "")
    found = here(state, repository(Deaf()), time=datetime.now(UTC) + HOUR)
    assert found.health == "fail"
    assert "1 captured file" in found.reasons[1]
