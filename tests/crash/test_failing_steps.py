"""
Each step of a backup and of a restore fails in turn: the disk is full, or does not answer,
or the store does not.  Each is an error with a code of its own and no traceback, leaves
nothing half done, and the next run succeeds.
"""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crash import scenes
from tests.crash.nursery import Nursery
from tests.crash.test_backup_killed import folder, kept
from tests.crash.test_restore_killed import read

NO_SPACE = 33
BUG = 70


FULL = pytest.param(errno.ENOSPC, id="full")
BROKEN = pytest.param(errno.EIO, id="broken", marks=pytest.mark.torture)


@pytest.mark.parametrize("number", [FULL, BROKEN])
@pytest.mark.parametrize("place_count", [1, pytest.param(2, marks=pytest.mark.torture)])
def test_a_backup_with_any_step_failing_is_withdrawn(
    nursery: Nursery, tmp_path: Path, number: int, place_count: int
):
    places = tuple(folder(tmp_path / f"kept-{i}") for i in range(place_count))
    made = kept(nursery, tmp_path, places)
    source = made.source_bytes()
    dry = made.backup("--no-check")
    for index, step in enumerate(dry.steps):
        where = f"failing at {index}: {step}"
        before = [made.names(place) for place in places]
        run = made.backup("--no-check", fault={"raise": index, "errno": number})
        where += f"\n{run.status}: {run.errors}"
        assert run.status != BUG, where
        assert run.status == 0 or "hint: " in run.errors or number != errno.ENOSPC, where
        if run.status != 0 and number == errno.ENOSPC:
            assert run.status == NO_SPACE, where
        after = [made.names(place) for place in places]
        if run.status == 0:  # what failed was but the tidying
            assert all(new != old for new, old in zip(after, before, strict=True)), where
        assert made.source_bytes() == source, where
        again = made.backup("--no-check")
        assert again.status == 0, f"{where}: {again.errors}"
        made.check_tidy(where)


@pytest.mark.parametrize("number", [FULL, BROKEN])
@pytest.mark.parametrize(
    "kind", ["wal", "damaged", pytest.param("sidecars alone", marks=pytest.mark.torture)]
)
def test_a_restore_with_any_step_failing_leaves_old_or_new(
    nursery: Nursery, tmp_path: Path, kind: str, number: int
):
    template = scenes.SCENES[kind](nursery, tmp_path / "template")
    dry = template.copied(tmp_path / "dry").restore(nursery)
    for index, step in enumerate(dry.steps):
        scene = template.copied(tmp_path / "scene")
        run = scene.restore(nursery, fault={"raise": index, "errno": number})
        where = f"failing at {index}: {step}\n{run.status}: {run.errors}"
        assert run.status not in (0, BUG) or "unlink .litekeep" in step, where
        if run.status != 0 and number == errno.ENOSPC:
            assert run.status == NO_SPACE, where
            assert "hint: " in run.errors, where
        opened = scene.copied(tmp_path / "opened")
        found = read(nursery, opened.target)
        if scene.old is not None:
            assert found in (scene.old, scene.new), where
        again = scene.restore(nursery)
        assert again.status == 0, f"{where}\nagain: {again.errors}"
        assert scene.leftovers() == [], where
        assert read(nursery, scene.target) == scene.new, where
        if scene.old is not None:
            states = [read(nursery, undo) for undo in scene.undo_copies()]
            assert scene.old in states, where


def test_a_folder_for_state_that_cannot_be_used_is_said_so(nursery: Nursery, tmp_path: Path):
    made = kept(nursery, tmp_path, (folder(tmp_path / "kept"),))
    made = replace(made, state=made.database)
    run = made.backup()
    assert run.status == 32, run.errors
    assert "hint: Set state_dir" in run.errors
