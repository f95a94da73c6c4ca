"""
What a killed run left in a store that the next run does not go to is withdrawn by a later one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.crash.nursery import Nursery
from tests.crash.test_backup_killed import folder, kept


def test_a_half_snapshot_waits_in_the_record_for_its_own_store(nursery: Nursery, tmp_path: Path):
    one, two = folder(tmp_path / "one"), folder(tmp_path / "two")
    made = kept(nursery, tmp_path, (one,))
    steps = made.backup().steps
    index = next(i for i, s in enumerate(steps) if s.startswith("fsync 20") and ".json" in s)
    assert made.backup(fault={"kill": index}).was_killed

    elsewhere = replace(made, places=(two,))
    assert elsewhere.backup().status == 0
    assert [path.name for path in made.state.iterdir() if path.suffix == ".json"]

    assert made.backup().status == 0
    made.check_tidy("after the run to the first store")
