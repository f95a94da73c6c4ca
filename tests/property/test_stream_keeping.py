"""
Whatever the history and the policy: what is promised restores, after every merge and removal.

The oracle knows all syncs there ever were, and what each tier promises of them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import event, given, settings
from hypothesis import strategies as st

from litekeep.store.memory import MemoryStore
from litekeep.stream.chain import Place, plan_links, read_chain, restorable
from litekeep.stream.policy import StreamPolicy, Tier
from tests.writers.chains import Clock, Writer, restored

WINDOWS = (3, 9, 27, 81)


@st.composite
def policies(draw: st.DrawFn) -> StreamPolicy:
    spans = [0, 3, 9, 27][draw(st.integers(0, 2)) :]
    within = 0
    keep = []
    for span in spans[: draw(st.integers(1, 4))]:
        within += draw(st.integers(1, 4)) * max(span, 3)
        keep.append(Tier(span, within))
    return StreamPolicy(
        windows_seconds=WINDOWS,
        members_max=draw(st.integers(2, 6)),
        base_share=draw(st.sampled_from([0.3, 2.0, 1000.0])),
        base_delta_size_min=0,
        file_count_max=draw(st.integers(2, 6)),
        keep=tuple(keep),
        retention_seconds=draw(st.integers(1, 20)),
    )


class CheckedStore(MemoryStore):
    """After each removal every txid that is listed has all that it needs."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.removed_count = 0

    def delete(self, name: str) -> None:
        super().delete(name)
        self.removed_count += 1
        chain = read_chain(Place(self, "app/"))
        assert restorable(chain) == chain.txids()
        for txid in chain.txids():
            plan_links(chain, txid)


def promised(writer: Writer, keep: tuple[Tier, ...]) -> set[int]:
    """Return what the tiers promise of all that was ever synced."""
    newest_ms = writer.times[writer.txid]
    found = {writer.txid}
    for tier in keep:
        last = {}
        for txid, time_ms in writer.times.items():
            last[time_ms // (tier.every_seconds * 1000) if tier.every_seconds else txid] = txid
        found |= {
            txid
            for txid in last.values()
            if newest_ms - writer.times[txid] <= tier.within_seconds * 1000
        }
    return found


steps = st.lists(
    st.tuples(
        st.sampled_from([0.05, 0.4, 1.0, 2.5, 7.0, 30.0]),
        st.one_of(st.none(), st.none(), st.none(), st.integers(1, 12)),
        st.sampled_from(["", "", "keep", "keep", "again", "lost"]),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=100, deadline=None)
@given(policies(), steps)
def test_what_is_promised_restores_whatever_is_merged_and_removed(policy, steps):
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        store = CheckedStore(clock)
        writer = Writer(Path(folder), clock, store, policy)
        writer.sync()
        for seconds, page_count, deed in steps:
            clock.seconds += seconds
            writer.sync(page_count=page_count)
            if deed == "lost":
                for path in Path(folder).iterdir():
                    path.unlink()
            if deed in {"again", "lost"}:
                writer.new_keeping()
            if deed:
                writer.keep()
        clock.seconds += 100
        writer.keep()
        assert writer.warned == []
        chain = read_chain(writer.place)
        found = set(restorable(chain))
        assert promised(writer, policy.keep) <= found
        for txid in found:
            data, applied = restored(writer.place, txid)
            assert data == writer.states[txid]
            assert applied.is_proved
        levels = {link.level for link in chain.links}
        event(f"removed: {store.removed_count > 0}, levels: {sorted(levels)}")
