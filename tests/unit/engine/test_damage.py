"""
What a database has lost since the last good snapshot, in words.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from litekeep.engine.damage import Limits, last_good, losses
from litekeep.repository.layout import ACCEPTED_SUFFIX, Repository, manifest_of
from litekeep.repository.manifest import CheckFacts, DatabaseFacts, Manifest
from litekeep.repository.marks import Acceptance, encode_mark
from litekeep.sqlite.check import OK, Check
from litekeep.store.memory import MemoryStore
from tests.unit.repository.test_catalog import put
from tests.unit.repository.test_manifest import MANIFEST

MIB = 1 << 20
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
UNCHECKED = {"check": CheckFacts(result="skipped", detail=""), "row_counts": {}}


@pytest.fixture
def repository() -> Repository:
    return Repository(MemoryStore(), "app")


def hours_of_good(repository: Repository, *, is_counted: bool = True) -> float | None:
    """Return how many hours before noon lies what a snapshot of noon is compared with."""
    found = last_good([repository], repository.name_at(NOON), is_counted=is_counted)
    return (NOON - found.captured_at) / HOUR if found is not None else None


@pytest.mark.parametrize("count", [1, 49, 50, 51, 200])
def test_it_is_found_behind_however_many_that_nobody_accepted(repository, count):
    put(repository, NOON - (count + 1) * HOUR)
    for hours in range(1, count + 1):
        put(repository, NOON - hours * HOUR, id=f"{hours:032x}", state="suspect")
    assert hours_of_good(repository) == count + 1


def test_what_was_not_checked_hides_nothing(repository):
    put(repository, NOON - 3 * HOUR)
    unchecked = put(repository, NOON - 2 * HOUR, id="cd" * 16, state="suspect", **UNCHECKED)
    put(repository, NOON - HOUR, id="ef" * 16, **UNCHECKED)
    assert hours_of_good(repository) == 3
    assert hours_of_good(repository, is_counted=False) == 1

    mark = encode_mark(Acceptance(id="cd" * 16, time=NOON))
    repository.store.put(unchecked + ACCEPTED_SUFFIX, mark)
    assert hours_of_good(repository) == 2


def test_where_none_was_checked_the_newest_is_taken(repository):
    put(repository, NOON - 2 * HOUR, **UNCHECKED)
    put(repository, NOON - HOUR, id="cd" * 16, **UNCHECKED)
    assert hours_of_good(repository) == 1


def test_a_manifest_that_is_none_hides_nothing(repository):
    put(repository, NOON - 2 * HOUR)
    repository.store.put(manifest_of(put(repository, NOON - HOUR, id="cd" * 16)), b"{}")
    assert hours_of_good(repository) == 2


def test_what_lies_in_the_future_is_taken_only_where_there_is_no_other(repository):
    put(repository, NOON + 24 * HOUR)
    assert hours_of_good(repository) == -24
    put(repository, NOON - 99 * 24 * HOUR, id="cd" * 16)
    assert hours_of_good(repository) == 99 * 24


def before(rows: dict[str, int], size: int = 4 * MIB) -> Manifest:
    facts: DatabaseFacts = msgspec.structs.replace(
        MANIFEST.database, page_count=size // 4096, size_bytes=size
    )
    return msgspec.structs.replace(MANIFEST, database=facts, row_counts=rows)


def lost(manifest: Manifest, rows: dict[str, int], *, size: int = 4 * MIB, whole: bool = True):
    return losses(manifest, size, Check(OK, "", rows, whole), Limits(ignored=("session",)))


@pytest.mark.parametrize(
    ("had", "has", "said"),
    [
        ({"t": 1000}, {"t": 1000}, ()),
        ({"t": 1000}, {"t": 500}, ()),
        ({"t": 1000}, {"t": 499}, ("t has 499 rows, and had 1000",)),
        ({"t": 999}, {"t": 1}, ()),
        ({"t": 5, "u": 5}, {"t": 5}, ("gone: u",)),
        ({"t": 5, "u": 0}, {"t": 5}, ()),
        ({"t": 5, "u": 5}, {}, ("the database is empty",)),
        ({}, {}, ()),
        ({"t": 60, "u": 40}, {"t": 0, "u": 0, "new": 0}, ("the database is empty",)),
        ({"t": 60, "u": 40}, {"t": 0, "u": 0, "session": 9}, ("the database is empty",)),
        ({"t": 60, "u": 40}, {"t": 0, "u": 1}, ()),
        ({"t": 60, "u": 39}, {"t": 0, "u": 0}, ()),
        ({"session": 5000}, {"session": 0}, ()),
        ({"session": 5000, "t": 1}, {"session": 0, "t": 1}, ()),
        ({"session": 5000, "t": 1}, {"t": 1}, ()),
        (dict.fromkeys("abcde", 9), {"z": 1}, ("gone: a, b, c and 2 more",)),
    ],
)
def test_what_is_lost_is_named_and_what_is_usual_is_not(had, has, said):
    assert lost(before(had), has) == said


def test_a_table_that_was_not_counted_is_not_taken_for_gone():
    assert lost(before({"t": 1000, "u": 1000}), {"t": 1000}, whole=False) == ()


def test_a_size_that_collapsed_is_said():
    assert lost(before({}), {}, size=1 * MIB) == ("the database has 1.0 MiB, and had 4.0 MiB",)
    assert lost(before({}), {}, size=2 * MIB) == ()
    assert lost(before({}, MIB // 2), {}, size=4096) == ()


@given(st.dictionaries(st.text(max_size=5), st.integers(0, 10**6)), st.integers(0, 1 << 40))
def test_what_grows_or_stays_is_never_suspect(rows, more):
    manifest = before(rows)
    grown = {table: count + more for table, count in rows.items()}
    assert lost(manifest, grown, size=4 * MIB + more) == ()
