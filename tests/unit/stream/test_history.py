"""
What a history answers is what looking at every file would.
"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from litekeep.errors import GapFound, NotFound
from litekeep.stream.chain import Chain, Link, plan_links
from litekeep.stream.history import History
from tests.writers.chains import BEGIN

TXID_MAX = 12


@st.composite
def links(draw: st.DrawFn) -> Link:
    level = draw(st.sampled_from([0, 1, 1, 2, 9]))
    max_txid = draw(st.integers(1, TXID_MAX))
    min_txid = 1 if level == 9 else draw(st.integers(1, max_txid))
    if level == 0:
        min_txid = max_txid
    return Link(level, min_txid, max_txid, f"{level}/{min_txid}-{max_txid}", 1, BEGIN)


chains = st.lists(links(), max_size=20, unique_by=lambda link: link.object)


@given(chains, st.lists(st.integers(0, 19)))
def test_a_road_is_as_short_as_the_plan_of_a_restore_and_there_where_that_is(found, gone):
    """However the files came, and after some have gone."""
    history = History(found[::2], {})
    for link in found[1::2]:
        history.add(link, 0)
    left = list(found)
    for index in gone:
        if index < len(left):
            history.remove(left.pop(index))
    assert set(history.links) == set(left)
    assert history.ends == sorted({link.max_txid for link in left})
    for txid in range(1, TXID_MAX + 1):
        try:
            planned = plan_links(Chain(tuple(left)), txid)
        except (GapFound, NotFound):
            assert history.road(txid) is None
            continue
        road = history.road(txid)
        assert road is not None and len(road) == len(planned)
        assert road[0].is_whole and road[-1].max_txid == txid
        for before, after in pairwise(road):
            assert after.min_txid <= before.max_txid + 1 <= after.max_txid


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.booleans()), min_size=1))
def test_times_never_fall_and_those_that_are_known_stay(syncs):
    """A store may get files late, and its clock may be another."""
    true = sorted(time for time, _, _ in syncs)
    found = [
        Link(0, n, n, f"{n}", 1, BEGIN.replace(second=late))
        for n, (_, late, _) in enumerate(syncs, 1)
    ]
    known = {
        n: time
        for n, (time, (_, _, is_known)) in enumerate(zip(true, syncs, strict=True), 1)
        if is_known
    }
    history = History(found, known)
    times = [history.time_ms(txid) for txid in history.ends]
    assert times == sorted(times)
    for txid, time in known.items():
        assert history.time_ms(txid) == time
    for time in times:
        before = history.last_before(time)
        assert all((end <= before) == (history.time_ms(end) < time) for end in history.ends)
