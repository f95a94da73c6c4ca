"""
A run of the stream that merges and removes, killed at every step of that.

Whatever is left: each txid that is listed restores as it was, all that is promised is
listed, and the next run brings it to where a run without a kill would have.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from litekeep.clock import now
from litekeep.store.directory import DirectoryStore
from litekeep.stream.chain import Place, read_chain, restorable
from tests.crash.nursery import Nursery, Run
from tests.writers.chains import restored

DAY = 86400
#: Steps of shipping and of the capture come before the first of these.
OURS = ("compact ", "write merged", "retain ", "rename times")


@dataclass(frozen=True)
class Kept:
    """A database, its store and its state, below one folder."""

    nursery: Nursery
    folder: Path

    def stream(self, seconds: int, **named: object) -> Run:
        return self.nursery.litekeep(
            # The folder is copied, and the database with it.
            *("stream", self.folder / "app.db", "--once", "--take-over"),
            environment={"LITEKEEP_STATE": str(self.folder / "state")},
            ahead_seconds=seconds,
            **named,
        )

    def commit(self) -> None:
        self.nursery.call("commit", str(self.folder / "app.db"), "more", 5)

    @property
    def place(self) -> Place:
        return Place(DirectoryStore(self.folder / "app.db-backups"), "app/")

    def states(self) -> dict[int, bytes]:
        found = read_chain(self.place)
        assert restorable(found) == found.txids()
        return {txid: restored(self.place, txid)[0] for txid in found.txids()}


@pytest.mark.parametrize("deed", ["merges", "removes"])
def test_what_a_killed_run_leaves_restores_and_the_next_ends_it(nursery, tmp_path, deed):
    first = Kept(nursery, tmp_path / "first")
    first.folder.mkdir()
    nursery.call("make", str(first.folder / "app.db"), "wal", "first", 5)
    # From the beginning of an hour on: in which window a sync falls is not left to chance.
    hour = 3600 - int(now().timestamp()) % 3600
    seconds = range(0, 12, 3) if deed == "merges" else (0, 3600, 3601, 3602)
    for second in seconds:
        assert first.stream(hour + second).status == 0
        first.commit()
    last = hour + (50 if deed == "merges" else 40 * DAY)
    before = first.states()

    whole = _copied(first, tmp_path / "whole")
    done = whole.stream(last)
    assert done.status == 0, done.errors
    after = whole.states()
    assert len(after) < len(before) if deed == "removes" else after.keys() > before.keys()
    steps = [
        index
        for index, step in enumerate(done.steps)
        if step.startswith(OURS) and not done.steps[index - 1] == step == "write merged"
    ]
    assert len(steps) >= (3 if deed == "merges" else 6)

    for index in steps:
        cut = _copied(first, tmp_path / "cut")
        assert cut.stream(last, fault={"kill": index}).was_killed, done.steps[index]
        left = cut.states()
        assert after.keys() <= left.keys() | {max(after)}, done.steps[index]
        again = cut.stream(last + 1)
        assert again.status == 0, again.errors
        ended = cut.states()
        assert ended.keys() == after.keys(), done.steps[index]
        for txid in before.keys() & (left.keys() | ended.keys()):
            assert {left.get(txid), ended.get(txid)} - {None} == {before[txid]}
        assert not list((cut.folder / "state").rglob("*.tmp"))
        shutil.rmtree(cut.folder)


def _copied(kept: Kept, folder: Path) -> Kept:
    shutil.copytree(kept.folder, folder)
    return Kept(kept.nursery, folder)
