"""
A sample goes through everything that lives long enough, whatever comes and goes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from litekeep.engine import sample as samples
from litekeep.engine.sample import Readings
from litekeep.repository.catalog import Snapshot
from litekeep.repository.layout import Repository
from litekeep.store.memory import MemoryStore

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
REPOSITORY = Repository(MemoryStore(), "app")


def snapshot(time: datetime) -> Snapshot:
    name = REPOSITORY.name_at(time)
    return Snapshot(REPOSITORY, name, f"{name}.db.gz", time, 1, None)


def simulate(
    state: Path,
    *,
    per_day: int,
    days: int,
    keep: Callable[[Sequence[Snapshot]], Sequence[Snapshot]],
    share: float = 0.1,
) -> tuple[list[Snapshot], dict[str, list[int]], int]:
    """Return what is there in the end, the days each was read on, and the largest sample."""
    there: list[Snapshot] = []
    read: dict[str, list[int]] = {}
    largest = 0
    for day in range(days):
        for number in range(per_day):
            there = [*keep(there), snapshot(START + day * DAY + number * DAY / per_day)]
        end = START + (day + 1) * DAY
        readings = Readings(state, there, clock=lambda end=end: end)  # type: ignore[misc]
        chosen = readings.sample(there, share)
        largest = max(largest, len(chosen))
        for one in chosen:
            readings.note(one)
            read.setdefault(one.name, []).append(day)
        readings.save()
    return there, read, largest


def last(count: int) -> Callable[[Sequence[Snapshot]], Sequence[Snapshot]]:
    return lambda there: there[-(count - 1) :]


@pytest.mark.parametrize(
    ("per_day", "kept", "lives_days"), [(1, 7, 7), (1, 60, 14), (12, 240, 15), (24, 2400, 30)]
)
def test_what_lives_long_enough_is_read(
    tmp_path: Path, per_day: int, kept: int, lives_days: int
) -> None:
    """A queue of K, a tenth of it a day: within ten days, or just before it goes."""
    days = 60
    there, read, largest = simulate(tmp_path, per_day=per_day, days=days, keep=last(kept))
    assert largest <= -(-kept // 10)
    old = [one.name for one in there if one.time <= START + (days - lives_days) * DAY]
    assert old
    assert [name for name in old if name not in read] == []


def test_what_is_kept_for_ever_is_read_again_beside_all_that_comes(tmp_path: Path) -> None:
    """Nine held snapshots, and one a day that goes: a sample of one a day starves neither."""
    held = [snapshot(START - (number + 1) * DAY) for number in range(9)]
    there, read, _ = simulate(
        tmp_path, per_day=1, days=100, keep=lambda there: [*held, *there[-2:]]
    )
    for one in held:
        assert len(read[one.name]) >= 5, "read again and again"
        gaps = [b - a for a, b in zip(read[one.name], read[one.name][1:], strict=False)]
        assert max(gaps) <= 2 * len(there)


def test_a_damaged_one_is_not_all_that_is_read(tmp_path: Path) -> None:
    """An attempt is noted whether it succeeds or not: ten runs of a tenth read all ten."""
    there = [snapshot(START + number * DAY) for number in range(10)]
    read: Counter[str] = Counter()
    for run in range(20):
        readings = Readings(tmp_path, there, clock=lambda run=run: START + (20 + run) * DAY)  # type: ignore[misc]
        for one in readings.sample(there, 0.1):
            readings.note(one)
            read[one.name] += 1
        readings.save()
    assert set(read.values()) == {2}
    assert len(read) == 10


def test_a_time_that_lies_ahead_waits_no_longer_than_others(tmp_path: Path) -> None:
    """By a wrong clock; new ones come every day, as many as are read."""
    ahead = snapshot(datetime(2099, 1, 1, tzinfo=UTC))
    _, read, _ = simulate(tmp_path, per_day=1, days=30, keep=lambda there: [ahead, *there[-7:]])
    assert read[ahead.name]


def test_what_was_read_is_kept_while_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed has not read for nothing."""
    times = iter(range(0, 1000, 11))
    monkeypatch.setattr(samples, "monotonic", lambda: next(times))
    there = [snapshot(START + number * DAY) for number in range(4)]
    killed = Readings(tmp_path, there, clock=lambda: START + 9 * DAY)
    for one in killed.sample(there, 0.5):
        killed.note(one)

    after = Readings(tmp_path, there, clock=lambda: START + 10 * DAY)
    assert after.sample(there, 0.5) == there[2:]


def test_what_is_gone_is_forgotten_and_a_lost_record_is_no_error(tmp_path: Path) -> None:
    there = [snapshot(START + number * DAY) for number in range(4)]
    Readings(tmp_path, there, clock=lambda: START + 9 * DAY).save()
    (record,) = (tmp_path / "verified").iterdir()
    before = record.stat().st_size
    Readings(tmp_path, there[2:], clock=lambda: START + 9 * DAY).save()
    assert record.stat().st_size < before
    record.write_bytes(os.urandom(99))
    assert Readings(tmp_path, there, clock=lambda: START).sample(there, 1.0) == there
