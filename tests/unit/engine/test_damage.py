"""
What a database has lost since the last good snapshot, in words.
"""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from litekeep.engine.damage import Limits, losses
from litekeep.repository.manifest import DatabaseFacts, Manifest
from litekeep.sqlite.check import OK, Check
from tests.unit.repository.test_manifest import MANIFEST

MIB = 1 << 20


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
