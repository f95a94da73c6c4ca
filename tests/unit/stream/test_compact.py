"""
What is merged, when, and what stands beside it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from litekeep.errors import ChecksumMismatch, LeaseHeld, NoSpace
from litekeep.store.memory import MemoryStore
from litekeep.stream.chain import BASE_LEVEL, Link, plan_links, read_chain
from litekeep.stream.compact import Merge, apply_merge, plan_compaction
from litekeep.stream.history import History
from litekeep.stream.keeping import Stopping
from litekeep.stream.policy import StreamPolicy
from tests.writers.chains import BEGIN, Clock, Writer

POLICY = StreamPolicy()
BEGIN_MS = int(BEGIN.timestamp() * 1000)


def history_of(*seconds: float, size: int = 10, whole_size: int = 1000) -> History:
    links = [
        Link(0, n, n, f"0/{n}", whole_size if n == 1 else size, BEGIN)
        for n in range(1, len(seconds) + 1)
    ]
    return History(links, {n: BEGIN_MS + int(second * 1000) for n, second in enumerate(seconds, 1)})


def planned(
    history: History, now: float, policy: StreamPolicy = POLICY
) -> list[tuple[int, int, int]]:
    merges = plan_compaction(history, policy, BEGIN_MS + int(now * 1000)).merges
    return [(merge.level, merge.min_txid, merge.max_txid) for merge in merges]


def test_a_window_is_merged_once_it_has_ended_and_the_first_sync_stays_alone():
    history = history_of(0, 1, 2, 29, 30, 31, 61)
    assert planned(history, 29.9) == []
    assert planned(history, 30) == [(1, 2, 4)]
    assert planned(history, 62) == [(1, 2, 4), (1, 5, 6)]


def test_a_window_with_one_file_costs_nothing_and_the_next_level_takes_it():
    history = history_of(0, 40, 80, 120)
    assert planned(history, 299) == []
    assert planned(history, 300) == [(2, 2, 4)]


def test_many_files_are_merged_before_their_window_ends():
    history = history_of(0, *(1 + n / 10 for n in range(9)))
    assert planned(history, 5, StreamPolicy(members_max=4)) == [(1, 2, 5), (1, 6, 9)]


def test_nothing_is_merged_over_a_missing_file():
    history = history_of(0, 1, 2, 3, 31, 32)
    history.remove(next(link for link in history.links if link.max_txid == 3))
    assert planned(history, 60) == [(1, 5, 6)]


def test_a_base_comes_by_weight_and_not_by_the_clock():
    policy = StreamPolicy(base_delta_size_min=0)
    light = history_of(0, 400, 40000, size=200)
    assert planned(light, 80000, policy) == []
    assert planned(light, 10_000_000, policy) == [(4, 2, 3)]
    heavy = history_of(0, 400, size=501)
    assert planned(heavy, 500, policy) == []
    assert planned(heavy, 601, policy) == [(BASE_LEVEL, 1, 2)]
    assert planned(heavy, 601) == []  # too small to be worth a request


def test_a_base_comes_where_no_window_takes_the_files_together():
    history = history_of(*(day * 86400 for day in range(6)))
    policy = StreamPolicy(file_count_max=4)
    assert planned(history, 5 * 86400 + 1, policy) == []
    assert planned(history, 5 * 86400 + 3600, policy) == [(BASE_LEVEL, 1, 6)]


def test_a_year_of_planning_ends():
    """Each plan that is carried out leads on, and at last to nothing."""
    history = history_of(*(n * 977.0 for n in range(3000)))
    policy = StreamPolicy(file_count_max=8)
    levels: Counter[int] = Counter()
    while merges := plan_compaction(history, policy, BEGIN_MS + 86400_000 * 365).merges:
        for merge in merges:
            levels[merge.level] += 1
            name = f"{merge.level}/{merge.min_txid}-{merge.max_txid}"
            link = Link(merge.level, merge.min_txid, merge.max_txid, name, 10, BEGIN)
            history.add(link, history.time_ms(merge.max_txid))
    assert levels[4] > 30 and levels[BASE_LEVEL] >= 1
    road = history.road(history.last_txid)
    assert road is not None and len(road) <= 9


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    made = Writer(tmp_path)
    for _ in range(5):
        made.sync()
        made.clock.seconds += 1
    return made


def merge_of(writer: Writer, level: int, first: int, last: int) -> Merge:
    links = {link.max_txid: link for link in read_chain(writer.place).links if link.level == 0}
    return Merge(level, tuple(links[n] for n in range(first, last + 1)), "test")


def test_what_stands_beside_a_merged_file_is_the_newest_and_the_oldest_gap(writer):
    store = writer.place.store
    for txid, gap in ((3, "2026-01-01T00:00:01.000Z"), (4, "2026-01-01T00:00:02.000Z")):
        name = writer.place.object_of(0, txid, txid)
        metadata = {**store.head(name).metadata, "litekeep-gap-since": gap}
        store.put(name, b"".join(store.get(name)), metadata=metadata)

    link = apply_merge(writer.place, merge_of(writer, 1, 2, 5), writer.folder)
    found = store.head(link.object).metadata
    newest = store.head(writer.place.object_of(0, 5, 5)).metadata
    for name in ("litestream-timestamp", "litekeep-database-checksum"):
        assert found[name] == newest[name]
    assert found["litekeep-gap-since"] == "2026-01-01T00:00:01.000Z"
    assert found["litekeep-sha256"] != newest["litekeep-sha256"]
    assert link in read_chain(writer.place).links
    assert link in plan_links(read_chain(writer.place), 5)
    assert writer.restore(5)[0] == writer.states[5]
    assert list(writer.folder.iterdir()) == []


def test_a_second_host_that_merges_the_same_takes_what_stands(writer):
    """Its bytes may differ: another LZ4 library."""
    first = apply_merge(writer.place, merge_of(writer, BASE_LEVEL, 1, 5), writer.folder)
    store = writer.place.store
    metadata = {**store.head(first.object).metadata, "litekeep-sha256": "of other bytes"}
    store.put(first.object, b"other bytes", metadata=metadata)
    second = apply_merge(writer.place, merge_of(writer, BASE_LEVEL, 1, 5), writer.folder)
    assert second.size == len(b"other bytes")

    store.put(first.object, b"", metadata={**metadata, "litekeep-database-checksum": "0"})
    with pytest.raises(LeaseHeld):
        apply_merge(writer.place, merge_of(writer, BASE_LEVEL, 1, 5), writer.folder)


def test_no_base_is_stored_that_is_not_the_database(writer):
    store = writer.place.store
    name = writer.place.object_of(0, 5, 5)
    metadata = {**store.head(name).metadata, "litekeep-database-checksum": "8" + "0" * 15}
    store.put(name, b"".join(store.get(name)), metadata=metadata)
    with pytest.raises(ChecksumMismatch, match="stands beside the last"):
        apply_merge(writer.place, merge_of(writer, BASE_LEVEL, 1, 5), writer.folder)
    assert {link.level for link in read_chain(writer.place).links} == {0}


def test_a_damaged_member_is_told_and_merging_rests(writer):
    store = writer.place.store
    name = writer.place.object_of(0, 3, 3)
    data = bytearray(b"".join(store.get(name)))
    data[-20] ^= 1
    store.put(name, bytes(data), metadata=store.head(name).metadata)
    for _ in range(3):
        writer.clock.seconds += 60
        writer.sync()
        writer.keep()
    assert len(writer.warned) == 1
    assert {link.level for link in read_chain(writer.place).links} == {0}


def test_a_large_merged_file_is_put_in_pieces_between_which_others_pass(writer, monkeypatch):
    monkeypatch.setattr("litekeep.stream.compact._CREATE_SIZE_MAX", 0)
    passed: list[int] = []
    link = apply_merge(
        writer.place, merge_of(writer, 1, 2, 5), writer.folder, pause=lambda: passed.append(1)
    )
    assert len(passed) >= 2
    assert writer.restore(5)[0] == writer.states[5]
    again = apply_merge(writer.place, merge_of(writer, 1, 2, 5), writer.folder)
    assert replace(again, modified=link.modified) == link


def test_a_stream_that_ends_leaves_nothing_of_a_merge(writer):
    def end() -> None:
        raise Stopping

    with pytest.raises(Stopping):
        apply_merge(writer.place, merge_of(writer, 1, 2, 5), writer.folder, pause=end)
    assert list(writer.folder.iterdir()) == []
    assert {link.level for link in read_chain(writer.place).links} == {0}


def test_a_merge_that_has_no_room_is_not_begun(writer, monkeypatch):
    monkeypatch.setattr("litekeep.stream.compact._SPARE_SIZE", 1 << 60)
    with pytest.raises(NoSpace):
        apply_merge(writer.place, merge_of(writer, 1, 2, 5), writer.folder)


class Counting(MemoryStore):
    """Counts requests."""

    count = 0

    def put(self, name, body, **options):
        self.count += 1
        return super().put(name, body, **options)

    def head(self, name):
        self.count += 1
        return super().head(name)

    def list(self, prefix="", *, start_after=""):
        self.count += 1
        return super().list(prefix, start_after=start_after)


def test_a_quiet_database_costs_no_requests_once_its_windows_have_ended(tmp_path):
    clock = Clock()
    store = Counting(clock=clock)
    writer = Writer(tmp_path, clock, store)
    for _ in range(5):
        writer.sync()
        clock.seconds += 1
    waits = 0
    while (wait := writer.keeping.seconds_until_due()) is not None:
        waits += 1
        clock.seconds += wait
        writer.keep()
    assert waits <= 6  # the windows of four levels, retention, and once more
    assert clock.seconds <= 86400
    store.count = 0
    clock.seconds += 30 * 86400
    writer.keep()
    assert writer.keeping.seconds_until_due() is None
    assert store.count == 0
