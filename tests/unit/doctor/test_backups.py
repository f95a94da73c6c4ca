"""
The age of the newest snapshot and the newest proof, as a doctor tells them.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from litekeep.doctor.backups import newest_proof, newest_snapshot
from litekeep.doctor.findings import Finding
from litekeep.sources import Source
from litekeep.status import DatabaseStatus, Freshness, status_of
from tests.unit.repository.test_catalog import put
from tests.unit.test_status import HOUR, NOON, Deaf, prove, repository


def status(*stores) -> DatabaseStatus:
    source = Source("app", None, stores)
    return status_of(source, Freshness(26 * 3600, None), clock=lambda: NOON)


def snapshot(*stores) -> Finding:
    (found,) = newest_snapshot(status(*stores), NOON)
    return found


def test_a_fresh_snapshot_is_told_with_its_age():
    store = repository()
    put(store, NOON - HOUR)

    found = snapshot(store)
    assert (found.state, "60 min" in found.detail or "1 h" in found.detail) == ("ok", True)


@pytest.mark.parametrize(("age", "code"), [(timedelta(hours=27), 42), (None, 42)])
def test_an_old_one_or_none_is_a_failure(age: timedelta | None, code: int):
    store = repository()
    if age is not None:
        put(store, NOON - age)

    found = snapshot(store)
    assert (found.state, found.code) == ("fail", code)
    assert not found.detail.startswith("app:")  # `about` says it
    assert found.hint


def test_a_store_that_does_not_answer_is_a_failure_with_its_own_code():
    assert snapshot(repository(Deaf())).code == 31


def test_one_that_is_set_aside_is_a_warning():
    store = repository()
    put(store, NOON - 2 * HOUR)
    put(store, NOON - HOUR, id="cd" * 16, state="suspect")

    found = snapshot(store)
    assert (found.state, "litekeep accept" in found.hint) == ("warn", True)


@pytest.mark.parametrize(
    ("result", "age", "within", "state"),
    [
        (None, HOUR, None, "warn"),
        ("pass", 1000 * HOUR, None, "ok"),
        ("pass", 30 * HOUR, 24 * 3600.0, "warn"),
        ("fail", HOUR, None, "warn"),
        ("inconclusive", HOUR, None, "warn"),
    ],
)
def test_a_proof_has_to_be_there_and_as_new_as_configured(result, age, within, state: str):
    store = repository()
    data_object = put(store, NOON - HOUR)
    if result is not None:
        prove(store, data_object, result, NOON - age)

    (found,) = newest_proof(status(store), within, NOON)
    assert found.state == state
    assert (state == "ok") == (not found.hint)
