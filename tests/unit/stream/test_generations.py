"""
Which moments a replica of Litestream 0.3 holds, by the names and times of its files.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from litekeep.store.base import Blob
from litekeep.store.memory import MemoryStore
from litekeep.stream.chain import Place
from litekeep.stream.generations import Generation, generations_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ONE = "0123456789abcdef"


def generation(*names: str) -> Generation:
    """Return the generation of these files; each a minute later than the one before it."""
    place = Place(MemoryStore(), "app/")
    blobs = [
        Blob(f"app/generations/{ONE}/{name}.lz4", 10, NOON + timedelta(minutes=minute))
        for minute, name in enumerate(names)
    ]
    (found,) = generations_of(place, blobs)
    return found


def moments(found: Generation) -> dict[str, tuple[int, list[tuple[int, int]]]]:
    return {
        branch.name.removeprefix(f"{ONE}-"): (
            branch.snapshot.index,
            [(segment.index, segment.offset) for segment in branch.segments],
        )
        for branch in found.branches()
    }


def snapshot(index: int) -> str:
    return f"snapshots/{index:08x}.snapshot"


def wal(index: int, offset: int) -> str:
    return f"wal/{index:08x}_{offset:08x}.wal"


def test_each_snapshot_and_each_segment_behind_one_is_a_moment():
    found = generation(snapshot(0), wal(0, 0), wal(0, 500), wal(1, 0), snapshot(2), wal(2, 0))
    assert moments(found) == {
        "00000000": (0, []),
        "00000000-00000000": (0, [(0, 0)]),
        "00000000-000001f4": (0, [(0, 0), (0, 500)]),
        "00000001-00000000": (0, [(0, 0), (0, 500), (1, 0)]),
        "00000002": (2, []),
        "00000002-00000000": (2, [(2, 0)]),
    }
    assert found.unreachable() == ()
    assert [branch.size for branch in found.branches()] == [10, 20, 30, 40, 10, 20]


def test_a_snapshot_within_its_index_takes_what_its_log_had_by_then():
    """A checkpoint may have brought that into the file already."""
    found = generation(snapshot(0), wal(0, 0), wal(1, 0), wal(1, 500), snapshot(1), wal(1, 900))
    assert moments(found)["00000001"] == (1, [(1, 0), (1, 500)])
    assert moments(found)["00000001-00000384"] == (1, [(1, 0), (1, 500), (1, 900)])
    # What came before that snapshot is made from the one before it.
    assert moments(found)["00000001-000001f4"] == (0, [(0, 0), (1, 0), (1, 500)])


@pytest.mark.parametrize(
    ("names", "lost"),
    [
        ((snapshot(0), wal(0, 0), wal(2, 0)), [(2, 0)]),
        ((snapshot(0), wal(0, 500), wal(1, 0)), [(0, 500), (1, 0)]),
        ((wal(0, 0), wal(1, 0)), [(0, 0), (1, 0)]),
        ((snapshot(1), wal(0, 0), wal(1, 0)), []),  # of before the first snapshot
    ],
)
def test_what_nothing_leads_to_is_unreachable(names, lost):
    found = generation(*names)
    assert [(one.index, one.offset) for one in found.unreachable()] == lost


def test_other_names_are_passed_over():
    place = Place(MemoryStore(), "app/")
    names = (
        f"app/generations/{ONE}/wal/00000000.wal.lz4",
        f"app/generations/{ONE}/wal/0000000_00000000.wal.lz4",
        f"app/generations/{ONE}x/snapshots/00000000.snapshot.lz4",
        f"generations/{ONE}/snapshots/00000000.snapshot.lz4",
        f"app/generations/{ONE}/snapshots/00000000.snapshot.lz4.tmp",
    )
    assert generations_of(place, [Blob(name, 1, NOON) for name in names]) == ()
