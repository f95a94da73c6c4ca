"""
What stays, for which reason, and what no clock and no gap may remove.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from litekeep.errors import LeaseHeld
from litekeep.stream.chain import Link, plan_links, read_chain, restorable
from litekeep.stream.history import History
from litekeep.stream.policy import DAY, KEEP, Tier
from litekeep.stream.retention import RetentionPlan, apply_retention, plan_retention
from tests.writers.chains import BEGIN, Writer

BEGIN_MS = int(BEGIN.timestamp() * 1000)


def history_of(*seconds: float) -> History:
    links = [
        Link(0, n, n, f"0/{n}", 10, BEGIN + timedelta(seconds=second))
        for n, second in enumerate(seconds, 1)
    ]
    links += [Link(9, 1, n, f"9/{n}", 99, links[n - 1].modified) for n in range(2, len(seconds))]
    return History(links, {n: BEGIN_MS + int(second * 1000) for n, second in enumerate(seconds, 1)})


def kept(plan: RetentionPlan) -> dict[int, tuple[str, ...]]:
    return dict(plan.kept)


def test_each_tier_keeps_the_last_of_its_spans_and_says_why():
    now = 400 * DAY
    history = history_of(
        *(now - 366 * DAY, now - 300 * DAY, now - 300 * DAY + 5, now - 9 * DAY),
        *(now - 9 * DAY + 7, now - 9 * DAY + 3700, now - 2 * DAY, now - 2 * DAY + 61, now),
    )
    plan = plan_retention(history, KEEP)
    assert kept(plan) == {
        3: ("every 24 h 0 min for 365 d 0 h",),
        5: ("every 1 h 0 min for 30 d 0 h",),
        6: ("every 1 h 0 min for 30 d 0 h", "every 24 h 0 min for 365 d 0 h"),
        7: ("every 1 min 0 s for 7 d 0 h",),
        8: (
            "every 1 min 0 s for 7 d 0 h",
            "every 1 h 0 min for 30 d 0 h",
            "every 24 h 0 min for 365 d 0 h",
        ),
        9: (
            *("every sync for 24 h 0 min", "every 1 min 0 s for 7 d 0 h"),
            *("every 1 h 0 min for 30 d 0 h", "every 24 h 0 min for 365 d 0 h", "newest"),
        ),
    }
    left = {link.object for link in plan.needed}
    assert left == {"9/3", "9/5", "9/6", "9/7", "9/8", "0/9"}
    assert {link.object for link in plan.removed} == {
        *("0/1", "0/2", "0/3", "0/4", "0/5", "0/6", "0/7", "0/8", "9/2", "9/4"),
    }


def test_what_is_held_and_the_newest_that_was_proved_stay():
    history = history_of(0, 10, 20, 30, 1000)
    plan = plan_retention(history, (Tier(0, 1),), held={2: "the audit"}, proved=(1, 3, 99))
    assert kept(plan) == {
        2: ("held: the audit",),
        3: ("newest proved",),
        5: ("every sync for 1.0 s", "newest"),
    }


def test_without_a_tier_nothing_goes():
    assert plan_retention(history_of(0, 10, 20), ()).removed == ()


def test_a_clock_that_ran_ahead_of_the_store_removes_nothing():
    history = history_of(0, 10, 20, 30)
    ahead = Link(0, 5, 5, "0/5", 10, BEGIN + timedelta(seconds=31))
    history.add(ahead, BEGIN_MS + 10_000 * DAY * 1000)
    plan = plan_retention(history, (Tier(0, DAY),))
    assert set(plan.kept) == {1, 2, 3, 4, 5}


def test_files_behind_a_missing_one_stay_until_all_tiers_are_over():
    history = history_of(0, 10, 20, 30, 40)
    for link in list(history.links):
        if link.level == 9 or link.max_txid == 2:
            history.remove(link)
    assert {link.max_txid for link in plan_retention(history, (Tier(0, 5),)).removed} == set()
    far = Link(9, 1, 9, "9/9", 10, BEGIN + timedelta(days=2))
    history.add(far, BEGIN_MS + 2 * DAY * 1000)
    removed = plan_retention(history, (Tier(0, 5),)).removed
    assert [link.max_txid for link in removed] == [5, 4, 3, 1]


def test_files_go_newest_first_so_that_what_is_left_has_all_that_it_needs():
    removed = plan_retention(history_of(*range(0, 100, 10)), (Tier(0, 5),)).removed
    ends = [link.max_txid for link in removed]
    assert len(ends) > 10
    assert ends == sorted(ends, reverse=True)


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    made = Writer(tmp_path)
    for _ in range(10):
        made.sync()
        made.clock.seconds += 20
    return made


def test_a_host_that_was_overtaken_removes_nothing(writer):
    other = Writer(writer.folder / "other", writer.clock, writer.store, txid=writer.txid)
    writer.clock.seconds += 40 * DAY
    writer.sync()
    other.follow(writer)
    other.sync()
    before = {link for link in read_chain(writer.place).links if link.level == 0}
    with pytest.raises(LeaseHeld, match="somebody else"):
        writer.keep()
    assert before <= set(read_chain(writer.place).links)


@pytest.mark.parametrize("is_drilled", [True, False])
def test_what_a_drill_restored_stays(writer, is_drilled):
    """Whatever the drill's result: its proof's name does not tell."""
    if is_drilled:
        writer.place.store.put("app/proofs/0000000000000004.proof-20260101_000000.json", b"{}")
    writer.clock.seconds += 400 * DAY
    writer.sync()
    writer.keep()
    found = restorable(read_chain(writer.place))
    assert 11 in found and (4 in found) == is_drilled
    for txid in found:
        assert writer.restore(txid)[0] == writer.states[txid]


def test_what_is_shipped_while_files_go_is_known_afterwards(writer):
    writer.clock.seconds += 40 * DAY
    writer.sync()
    shipped = []

    def ship() -> None:
        if any(link.level for link in read_chain(writer.place).links):
            shipped.append(writer.sync())

    writer.keeping.work(ship)
    assert len(shipped) > 3
    writer.clock.seconds += DAY
    writer.sync()
    writer.keep()
    assert writer.warned == []
    chain = read_chain(writer.place)
    assert chain.last_txid == writer.txid
    for txid in chain.txids():
        assert writer.restore(txid)[0] == writer.states[txid]


def test_a_removal_that_ends_early_goes_on_later(writer):
    history = History(read_chain(writer.place).links, writer.times)
    plan = plan_retention(history, (Tier(0, 5),))
    for count in range(len(plan.removed) + 1):
        apply_retention(writer.place, plan.removed[:count])
        chain = read_chain(writer.place)
        for txid in chain.txids():
            plan_links(chain, txid)
            assert writer.restore(txid)[0] == writer.states[txid]
